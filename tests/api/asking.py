"""Asking as any HTTP client may: raw bodies, no token, whole answers."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from api.token import Role
from simulations.pbx import SimulatedPbx
from tests.world import World

JSON, NDJSON = "application/json", "application/x-ndjson"


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw) if self.raw else None

    @property
    def code(self) -> str:
        return str(self.body["type"]).rpartition("/")[2]

    @property
    def fields(self) -> list[str]:
        return [one["field"] for one in self.body.get("errors", [])]


def token_of(service: World, role: Role = Role.ADMINISTRATOR, subject: str = "admin", *campaigns: str) -> str:
    return service.service.keys.mint(role, subject, ttl_s=600, campaigns=campaigns)


async def ask(
    service: World,
    method: str,
    path: str,
    body: Any = None,
    *,
    raw: bytes | None = None,
    token: str | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """One request. `token` None is an administrator's, "" none at all. `raw` is sent as it is, `body` as JSON."""
    given = dict(headers or {})
    if token != "":
        given.setdefault("Authorization", f"Bearer {token or token_of(service)}")
    if raw is None and body is not None:
        raw = json.dumps(body).encode()
    if raw is not None:
        given.setdefault("Content-Type", JSON)
    async with service.session.request(
        method, service.base + path, data=raw, headers=given, skip_auto_headers=["Content-Type"]
    ) as answer:
        return Answer(answer.status, answer.headers, await answer.read())


def problem(answer: Answer, status: int, code: str) -> None:
    """It is this problem, in the form that every problem has."""
    assert (answer.status, answer.code) == (status, code), answer.raw
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.body["status"] == status
    assert answer.body["title"]
    assert answer.body["detail"]
    assert len(answer.body["trace_id"]) == 32


class Untouched:
    """What must be as before: every log, and what the PBX was asked."""

    def __init__(self, service: World, pbx: SimulatedPbx) -> None:
        self._service = service
        self._pbx = pbx
        self._before = self._now()

    def _now(self) -> Any:
        engine = self._service.service.engine
        assert engine._directory_actor is not None
        logs = {ref: one.actor.log.position for ref, one in engine.campaigns.items()}
        # Pings come by the clock, whatever is asked.
        actions = {name: count for name, count in self._pbx.actions.items() if name.lower() != "ping"}
        return engine._directory_actor.log.position, logs, len(self._pbx.originates), actions

    def check(self) -> None:
        assert self._now() == self._before


FAR = "25550001"
"""A number that is busy."""


async def contacts(service: World, *rows: dict[str, Any], ref: str = "spring", query: str = "") -> dict[str, Any]:
    answer: dict[str, Any] = await service.manager.call("POST", f"/v1/campaigns/{ref}/contacts{query}", list(rows))
    return answer


def clicked(**more: Any) -> dict[str, Any]:
    """A click of the external system `suite`, by its own ids: see the fixture `crm`."""
    return {"external_system": "suite", "campaign": "C1", "agent": "U1", "request_id": "r1", **more}


async def refused(service: World, token: str, body: dict[str, Any]) -> str:
    """Status and code of a click that is refused."""
    answer = await ask(service, "POST", "/v1/calls", body, token=token)
    assert answer.status >= 400, answer.body
    return f"{answer.status} {answer.code}"
