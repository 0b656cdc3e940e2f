"""Every example in the README and the documentation is carried out: requests against a running service, commands in a shell,
settings read by the program. A block that is none of what is known here fails: nothing is left out in silence.
"""

import asyncio
import json
import os
import re
import shutil
import sys
import tomllib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from adapters.notify.catalogue import CATALOGUE
from api.token import Role
from config.settings import InvalidSettings, Settings, load
from engine.ports import LogArchived
from simulations.pbx import SimulatedPbx
from tests.adapters.importer.files import CHECKED, csv_of, reached
from tests.api.asking import ask, token_of
from tests.conftest import ami_of
from tests.world import PATIENCE_S, World, running, settings_for

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
REQUEST = re.compile(r"(GET|HEAD|PUT|POST|PATCH|DELETE) +(/\S*?)((?:, /\S+)*)(?: +(.*))?")
STATUS = re.compile(r"(?:→ |^)([245][0-9][0-9])\b")
FILE = csv_of(("ref", "number1", "name"), ("spring:1", "3105822141", "Bo"), ("spring:2", "3105822142", "Ana"))


class Block(NamedTuple):
    """What stands between two fences. `info` is what follows the opening one."""

    place: str
    info: str
    text: str

    @property
    def kind(self) -> str:
        """By its first word; without one, by what each of its lines is."""
        if self.info:
            return self.info.split()[0]
        lines = self.text.splitlines()
        if all(REQUEST.fullmatch(one) for one in lines):
            return "http"
        return "make" if all(one.startswith("make ") for one in lines) else "?"


def blocks() -> list[Block]:
    found = []
    for path in DOCUMENTS:
        opened: tuple[int, str] | None = None
        inside: list[str] = []
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if not line.startswith("```"):
                inside.append(line)
            elif opened is None:
                opened, inside = (number, line.removeprefix("```").strip()), []
            else:
                name = path.relative_to(ROOT).as_posix()
                found.append(Block(f"{name}:{opened[0]}", opened[1], "\n".join(inside) + "\n"))
                opened = None
        assert opened is None, f"{path}: a block isn't closed"
    return found


BLOCKS = blocks()


@pytest.fixture
async def world(tmp_path: Path, pbx: SimulatedPbx) -> AsyncIterator[World]:
    """With the CRM that docs/crm.md sets up."""
    told = next(one for one in BLOCKS if one.place.startswith("docs/crm.md") and one.kind == "toml")
    crm = settings_of(told.text, tmp_path).crm
    async with running(settings_for(tmp_path, ami_of(pbx), crm=crm)) as world:
        yield world


def settings_of(text: str, folder: Path) -> Settings:
    """The settings in a document; the files that they name are there."""
    for name in re.findall(r'_file = "(/[^"]+)"', text):
        there = folder / name.strip("/").replace("/", "-")
        there.write_text("Bearer x", "utf-8")
        text = text.replace(name, str(there))
    path = folder / "example.toml"
    path.write_text(text, "utf-8")
    return load(path, {})


