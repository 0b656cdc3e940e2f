"""Schemathesis asks a running service what its published schema allows, and what it doesn't, and finds nothing."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from api.app import ROUTES
from tests.adapters.importer.files import CHECKED, csv_of, reached
from tests.api import acceptance
from tests.api.asking import ask, token_of
from tests.service.test_preview import act, take
from tests.world import World

ROOT = Path(__file__).parents[2]
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "3")
"""For each operation and phase; more find more, and take longer: `make schemathesis`."""
SEED = "1"
CONFIG = Path(__file__).with_name("schemathesis.toml")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ignored_auth",
    "valid_is_taken",
)
MIN_CASES_PER_OPERATION = 10
REPORT_CHARS = 3_000
"""Of the report's end, where its counts are."""
ENDS = "65550001"
"""Answers, and hangs up a second of its life later."""


async def at_work(world: World) -> dict[str, str]:
    """Something of each kind is there, under the names of the schema's examples. What has an id of its own is returned."""
    people = [[ENDS], *([f"1555{number:04}"] for number in range(8))]
    await world.campaign("spring", people, agents=("anna",), dispose_without_attempt=True)
    for path, body in (
        ("/v1/mappings/crm", {"columns": {"Phone": "number1"}}),
        ("/v1/tags/vip", None),
        ("/v1/external/suite/agent/U1", {"ref": "anna"}),
        ("/v1/webhooks/crm", {"url": "http://127.0.0.1:9/"}),
    ):
        assert (await ask(world, "PUT", path, body)).status in (200, 201, 204), path
    await world.run("spring")
    agent = world.agent("anna")
    held = await take(agent, "anna")
    call = (await act(agent, held, "dial"))["call_id"]
    await world.told("spring", "call.ended", call=call)
    await act(agent, held, "disposition", disposition="engaged")
    rows = csv_of(("ref", "number1"), ("spring:more", "15559999"))
    path = "/v1/imports?campaign=spring&mode=add&name=more.csv"
    received = await ask(world, "POST", path, raw=rows, headers={"Content-Type": "text/csv"})
    await reached(world, received.body["id"], CHECKED)
    return {"call": call, "reservation": (await take(agent, "anna"))["id"], "import": received.body["id"]}


@pytest.mark.slow
async def test_schemathesis_finds_nothing(
    service: World, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    known = await at_work(service)
    config, told = tmp_path / "schemathesis.toml", tmp_path / "report.json"
    names = "".join(f'"path.{name}" = "{value}"\n' for name, value in known.items())
    config.write_text(f"[parameters]\n{names}\n{CONFIG.read_text('utf-8')}", "utf-8")
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)),
        *("run", f"{service.base}/openapi.json", "--header", f"Authorization: Bearer {token_of(service)}"),
        *("--phases", "examples,coverage,fuzzing,stateful", "--checks", ",".join(CHECKS), "--max-examples", EXAMPLES),
        *("--seed", SEED, "--generation-database", "none", "--workers", "1", "--no-color"),
        *("--report-json-path", str(told)),
    ]
    child = await asyncio.create_subprocess_exec(
        *command,
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": acceptance.__name__, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert child.stdout is not None
    report = (await child.stdout.read()).decode()
    status = await child.wait()
    sys.stdout.write(report[-REPORT_CHARS:])
    assert status == 0, report[-12_000:]
    counts = json.loads(told.read_text("utf-8"))
    assert counts["complete"]
    assert {one["status"] for one in counts["phases"].values()} == {"success"}
    tested, cases = counts["operations"], counts["test_cases"]
    assert tested["tested"] == tested["total"] == len(ROUTES), "an operation was left out"
    assert cases["generated"] > MIN_CASES_PER_OPERATION * tested["tested"]
    report_line = report.rstrip().splitlines()[-1].strip(" =")
    record_property("schemathesis", f"{', '.join(counts['phases'])}: nothing found; {report_line}")
    record_property("operations", tested["tested"])
    record_property("checks", len(CHECKS))
    record_property("cases", cases["generated"])
