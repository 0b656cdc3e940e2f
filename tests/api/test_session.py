"""A session does what its token may and no more, no longer, and ends by itself, by its page, or with its token."""

from pathlib import Path
from typing import Any

import pytest

from api.route import EVERYBODY
from api.token import Role, keyfile
from engine.core.revocation import Revocations, RevokeToken
from tests.api.asking import Answer, ask, problem, token_of
from tests.world import World

SESSIONS, CURRENT = "/v1/sessions", "/v1/sessions/current"
AT = 1_800_000_000_000


async def opened(service: World, token: str, **body: Any) -> str:
    answer = await ask(service, "POST", SESSIONS, body, token=token)
    assert answer.status == 201, answer.raw
    return str(answer.body["token"])


async def campaigns(service: World, token: str) -> Answer:
    return await ask(service, "GET", "/v1/campaigns", token=token)


@pytest.mark.parametrize("role", sorted(EVERYBODY))
async def test_a_session_may_what_its_token_may(service: World, role: Role) -> None:
    """Given a token bound in every way, when a session is opened with it, then it is the same principal, and unreadable."""
    keys = service.service.keys
    token = keys.mint(role, "sam", 600, campaigns=("spring",), agents=("agent1",), systems=("suite",))
    session = await opened(service, token)
    one, two = keys.verify(token), keys.verify(session)
    for name in ("role", "subject", "campaigns", "agents", "systems"):
        assert getattr(one, name) == getattr(two, name)
    assert session.startswith("v4.local.")
    assert (two.session_of, two.share, two.jti != one.jti) == (one.jti, one.jti, True)
    assert (await campaigns(service, session)).status == 200
    forbidden = await ask(service, "GET", "/v1/tokens/revoked", token=session)
    assert forbidden.status == 403


async def test_a_scraper_opens_no_session(service: World) -> None:
    """Given a token that may read metrics alone, then it opens nothing that lives on without it."""
    problem(await ask(service, "POST", SESSIONS, {}, token=token_of(service, Role.METRICS)), 403, "forbidden")


async def test_a_session_ends_no_later_than_its_token(service: World) -> None:
    keys = service.service.keys
    token = keys.mint(Role.AGENT, "agent1", 60)
    until = keys.verify(token).expires_at
    assert keys.verify(await opened(service, token, ttl_s=3_600)).expires_at == until
    short = keys.verify(await opened(service, token, ttl_s=5))
    assert short.expires_at - short.issued_at == 5_000


async def test_an_ended_session_is_refused_and_the_others_are_not(service: World) -> None:
    token = token_of(service, Role.AGENT, "agent1")
    first, second = await opened(service, token), await opened(service, token)
    assert (await ask(service, "DELETE", CURRENT, token=first)).status == 204
    problem(await ask(service, "DELETE", CURRENT, token=first), 401, "unauthenticated")
    assert [(await campaigns(service, one)).status for one in (first, second, token)] == [401, 200, 200]
    [ended] = service.service.engine.directory.revoked
    assert (ended.by, ended.until) == ("agent1", service.service.keys.verify(first).expires_at)


@pytest.mark.parametrize("named", ["jti", "subject"])
async def test_sessions_end_with_their_token(service: World, named: str) -> None:
    token = token_of(service, Role.AGENT, "agent1")
    session = await opened(service, token)
    body = {"jti": service.service.keys.verify(token).jti} if named == "jti" else {"subject": "agent1"}
    await ask(service, "POST", "/v1/tokens/revoke", body)
    assert [(await campaigns(service, one)).status for one in (token, session)] == [401, 401]


async def test_a_session_opens_no_other_and_a_token_is_none(service: World) -> None:
    session = await opened(service, token_of(service))
    problem(await ask(service, "POST", SESSIONS, {}, token=session), 403, "forbidden")
    problem(await ask(service, "DELETE", CURRENT), 403, "forbidden")
    for wrong in (0, 12 * 3_600 + 1):
        problem(await ask(service, "POST", SESSIONS, {"ttl_s": wrong}), 422, "invalid-request")


async def test_a_session_is_not_kept_for_a_repeat(service: World) -> None:
    """Given an Idempotency-Key, then each is a session of its own: no store holds a secret that opens doors."""
    headers = {"Idempotency-Key": "once"}
    one, two = [await ask(service, "POST", SESSIONS, {}, headers=headers) for _ in range(2)]
    assert (one.status, two.status, one.body["token"] != two.body["token"]) == (201, 201, True)


async def test_sessions_outlive_a_rotation_as_tokens_do(service: World) -> None:
    path = Path(service.service.settings.tokens.key_file)
    session = await opened(service, token_of(service))
    first = service.service.keys.kid
    added = keyfile.edit(path, lambda found: found.with_one(AT)).keys[-1].kid
    keyfile.edit(path, lambda found: found.promoting(added, service.service.engine.clock.now_ms(), 3_600))
    another = await opened(service, token_of(service))
    assert [(await campaigns(service, one)).status for one in (session, another)] == [200, 200]
    keyfile.edit(path, lambda found: found.without(first, AT, at_once=True))
    assert [(await campaigns(service, one)).status for one in (session, another)] == [401, 200]


def test_an_ended_session_is_remembered_no_longer_than_it_would_have_lived() -> None:
    revoked = Revocations()
    for jti, at in (("a", AT), ("b", AT + 1_000)):
        for event in revoked.decide(RevokeToken(at=at, by="sam", jti=jti, expires_at=at + 1_000))[0]:
            revoked.apply(event)
    assert [one.until for one in revoked] == [AT + 2_000]