class Reader:
    """Somebody who follows a document step by step, with an administrator's token."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.known: dict[str, str] = {}
        """What earlier answers gave: ids and tokens, by how documents write them."""

    async def follow(self, text: str) -> int:
        steps = 0
        for line in text.splitlines():
            match = REQUEST.fullmatch(line)
            assert match is not None, f"no request: {line!r}"
            method, path, further, rest = match.groups("")
            for one in (path, *(other.strip() for other in further.split(",") if other.strip())):
                await self.ask(method, one, rest)
                steps += 1
        return steps

    async def ask(self, method: str, path: str, rest: str) -> None:
        for written, value in self.known.items():
            path, rest = path.replace(written, value), rest.replace(written, value)
        body, comment = _body_of(rest)
        wanted = STATUS.search(comment)
        raw = FILE if path.startswith("/v1/imports?") and method == "POST" else None
        headers = {"Content-Type": "text/csv"} if raw is not None else {}
        answer = await ask(self.world, method, path, body, raw=raw, headers=headers)
        async with asyncio.timeout(PATIENCE_S):
            while path.endswith("/next") and answer.status == 204:  # the agent's phone rings first
                await asyncio.sleep(0.05)
                answer = await ask(self.world, method, path, body)
        if wanted is not None:
            assert answer.status == int(wanted[1]), (method, path, answer.raw)
        assert answer.status < 400, (method, path, answer.raw)
        await self.settle(method, path, body, answer.body if answer.headers.get("Content-Type") == JSON else {})

    async def settle(self, method: str, path: str, asked: Any, told: dict[str, Any] | None) -> None:
        """Learn what the next lines name, and wait as a client of notifications would."""
        if method == "PATCH" and isinstance(asked, dict) and asked.get("state") == "running":
            await self.world.told("spring", "campaign.status", state="running")
        elif path.startswith("/v1/imports?") and method == "POST":
            assert told is not None
            self.known["{id}"] = told["id"]
            await reached(self.world, told["id"], CHECKED)
        elif path.endswith("/confirm"):
            await reached(self.world, self.known["{id}"], ("done",))
        elif path.endswith("/next"):
            assert told is not None
            self.known |= {"{id}": told["reservation"]["id"], "…": told["reservation"]["token"]}


JSON = "application/json"


def _body_of(rest: str) -> tuple[Any, str]:
    """The JSON that a line begins with, if it does, and what is said behind it."""
    if rest[:1] not in ("{", "["):
        return None, rest
    body, end = json.JSONDecoder().raw_decode(rest)
    return body, rest[end:].strip()


async def http(block: Block, world: World, folder: Path) -> None:
    if "/imports" in block.text:
        await world.campaign("spring", [], agents=())
    assert await Reader(world).follow(block.text)


async def body(block: Block, world: World, folder: Path) -> None:
    """`json METHOD /path`: what to send there; `json told TYPE`: the data of a notification."""
    _, word, address = block.info.split()
    sent = json.loads(block.text)
    if word == "told":
        msgspec.convert(sent, CATALOGUE[address].content)
        return
    await world.campaign("spring", [["390612345678"]], agents=())
    answer = await ask(world, word, address, sent)
    assert answer.status < 300, answer.raw


async def settings(block: Block, world: World, folder: Path) -> None:
    settings_of(block.text, folder)  # what the program doesn't know, or wouldn't take, it refuses
    assert tomllib.loads(block.text), "it says nothing"


async def shell(block: Block, world: World, folder: Path) -> None:
    """In a folder of its own, against the running service; `ringfold` is this program with the service's settings."""
    if re.search(r"ringfold (import|export|replay)", block.text):
        await world.campaign("spring", [], agents=())
    bash = shutil.which("bash")
    assert bash is not None
    (folder / "may.csv").write_bytes(FILE)
    token = token_of(world, Role.ADMINISTRATOR)
    served = world.service.settings
    environment = {
        **os.environ,
        "BASE": world.base,
        "TOKEN": token,
        "RINGFOLD_TOKEN": token,
        "RINGFOLD_HTTP__PORT": str(served.http.port),
        "RINGFOLD_STORE__URL": served.store.url,
        "RINGFOLD_TOKENS__KEY_FILE": served.tokens.key_file,
        "PYTHONPATH": str(ROOT),
        "PYTHON": sys.executable,
    }
    script = 'set -eu\nringfold() { "$PYTHON" -m engine "$@"; }\n' + block.text
    child = await asyncio.create_subprocess_exec(
        bash,
        "-c",
        script,
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    sys.stdout.write(await printed(child))


async def printed(child: asyncio.subprocess.Process) -> str:
    """What it prints until it ends well; one that doesn't end is ended."""
    try:
        async with asyncio.timeout(180):
            told, _ = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    assert child.returncode == 0, told.decode()
    return told.decode()


async def program(block: Block, world: World, folder: Path) -> None:
    """In a process of its own, against the running service."""
    path = folder / "example.py"
    path.write_text(block.text, "utf-8")
    environment = {**os.environ, "BASE": world.base, "TOKEN": token_of(world, Role.CAMPAIGN_MANAGER)}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, str(path)),
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told = await printed(child)
    assert "'state': 'running'" in told
    assert "'state': 'deleted'" in told


