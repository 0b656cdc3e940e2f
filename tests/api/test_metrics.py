"""Metrics of a running service: what is counted is what happened, and what dashboards and alerts ask for is there."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.health import Reason
from simulations.pbx import SimulatedPbx
from tests.api.asking import ask
from tests.service.test_preview import act, take
from tests.world import World

DEPLOY = Path(__file__).parents[2] / "deploy"
NAME = re.compile(r"\b(ringfold_\w+|process_\w+)\b")
MAX_LABELS = 3


async def read(service: World) -> dict[tuple[str, tuple[str, ...]], float]:
    """Samples by name and the values of their labels."""
    text = (await ask(service, "GET", "/metrics")).raw.decode()
    return {
        (one.name, tuple(one.labels.values())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


@pytest.fixture
async def busy(service: World) -> World:
    """A service with a campaign in which one call was made, and a webhook."""
    await ask(service, "PUT", "/v1/webhooks/crm", {"url": "http://127.0.0.1:9/"})
    await service.campaign("spring", [["25550001"], ["15550002"]])
    await service.run("spring")
    agent = service.agent("agent1")
    held = await take(agent)
    call = (await act(agent, held, "dial"))["call_id"]
    await service.told("spring", "call.ended", call=call)
    await ask(service, "GET", "/v1/campaigns", token="v4.public.nothing")
    return service


async def test_what_is_counted_is_what_happened(busy: World) -> None:
    await ask(busy, "GET", "/v1/campaigns/none")
    found = await read(busy)
    assert found["ringfold_pbx_up", ()] == 1
    assert found["ringfold_campaigns", ("running",)] == 1
    assert found["ringfold_calls_ended_total", ("busy",)] == 1
    assert found["ringfold_events_total", ("call.ended",)] == 1
    assert found["ringfold_commands_total", ("Dial", "taken")] == 1
    assert found["ringfold_contacts", ("held",)] == 1
    assert found["ringfold_reservations_live", ()] == 1
    assert found["ringfold_agents", ("previewing",)] == 1
    assert found["ringfold_http_answers_total", ("GET", "/v1/campaigns/{ref}", "404")] == 1
    assert sum(n for (name, _), n in found.items() if name == "ringfold_tokens_refused_total") == 1
    assert found["ringfold_log_flush_seconds_count", ()] > 3
    assert found["ringfold_log_group_events_sum", ()] >= found["ringfold_log_group_events_count", ()]
    assert found["ringfold_command_seconds_bucket", ("+Inf",)] == found["ringfold_command_seconds_count", ()]
    assert found["ringfold_ami_action_seconds_count", ()] >= 2
    assert found["ringfold_ami_connections_total", ()] == 1
    assert found["ringfold_webhook_parked", ("crm",)] == 0


async def test_EX_13_what_campaigns_wait_for_is_a_metric_too(busy: World, pbx: SimulatedPbx) -> None:
    found = await read(busy)
    assert {labels[0] for name, labels in found if name == "ringfold_campaigns_waiting"} == {
        one.value for one in Reason
    }
    assert found["ringfold_campaigns_waiting", ("pbx",)] == 0
    pbx.refuse_connections()
    pbx.cut()
    await busy.until(lambda: not busy.service.engine.claims.pbx_up)
    assert (await read(busy))["ringfold_campaigns_waiting", ("pbx",)] == 1


async def test_what_is_asked_for_makes_no_new_series(busy: World) -> None:
    before = set(await read(busy))
    for place in range(20):
        await ask(busy, "GET", f"/v1/campaigns/none{place}")
        await ask(busy, "GET", f"/nothing/{place}")
    await ask(busy, "PROPFIND", "/v1/campaigns")
    new = {key for key in set(await read(busy)) - before if not key[0].endswith("_bucket")}
    assert {labels for _, labels in new} <= {
        ("GET", "/v1/campaigns/{ref}", "404"),
        ("GET", "/v1/campaigns/{ref}"),
        ("GET", "none", "404"),
        ("GET", "none"),
        ("other", "/v1/campaigns", "405"),
        ("other", "none", "405"),
        ("other", "/v1/campaigns"),
        ("other", "none"),
        ("GET", "/metrics", "200"),
        ("GET", "/metrics"),
    }


async def test_dashboard_and_alerts_ask_for_what_there_is(busy: World) -> None:
    there = {name for name, _ in await read(busy)}
    dashboard = json.loads((DEPLOY / "grafana.json").read_text("utf-8"))
    rules = (DEPLOY / "alerts.yml").read_text("utf-8")
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    asked += re.findall(r"^ +expr: (.+)$", rules, re.MULTILINE)
    names = {name for expression in asked for name in NAME.findall(expression)}
    assert names - there == set()
    assert len(names) > 15
    runbook = (DEPLOY.parent / "docs" / "runbook.md").read_text("utf-8")
    alerts = re.findall(r"^ +- alert: (\w+)$", rules, re.MULTILINE)
    assert len(alerts) > 8
    assert [one for one in alerts if f"## {one}\n" not in runbook] == []  # none without a word on what to do
