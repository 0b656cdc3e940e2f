"""Schemathesis asks a running service what its published schema allows, and what it doesn't, and finds nothing."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.api.asking import token_of
from tests.world import World

EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "3")
"""For each operation and phase; more find more, and take longer."""
SEED = "1"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method"
)


@pytest.mark.slow
async def test_schemathesis_finds_nothing(service: World, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{service.base}/openapi.json"),
        *("--header", f"Authorization: Bearer {token_of(service)}", "--seed", SEED, "--max-examples", EXAMPLES),
        *("--phases", "examples,coverage,fuzzing,stateful", "--checks", CHECKS, "--exclude-path", "/v1/events"),
        *(
            "--exclude-path-regex",
            "/v1/calls/{call}/events",
            "--workers",
            "1",
            "--no-color",
            "--generation-database",
            "none",
        ),
    ]
    child = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert child.stdout is not None
    report = (await child.stdout.read()).decode()
    status = await child.wait()
    sys.stdout.write(report[-3_000:])
    assert status == 0, report[-12_000:]
