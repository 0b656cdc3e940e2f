"""A token that was taken back is refused from then on: in requests, in open streams, after a restart."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from api.token import MAX_TTL_S, Principal, Role
from engine.core import directory as directories
from engine.core.directory import Directory
from engine.core.refusal import Refused
from engine.core.revocation import KEPT_MS, MAX_REVOKED, RevokeSubject, RevokeToken, SubjectRevoked, TokenRevoked
from simulations.pbx import SimulatedPbx
from tests.api.asking import ask, problem, token_of
from tests.conftest import ami_of
from tests.world import PATIENCE_S, World, running, settings_for

AT = 1_800_000_000_000
REVOKE, REVOKED = "/v1/tokens/revoke", "/v1/tokens/revoked"


def principal(jti: str = "a", subject: str = "sam", issued_at: int = AT) -> Principal:
    return Principal(role=Role.AGENT, subject=subject, jti=jti, issued_at=issued_at, expires_at=issued_at + 1)


def having(*commands: RevokeToken | RevokeSubject) -> Directory:
    """A directory to which these were told."""
    found = Directory()
    for one in commands:
        for event in directories.decide(found, one)[0]:
            found.apply(event)
    return found


def test_a_subjects_tokens_until_then_are_refused_and_later_ones_are_not() -> None:
    revoked = having(RevokeSubject(at=AT, by="olga", subject="sam")).revoked
    assert [principal(issued_at=at).is_under(revoked) for at in (AT - 1, AT, AT + 1)] == [True, True, False]
    assert not principal(subject="ann", issued_at=AT - 1).is_under(revoked)


def test_a_revoked_token_is_refused_and_no_other() -> None:
    revoked = having(RevokeToken(at=AT, by="olga", jti="a")).revoked
    assert [principal("a", issued_at=AT + 1).is_under(revoked), principal("b").is_under(revoked)] == [True, False]


def test_what_is_revoked_twice_is_written_once_but_for_a_subjects_new_time() -> None:
    known = having(RevokeToken(at=AT, by="olga", jti="a"), RevokeSubject(at=AT, by="olga", subject="sam"))
    assert directories.decide(known, RevokeToken(at=AT + 1, by="olga", jti="a")) == ([], None)
    [again], _ = directories.decide(known, RevokeSubject(at=AT + 1, by="olga", subject="sam"))
    assert again == SubjectRevoked(at=AT + 1, by="olga", subject="sam")
    assert directories.stream_of(again) == "tokens"


def test_what_no_living_token_can_be_under_is_forgotten() -> None:
    """Given one that was revoked longer ago than any token lives, when another is, then only the other is remembered."""
    late = AT + KEPT_MS
    known = having(
        RevokeToken(at=AT, by="olga", jti="a"),
        RevokeSubject(at=AT, by="olga", subject="sam"),
        RevokeToken(at=AT + 1, by="olga", jti="b"),
        RevokeToken(at=late, by="olga", jti="c"),
    )
    assert [one.jti for one in known.revoked if isinstance(one, TokenRevoked)] == ["b", "c"]
    assert [one for one in known.revoked if isinstance(one, SubjectRevoked)] == []
    assert KEPT_MS > MAX_TTL_S * 1_000


@pytest.mark.parametrize(
    "make",
    [
        lambda n, at: RevokeToken(at=at, by="olga", jti=f"{n:032x}"),
        lambda n, at: RevokeSubject(at=at, by="olga", subject=f"agent{n}"),
    ],
)
def test_there_is_a_bound_and_time_makes_room(make: Callable[[int, int], RevokeToken | RevokeSubject]) -> None:
    known = Directory()
    for number in range(MAX_REVOKED):
        event = directories.decide(known, make(number, AT))[0][0]
        known.revoked._tokens.update({event.jti: event} if isinstance(event, TokenRevoked) else {})
        known.revoked._subjects.update({event.subject: event} if isinstance(event, SubjectRevoked) else {})
    with pytest.raises(Refused) as refused:
        directories.decide(known, make(MAX_REVOKED, AT))
    assert refused.value.code == "too-many-revoked"
    assert directories.decide(known, make(MAX_REVOKED, AT + KEPT_MS))[0]


async def test_an_administrator_takes_tokens_back(service: World) -> None:
    """Given an agent's two tokens, when one and then the agent are revoked, then they are refused, and a new one isn't."""
    await service.campaign("spring", [["15550001"]])
    keys = service.service.keys
    one, two = (token_of(service, Role.AGENT, "agent1") for _ in range(2))

    async def statuses(*tokens: str) -> list[int]:
        return [(await ask(service, "GET", "/v1/agents/agent1", token=token)).status for token in tokens]

    assert await statuses(one, two) == [200, 200]
    told = await ask(service, "POST", REVOKE, {"jti": keys.verify(one).jti})
    assert (told.status, await statuses(one, two)) == (200, [401, 200])
    told = await ask(service, "POST", REVOKE, {"subject": "agent1"})
    assert (told.status, await statuses(one, two)) == (200, [401, 401])
    await asyncio.sleep(0.01)  # a token is given out to the millisecond
    assert await statuses(token_of(service, Role.AGENT, "agent1")) == [200]
    shown = (await ask(service, "GET", REVOKED)).body
    assert [(row["jti"], row["subject"], row["by"]) for row in shown["revoked"]] == [
        (None, "agent1", "admin"),
        (keys.verify(one).jti, None, "admin"),
    ]
    assert shown == told.body


@pytest.mark.parametrize("body", [{}, {"jti": "0" * 32, "subject": "agent1"}, {"jti": None}])
async def test_one_of_the_two_is_named(service: World, body: dict[str, str | None]) -> None:
    problem(await ask(service, "POST", REVOKE, body), 422, "invalid-request")
    assert (await ask(service, "GET", REVOKED)).body["revoked"] == []


@pytest.mark.parametrize("bound", [{"campaigns": ("spring",)}, {"agents": ("agent1",)}, {"systems": ("suite",)}])
async def test_a_bound_token_takes_none_back(service: World, bound: dict[str, tuple[str, ...]]) -> None:
    token = service.service.keys.mint(Role.ADMINISTRATOR, "admin", 60, **bound)
    problem(await ask(service, "POST", REVOKE, {"subject": "admin"}, token=token), 403, "forbidden")
    problem(await ask(service, "GET", REVOKED, token=token), 403, "forbidden")
    assert (await ask(service, "GET", "/v1/campaigns", token=token)).status == 200


async def test_an_open_stream_ends_when_its_token_is_revoked(service: World) -> None:
    await service.campaign("spring", [])
    token = token_of(service, Role.CRM, "crm")
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    async with service.session.get(f"{service.base}/v1/events?campaign=spring", headers=headers) as stream:
        assert stream.status == 200
        await ask(service, "POST", REVOKE, {"subject": "crm"})
        await service.campaign("spring", [["15550001"]])  # something to tell
        async with asyncio.timeout(PATIENCE_S):
            while await stream.content.readline():
                pass


async def test_what_is_revoked_stays_so_after_a_restart(tmp_path: Path, pbx: SimulatedPbx) -> None:
    settings = settings_for(tmp_path, ami_of(pbx))
    async with running(settings) as first:
        tokens = [token_of(first, Role.CRM, "crm"), token_of(first, Role.CRM, "suite")]
        await ask(first, "POST", REVOKE, {"subject": "crm"})
        await ask(first, "POST", REVOKE, {"jti": first.service.keys.verify(tokens[1]).jti})
        before = (await ask(first, "GET", REVOKED)).body["revoked"]
    async with running(settings) as second:
        for token in tokens:
            problem(await ask(second, "GET", "/v1/campaigns", token=token), 401, "unauthenticated")
        assert (await ask(second, "GET", REVOKED)).body["revoked"] == before
