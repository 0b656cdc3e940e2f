"""A campaign manager's webhook receiver: it believes notifications only.

It checks each signature and the order of `seq`, and keeps its own table from what it was told.
"""

from collections import Counter
from typing import Any

import msgspec
from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError


class Table(msgspec.Struct):
    """What one campaign's notifications say."""

    states: list[str] = []
    next_seq: int = 1
    contacts: int = 0
    dispositions: Counter[str] = msgspec.field(default_factory=Counter)
    final: set[str] = msgspec.field(default_factory=set)
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    by_number: Counter[tuple[int, str]] = msgspec.field(default_factory=Counter)
    requested: set[str] = msgspec.field(default_factory=set)
    ended: set[str] = msgspec.field(default_factory=set)
    agents: dict[str, str] = msgspec.field(default_factory=dict)
    talk_ms: Counter[str] = msgspec.field(default_factory=Counter)
    calls_of: Counter[str] = msgspec.field(default_factory=Counter)
    releases: Counter[str] = msgspec.field(default_factory=Counter)

    @property
    def state(self) -> str:
        return self.states[-1] if self.states else ""

    def take(self, event: dict[str, Any]) -> None:
        data = event["data"]
        match event["type"]:
            case "campaign.status":
                self.states.append(data["state"])
            case "contacts.added":
                self.contacts += data["count"]
            case "contact.disposed":
                self.dispositions[data["disposition"]] += 1
                if data["final"]:
                    self.final.add(data["contact"])
            case "contact.released":
                self.releases[data["reason"]] += 1
            case "call.requested":
                self.requested.add(data["call"])
            case "call.ended":
                self.ended.add(data["call"])
                self.outcomes[data["outcome"]] += 1
                self.by_number[data["number_index"] + 1, data["outcome"]] += 1
                self.talk_ms[data["agent"]] += data["talk_ms"]
                self.calls_of[data["agent"]] += 1
            case "agent.status":
                self.agents[data["agent"]] = data["state"]
            case _:
                pass  # news that this table has no column for


class Receiver:
    """Listens on a free loopback port; `url` once started."""

    def __init__(self, secret: str) -> None:
        self.tables: dict[str, Table] = {}
        self.received = self.repeated = self.out_of_order = self.forged = 0
        self.url = ""
        self._verifier = Webhook(secret)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/notifications", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/notifications"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            event = self._verifier.verify(body, dict(request.headers))
        except WebhookVerificationError:
            self.forged += 1
            return web.Response(status=401)
        table = self.tables.setdefault(event["campaign"], Table())
        if event["seq"] < table.next_seq:
            self.repeated += 1  # at least once: a repeat is no news
        elif event["seq"] > table.next_seq:
            self.out_of_order += 1
            return web.Response(status=409)
        else:
            table.next_seq += 1
            self.received += 1
            table.take(event)
        return web.Response(status=204)
