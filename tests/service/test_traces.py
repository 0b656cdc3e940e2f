"""Spans as a collector gets them: from the client's request to the PBX's Response and the webhook, and nobody's number."""

import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from config.settings import InvalidSettings, Traces
from config.tracing import configure
from simulations.client import Problem
from simulations.engine_process import free_port
from simulations.pbx import Script
from tests.service.test_crash import CAMPAIGN, SECRET, Floor, floor
from tests.service.test_preview import act, take

NUMBER = "15550001"
ENDPOINT = "RINGFOLD_TRACES__ENDPOINT"


class Collector:
    """OTLP over HTTP, as every collector takes it; and the webhook that is told beside it."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.raw = b""
        self.base = ""
        self._runner: web.AppRunner | None = None

    async def up(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/traces", self._take)
        app.router.add_post("/hook", self._told)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.base = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def down(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _told(self, _: web.Request) -> web.Response:
        return web.Response(status=204)

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return web.Response()

    def of(self, name: str) -> list[Span]:
        return [one for one in self.spans if one.name == name]

    def below(self, parent: Span, name: str) -> list[Span]:
        found = [one for one in self.of(name) if one.parent_span_id == parent.span_id]
        assert all(one.trace_id == parent.trace_id for one in found)
        return found


def tags(span: Span) -> dict[str, Any]:
    def value(of: AnyValue) -> Any:
        return getattr(of, str(of.WhichOneof("value")))

    return {one.key: value(one.value) for one in span.attributes}


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()
    await collector.up()
    yield collector
    await collector.down()


async def one_call(place: Floor, traceparent: str) -> Problem:
    """A call from `next` to the disposition, dialled under a client's span; then a dial that is refused."""
    await place.campaign([[NUMBER]], ["agent1"])
    await place.ask("running")
    await place.told("campaign.status", state="running")
    agent = place.agent("agent1")
    held = await take(agent)
    path, body = f"/v1/reservations/{held['id']}/dial", {"token": held["token"]}
    call = (await agent.call("POST", path, body, {"traceparent": traceparent}))["call_id"]
    await place.told("call.bridged", call=call)
    await agent.call("POST", f"/v1/calls/{call}/hangup", {})
    await place.told("call.ended", call=call)
    await act(agent, held, "disposition", disposition="engaged")
    with pytest.raises(Problem) as refused:
        await act(agent, held, "dial")
    return refused.value


async def test_a_dial_is_one_trace_from_the_clients_span_to_the_pbx(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT, f"{collector.base}/v1/traces")
    trace, parent = secrets.token_hex(16), secrets.token_hex(8)
    async with floor(tmp_path, Script(), 0.05) as place:
        hook = {"url": f"{collector.base}/hook", "secret": SECRET}
        await place.admin.call("PUT", "/v1/webhooks/board", hook)
        refused = await one_call(place, f"00-{trace}-{parent}-01")
        await place.engine.stop()  # what waits to be sent is sent before it ends
    (dial,) = [one for one in collector.of("POST /v1/reservations/{reservation}/dial") if one.trace_id.hex() == trace]
    assert dial.parent_span_id.hex() == parent
    assert tags(dial)["http.response.status_code"] == 202
    (command,) = collector.below(dial, "command Dial")
    assert tags(command) == {"ringfold.log": f"campaign/{CAMPAIGN}", "ringfold.result": "taken"}
    (turn,) = collector.below(command, "turn")
    assert [one.name for one in turn.events] == ["decided", "durable"]
    (originate,) = collector.below(turn, "ami Originate")
    assert tags(originate)["ringfold.result"] == "Success"
    assert turn.events[1].time_unix_nano <= originate.start_time_unix_nano  # written down before it is acted on
    (redirect,) = collector.of("ami Redirect")
    assert tags(redirect)["ringfold.leg"] == tags(originate)["ringfold.leg"]
    delivered = {tags(one)["ringfold.notification"]: tags(one) for one in collector.of("deliver")}
    assert delivered[f"{CAMPAIGN}:1"]["http.response.status_code"] == 204
    later = [one for one in collector.of("POST /v1/reservations/{reservation}/dial") if one.trace_id.hex() != trace]
    assert [one.trace_id.hex() for one in later] == [
        refused.body["trace_id"]
    ]  # what a user quotes is what is looked up
    assert not any(one.name.endswith(("/livez", "/readyz", "/v1/events")) for one in collector.spans)


async def test_no_span_holds_who_is_called(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT, f"{collector.base}/v1/traces")
    async with floor(tmp_path, Script(), 0.05) as place:
        await one_call(place, f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01")
        await place.engine.stop()
    assert collector.of("command AddContacts")
    assert NUMBER.encode() not in collector.raw
    assert b"v4.public" not in collector.raw


async def test_a_collector_that_is_away_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{free_port()}/v1/traces")
    async with floor(tmp_path, Script(), 0.05) as place:
        await one_call(place, "no traceparent at all")
        assert await place.engine.stop() == 0


async def test_a_share_of_nothing_sends_nothing_but_what_a_client_asks_for(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENDPOINT, f"{collector.base}/v1/traces")
    monkeypatch.setenv("RINGFOLD_TRACES__SHARE", "0.0")
    trace = secrets.token_hex(16)
    async with floor(tmp_path, Script(), 0.05) as place:
        await one_call(place, f"00-{trace}-{secrets.token_hex(8)}-01")
        await place.engine.stop()
    assert {one.trace_id.hex() for one in collector.spans} == {trace}


def test_an_endpoint_without_the_extra_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "config.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(InvalidSettings, match=r"traces\.endpoint.*ringfold\[traces\]"):
        configure(Traces(endpoint="http://127.0.0.1:4318/v1/traces"))
