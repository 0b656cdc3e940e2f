"""Every wrong token gets the same answer, so that nothing is learned by trying."""

import base64
import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyseto
import pytest
from pyseto import Key

from api.token import AUDIENCE, MAX_FOOTER_CHARS, MAX_TOKEN_CHARS, KeyRing, Principal, Role, TokenRefused
from engine.core.directory import RevokeToken
from tests.api.asking import Answer, ask
from tests.world import World


def claims(**other: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    usual = {
        "iss": "ringfold",
        "aud": AUDIENCE,
        "sub": "admin",
        "jti": "0" * 32,
        "iat": now.isoformat(),
        "exp": (now + timedelta(hours=1)).isoformat(),
        "role": "administrator",
        "campaigns": [],
    }
    return {key: value for key, value in {**usual, **other}.items() if value is not None}


def at(**offset: int) -> str:
    return (datetime.now(UTC) + timedelta(**offset)).isoformat()


def signed(keys: KeyRing, payload: bytes, footer: bytes | None = None) -> str:
    """By the service's own key: only what the payload says can be wrong with it."""
    known = json.dumps({"kid": keys.kid}).encode() if footer is None else footer
    return pyseto.encode(keys._secret, payload, footer=known).decode()


def of(**other: Any) -> Callable[[KeyRing], str]:
    return lambda keys: signed(keys, json.dumps(claims(**other)).encode())


def foreign(keys: KeyRing, folder: Path) -> str:
    return KeyRing.open(folder / "another.key").mint(Role.ADMINISTRATOR, "admin", ttl_s=60)


def claiming_our_kid(keys: KeyRing, folder: Path) -> str:
    other = KeyRing.open(folder / "another.key")
    return signed(other, json.dumps(claims()).encode(), json.dumps({"kid": keys.kid}).encode())


def local(keys: KeyRing) -> str:
    key = Key.new(version=4, purpose="local", key=b"k" * 32)
    return pyseto.encode(key, json.dumps(claims()).encode(), footer=json.dumps({"kid": keys.kid}).encode()).decode()


def twice_in_payload(keys: KeyRing) -> str:
    payload = json.dumps(claims(role="agent"))
    return signed(keys, (payload[:-1] + ',"role":"administrator"}').encode())


def twice_in_footer(keys: KeyRing) -> str:
    return signed(keys, json.dumps(claims()).encode(), f'{{"kid":"x","kid":"{keys.kid}"}}'.encode())


def flipped(keys: KeyRing, part: int) -> str:
    parts = keys.mint(Role.ADMINISTRATOR, "admin", ttl_s=60).split(".")
    middle = len(parts[part]) // 2
    parts[part] = parts[part][:middle] + ("A" if parts[part][middle] != "A" else "B") + parts[part][middle + 1 :]
    return ".".join(parts)


def other_footer(keys: KeyRing) -> str:
    head, _, _ = keys.mint(Role.ADMINISTRATOR, "admin", ttl_s=60).rpartition(".")
    footer = base64.urlsafe_b64encode(json.dumps({"kid": keys.kid, "x": 1}).encode()).decode().rstrip("=")
    return f"{head}.{footer}"


WRONG: dict[str, Callable[[KeyRing], str]] = {
    "nothing": lambda keys: "",
    "no token at all": lambda keys: "xyzzy",
    "expired": of(exp=at(seconds=-1)),
    "without an end": of(exp=None),
    "an end that is a number": of(exp=4_000_000_000),
    "an end without a zone": of(exp="2999-01-01T00:00:00"),
    "an end that is no time": of(exp="tomorrow"),
    "for another audience": of(aud="elsewhere"),
    "for several audiences": of(aud=[AUDIENCE]),
    "by another issuer": of(iss="elsewhere"),
    "issued in the future": of(iat=at(days=1)),
    "without an id": of(jti=None),
    "without a subject": of(sub=None),
    "an unknown role": of(role="root"),
    "campaigns that are no list": of(campaigns="spring"),
    "no claims": lambda keys: signed(keys, b"[]"),
    "no JSON": lambda keys: signed(keys, b"\xff{"),
    "nested without end": lambda keys: signed(keys, b"[" * 2_000),
    "a key twice in the payload": twice_in_payload,
    "a key twice in the footer": twice_in_footer,
    "v4.local": local,
    "v2": lambda keys: keys.mint(Role.ADMINISTRATOR, "admin", ttl_s=60).replace("v4.", "v2."),
    "no footer": lambda keys: signed(keys, json.dumps(claims()).encode(), b""),
    "a footer that is no JSON": lambda keys: signed(keys, json.dumps(claims()).encode(), keys.kid.encode()),
    "a footer that is a list": lambda keys: signed(keys, json.dumps(claims()).encode(), b'["kid"]'),
    "an unknown key": lambda keys: signed(keys, json.dumps(claims()).encode(), b'{"kid":"k4.pid.none"}'),
    "payload changed": lambda keys: flipped(keys, 2),
    "footer changed": other_footer,
    "cut off": lambda keys: keys.mint(Role.ADMINISTRATOR, "admin", ttl_s=60)[:-40],
    "oversized": of(pad="x" * MAX_TOKEN_CHARS),
    "footer oversized": lambda keys: signed(
        keys, json.dumps(claims()).encode(), json.dumps({"kid": keys.kid, "pad": "x" * MAX_FOOTER_CHARS}).encode()
    ),
    "not ASCII": lambda keys: "v4.public.é.é",
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return KeyRing.open(tmp_path_factory.mktemp("keys") / "tokens.key")


def test_the_corpus_is_wrong_by_one_thing_each(keys: KeyRing) -> None:
    assert keys.verify(of()(keys)).role is Role.ADMINISTRATOR


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_token_is_refused(keys: KeyRing, what: str) -> None:
    with pytest.raises(TokenRefused):
        keys.verify(WRONG[what](keys))


@pytest.mark.parametrize("make", [foreign, claiming_our_kid])
def test_another_key_is_not_ours(keys: KeyRing, tmp_path: Path, make: Callable[[KeyRing, Path], str]) -> None:
    with pytest.raises(TokenRefused):
        keys.verify(make(keys, tmp_path))


def test_a_minted_token_says_who_and_for_what(keys: KeyRing) -> None:
    before_ms = datetime.now(UTC).timestamp() * 1_000
    token = keys.mint(Role.SUPERVISOR, "sam", ttl_s=60, campaigns=("spring",))
    found = keys.verify(token)
    assert found == Principal(
        role=Role.SUPERVISOR, subject="sam", jti=found.jti, expires_at=found.expires_at, campaigns=("spring",)
    )
    assert 59_000 <= found.expires_at - before_ms <= 61_000
    again = keys.verify(keys.mint(Role.SUPERVISOR, "sam", ttl_s=60))
    assert again.jti != found.jti


def test_the_key_file_is_its_owners_alone_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "tokens.key"
    first = KeyRing.open(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KeyRing.open(path).verify(first.mint(Role.CRM, "crm", ttl_s=60)).subject == "crm"
    assert [one.name for one in path.parent.iterdir()] == ["tokens.key"]


def without_trace(answer: Answer) -> tuple[Any, ...]:
    body = {key: value for key, value in answer.body.items() if key != "trace_id"}
    headers = {key: value for key, value in answer.headers.items() if key not in ("Date", "Content-Length")}
    return answer.status, body, headers


async def test_every_wrong_token_gets_one_answer(service: World, tmp_path: Path) -> None:
    keys = service.service.keys
    wrong = [make(keys) for make in WRONG.values()] + [foreign(keys, tmp_path), claiming_our_kid(keys, tmp_path)]
    revoked = keys.mint(Role.ADMINISTRATOR, "admin", ttl_s=60)
    assert (await ask(service, "GET", "/v1/campaigns", token=revoked)).status == 200
    engine = service.service.engine
    await engine.direct(RevokeToken(at=engine.clock.now_ms(), by="test", jti=keys.verify(revoked).jti))
    wanted = without_trace(await ask(service, "GET", "/v1/campaigns", token=""))
    assert wanted[0] == 401
    assert wanted[2]["WWW-Authenticate"].startswith("Bearer")
    for token in [*wrong, revoked]:
        assert without_trace(await ask(service, "GET", "/v1/campaigns", token=token or "x")) == wanted


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