async def targets(block: Block, world: World, folder: Path) -> None:
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {line.split()[1] for line in block.text.splitlines()} <= known


RUN: dict[str, Callable[[Block, World, Path], Coroutine[Any, Any, None]]] = {
    "http": http,
    "json": body,
    "toml": settings,
    "sh": shell,
    "python": program,
    "make": targets,
}
ELSEWHERE = {
    "docs/notification-types.md": "json",  # made by the program, and every example held against its schema: test_catalogue
    "docs/states.md": "mermaid",  # drawn from the tables, and kept current: test_shipped
}
CARRIED_OUT = [one for one in BLOCKS if ELSEWHERE.get(one.place.rpartition(":")[0]) != one.kind]


def test_every_block_is_of_a_kind_that_is_carried_out() -> None:
    assert [one.place for one in CARRIED_OUT if one.kind not in RUN] == []
    assert {one.kind for one in CARRIED_OUT} == set(RUN), "a kind that nothing is of"
    assert len(CARRIED_OUT) > 8
    assert len(BLOCKS) - len(CARRIED_OUT) > 20


@pytest.mark.parametrize("block", [pytest.param(one, id=f"{one.place} {one.kind}") for one in CARRIED_OUT])
async def test_an_example_does_what_the_document_says(block: Block, world: World, tmp_path: Path) -> None:
    await RUN[block.kind](block, world, tmp_path)


async def test_the_terminal_example_shows_what_it_promises(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What comes back is looked at here: that nothing failed would be too little."""
    (block,) = [one for one in CARRIED_OUT if one.place.startswith("docs/api.md") and one.kind == "sh"]
    await shell(block, world, tmp_path)
    told = capsys.readouterr().out
    assert '"added":1' in told
    assert '"type":"campaign.status"' in told
    assert re.search(r"^304$", told, re.MULTILINE)
    assert "/problems/revision-mismatch" in told


async def test_a_wrong_example_is_noticed(world: World, tmp_path: Path) -> None:
    wrong = (
        Block("x", "http", "GET /v1/nothing\n"),
        Block("x", "http", "GET /v1/campaigns    → 202\n"),
        Block("x", "json PATCH /v1/campaigns/spring", '{"xyzzy": 1}'),
        Block("x", "json told campaign.deleted", '{"by": 1}'),
        Block("x", "sh", "false\n"),
        Block("x", "toml", "[retention]\nnothing = 1\n"),
        Block("x", "make", "make nothing\n"),
    )
    for one in wrong:
        with pytest.raises((AssertionError, msgspec.ValidationError, InvalidSettings)):
            await RUN[one.kind](one, world, tmp_path)


async def test_TF_38_the_quick_starts_manager_goes_on_behind_what_was_archived(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a feed that begins with an archived campaign, when the program follows from the beginning, then it gets on."""
    await world.campaign("old", [], agents=())
    await world.told("old", "campaign.created")
    feed = world.service.notifier._feed
    page, met = feed._page, 0

    async def archived(n: int, head: int, campaign: str) -> Any:
        nonlocal met
        if feed.order.at_n(n + 1).log == "campaign/old":
            met += 1
            raise LogArchived("log 'campaign/old' was archived, and no archive's folder is set")
        return await page(n, head, campaign)

    monkeypatch.setattr(feed, "_page", archived)
    (block,) = (one for one in BLOCKS if one.place.startswith("docs/quickstart.md") and one.kind == "python")
    await program(block, world, tmp_path)
    assert met == 1
