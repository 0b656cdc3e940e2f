"""Every wrong token gets the same answer, so that nothing is learned by trying."""

import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.token import KeyRing, Principal, Role, TokenRefused
from engine.core.revocation import RevokeToken
from tests.api.asking import Answer, ask
from tests.api.wrong_tokens import ALPHABET, WRONG, body, good, good_session, signed
from tests.world import World

Recorded = Callable[[str, object], None]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return KeyRing.open(tmp_path_factory.mktemp("keys") / "tokens.key")


@pytest.mark.parametrize("other", [{}, {"nbf": "2020-01-01T00:00:00Z"}, {"unknown": 1}])
def test_the_corpus_is_wrong_by_one_thing_each(keys: KeyRing, other: dict[str, Any]) -> None:
    assert keys.verify(signed(keys, body(**other))).role is Role.ADMINISTRATOR
    assert keys.verify(good_session(keys)).session_of == "1" * 32


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_token_is_refused(keys: KeyRing, what: str) -> None:
    with pytest.raises(TokenRefused):
        keys.verify(WRONG[what](keys))


@settings(max_examples=2_000, deadline=None)
@given(data=st.data())
def test_nothing_but_the_token_itself_is_taken(keys: KeyRing, data: st.DataObject) -> None:
    """Given a good token or session, when its text is changed, left out, put in, doubled or exchanged, it is refused."""
    token = data.draw(st.sampled_from((good, good_session)))(keys)
    place = st.integers(0, len(token))
    changed = token
    for _ in range(data.draw(st.integers(1, 3))):
        first, second = sorted((data.draw(place), data.draw(place)))
        put = data.draw(st.text(ALPHABET + ".= \t+/%\u00e9\x00", max_size=4))
        changed = data.draw(
            st.sampled_from(
                (
                    changed[:first] + put + changed[first:],
                    changed[:first] + put + changed[first + len(put) :],
                    changed[:first] + changed[second:],
                    changed[:second] + changed[first:],
                    changed[second:] + changed[:second],
                )
            )
        )
    if changed != token:
        with pytest.raises(TokenRefused):
            keys.verify(changed)


def test_a_minted_token_says_who_and_for_what(keys: KeyRing) -> None:
    before_ms = datetime.now(UTC).timestamp() * 1_000
    token = keys.mint(Role.SUPERVISOR, "sam", ttl_s=60, campaigns=("spring",))
    found = keys.verify(token)
    assert found == Principal(
        role=Role.SUPERVISOR,
        subject="sam",
        jti=found.jti,
        issued_at=found.issued_at,
        expires_at=found.expires_at,
        campaigns=("spring",),
    )
    assert found.expires_at - found.issued_at == 60_000
    assert before_ms - 1 <= found.issued_at <= datetime.now(UTC).timestamp() * 1_000
    again = keys.verify(keys.mint(Role.SUPERVISOR, "sam", ttl_s=60))
    assert again.jti != found.jti


def test_the_key_file_is_its_owners_alone_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "tokens.key"
    first = KeyRing.open(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KeyRing.open(path).verify(first.mint(Role.CRM, "crm", ttl_s=60)).subject == "crm"
    assert [one.name for one in path.parent.iterdir()] == ["tokens.key"]


def without_trace(answer: Answer) -> tuple[Any, ...]:
    """The answer to the byte, but for the time and what finds it in the log."""
    trace = answer.body["trace_id"]
    assert answer.raw.count(trace.encode()) == 1
    headers = {key: value for key, value in answer.headers.items() if key != "Date"}
    return answer.status, answer.raw.replace(trace.encode(), b"0" * 16), headers


async def test_every_wrong_token_gets_one_answer(service: World, record_property: Recorded) -> None:
    keys = service.service.keys
    assert (await ask(service, "GET", "/v1/campaigns", token=good(keys))).status == 200
    revoked = keys.mint(Role.ADMINISTRATOR, "admin", ttl_s=60)
    assert (await ask(service, "GET", "/v1/campaigns", token=revoked)).status == 200
    engine = service.service.engine
    await engine.direct(RevokeToken(at=engine.clock.now_ms(), by="test", jti=keys.verify(revoked).jti))
    wanted = without_trace(await ask(service, "GET", "/v1/campaigns", token=""))
    assert wanted[0] == 401
    assert wanted[2]["WWW-Authenticate"].startswith("Bearer")
    tried = {what: make(keys) for what, make in WRONG.items()} | {"revoked": revoked}
    for what, token in tried.items():
        headers = {"Authorization": f"Bearer {token}"}
        found = without_trace(await ask(service, "GET", "/v1/campaigns", token="", headers=headers))
        assert found == wanted, what
    record_property("wrong tokens with one answer", len(tried))


@pytest.mark.parametrize("header", ["Basic YWRtaW46YWRtaW4=", "Bearer", "{token}", "Token {token}", "Bearer a {token}"])
async def test_only_a_bearer_token_counts(service: World, header: str) -> None:
    token = service.service.keys.mint(Role.ADMINISTRATOR, "admin", ttl_s=60)
    answer = await ask(service, "GET", "/v1/campaigns", headers={"Authorization": header.format(token=token)})
    assert answer.status == 401


async def test_a_token_elsewhere_than_in_the_header_is_none(service: World) -> None:
    token = service.service.keys.mint(Role.ADMINISTRATOR, "admin", ttl_s=60)
    for path, headers in (
        (f"/v1/campaigns?access_token={token}&token={token}", {}),
        ("/v1/campaigns", {"Cookie": f"token={token}"}),
    ):
        assert (await ask(service, "GET", path, token="", headers=headers)).status == 401


async def test_a_stranger_is_not_told_which_addresses_there_are(service: World) -> None:
    wanted = without_trace(await ask(service, "GET", "/v1/campaigns", token=""))
    for method, path in (("GET", "/nowhere"), ("DELETE", "/v1/events"), ("PUT", "/livez"), ("PROPFIND", "/")):
        assert without_trace(await ask(service, method, path, token="")) == wanted
