"""The service as a process that is killed while files are checked and stored; hostile files; the command."""

import asyncio
import csv
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from adapters.importer.checker import CheckFailed, checked
from adapters.importer.job import Encoding, Job, Media
from adapters.importer.spool import FINDINGS, JOB, SOURCE
from api.token import Role
from config.settings import Imports
from simulations.client import Client
from simulations.engine_process import EngineProcess
from simulations.pbx import Script, SimulatedPbx
from tests.adapters.importer.files import OVER, csv_of, reached, upload, xlsx_of
from tests.api.judge import judged_session
from tests.conftest import ami_of
from tests.world import World, running, settings_for

ROWS = 12_000
PATIENCE_S = 60
CSV = "text/csv"


def people(count: int, name: str = "Ana") -> bytes:
    rows = [(f"spring:{n}", f"+57310{n:07}", name) for n in range(count)]
    return csv_of(("ref", "number1", "name"), *rows)


class House:
    """A service that may die, with one campaign."""

    def __init__(self, engine: EngineProcess, session: aiohttp.ClientSession) -> None:
        self.engine, self.session = engine, session

    @property
    def admin(self) -> Client:
        return self.engine.client(self.session, Role.ADMINISTRATOR, "operator")

    async def upload(self, content: bytes, **options: str) -> str:
        headers = {"Authorization": f"Bearer {self.engine.token(Role.ADMINISTRATOR, 'operator')}", "Content-Type": CSV}
        query = {"campaign": "spring", **options}
        url = f"{self.engine.base}/v1/imports"
        async with self.session.post(url, params=query, data=content, headers=headers) as answer:
            assert answer.status == 202, await answer.text()
            return str((await answer.json())["id"])

    async def show(self, id_: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.admin.call("GET", f"/v1/imports/{id_}")
        return found

    async def reached(self, id_: str, *states: str, stored: int = 0) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                shown = await self.show(id_)
                if shown["state"] in states and shown["stored"] >= stored:
                    return shown
                await asyncio.sleep(0.01)

    async def killed(self) -> None:
        await self.engine.kill()
        await self.engine.start()

    async def contacts(self) -> dict[str, int]:
        found: dict[str, int] = (await self.admin.call("GET", "/v1/campaigns/spring"))["contacts"]
        return found

    async def children(self) -> list[int]:
        found = Path(f"/proc/{self.engine.pid}/task/{self.engine.pid}/children").read_text().split()
        return [int(one) for one in found]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    pbx = SimulatedPbx(Script(), seed=1, time_scale=0.05, login_penalty_ms=0)
    ami = {"port": await pbx.start(), "username": pbx.username, "secret": pbx.secret}
    engine = EngineProcess(tmp_path / "engine", {"ami": ami})
    try:
        await engine.start()
        async with judged_session() as session:
            house = House(engine, session)
            await house.admin.call("PUT", "/v1/campaigns/spring", {"name": "Spring"})
            yield house
    finally:
        await engine.stop()
        await pbx.stop()


async def test_SG_17_TF_31_killed_in_the_middle_of_storing_an_import_goes_on_and_adds_no_doubles(house: House) -> None:
    """Three kills: the counts at the end are the file's, as if there had been none."""
    await house.upload(people(10))  # some are known before
    first = next(iter((await house.admin.call("GET", "/v1/imports"))["imports"]))["id"]
    await house.reached(first, "valid")
    await house.admin.call("POST", f"/v1/imports/{first}/confirm", {})
    await house.reached(first, "done")
    wrong = b"spring:x,12,\r\n"
    id_ = await house.upload(people(ROWS) + wrong)
    await house.reached(id_, "invalid")
    await house.admin.call("POST", f"/v1/imports/{id_}/confirm", {"accept_errors": True})
    for kill in range(1, 4):
        # Somewhere in a chunk: some of its commands are durable, and the note knows of none.
        assert (await house.reached(id_, "importing", "done", stored=kill * ROWS // 5))["state"] == "importing"
        await house.killed()
    shown = await house.reached(id_, *OVER)
    assert shown["result"] == {"added": ROWS - 10, "known": 10, "replaced": 0, "rejected": 1, "cancelled": 0}
    assert (await house.contacts())["waiting"] == ROWS
    _, log = await house.engine.command("log", "campaign/spring", "--stream", f"import/{id_}")
    assert log.count("import.started.v1") == log.count("import.finished.v1") == 1
    status, report = await house.engine.command("verify")
    assert status == 0, report


async def test_killed_while_contacts_are_replaced_and_removed_the_counts_are_the_same(house: House) -> None:
    id_ = await house.upload(people(4_000))
    await house.reached(id_, "valid")
    await house.admin.call("POST", f"/v1/imports/{id_}/confirm", {})
    await house.reached(id_, "done")
    rows = [(f"spring:{n}", f"+57310{n:07}", "Eva") for n in range(2_500)]
    rows += [(f"spring:{n}", f"+57311{n:07}", "new") for n in range(9_000, 9_500)]
    id_ = await house.upload(csv_of(("ref", "number1", "name"), *rows), mode="full_sync")
    await house.reached(id_, "valid")
    await house.admin.call("POST", f"/v1/imports/{id_}/confirm", {"confirm_removal": True})
    await house.reached(id_, "importing", "done", stored=1_000)
    await house.killed()
    while (await house.contacts())["cancelled"] == 0 and (await house.show(id_))["state"] == "importing":
        await asyncio.sleep(0.005)
    await house.killed()
    shown = await house.reached(id_, *OVER)
    assert shown["result"] == {"added": 500, "known": 0, "replaced": 2_500, "rejected": 0, "cancelled": 1_500}
    counts = await house.contacts()
    assert (counts["waiting"], counts["cancelled"]) == (3_000, 1_500)


async def test_SG_17_an_import_whose_folder_is_gone_ends_when_the_service_starts(house: House) -> None:
    id_ = await house.upload(people(ROWS))
    await house.reached(id_, "valid")
    await house.admin.call("POST", f"/v1/imports/{id_}/confirm", {})
    await house.reached(id_, "importing", stored=ROWS // 5)
    await house.engine.kill()
    (folder,) = house.engine.folder.rglob(id_)
    shutil.rmtree(folder)
    await house.engine.start()

    async with asyncio.timeout(PATIENCE_S):
        while True:
            _, log = await house.engine.command("log", "campaign/spring", "--stream", f"import/{id_}")
            if "import.finished.v1" in log:
                break
            await asyncio.sleep(0.05)
    assert "lost=true" in log


async def test_what_was_only_checked_is_still_there_and_what_was_being_checked_is_checked_again(house: House) -> None:
    valid = await house.upload(people(100), name="small.csv")
    await house.reached(valid, "valid")
    checking = await house.upload(people(60_000), name="large.csv")
    async with asyncio.timeout(PATIENCE_S):
        while not (children := await house.children()):
            await asyncio.sleep(0.01)
    await house.engine.kill()
    async with asyncio.timeout(PATIENCE_S):
        while any(Path(f"/proc/{child}").exists() and not _is_zombie(child) for child in children):
            await asyncio.sleep(0.02)  # nobody waits for it any more, so it ends
    await house.engine.start()
    again = await house.show(valid)
    assert (again["state"], again["name"], again["counts"]["new"]) == ("valid", "small.csv", 100)
    assert (await house.reached(checking, "valid"))["rows"] == 60_000
    await house.admin.call("POST", f"/v1/imports/{valid}/confirm", {})
    await house.reached(valid, "done")
    assert (await house.contacts())["waiting"] == 100


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


# -- files that are hostile to the process that checks them -----------------------------------------------------------


def job(folder: Path, content: bytes, media: Media, memory_bytes: int = 1 << 30) -> Path:
    (folder / SOURCE).write_bytes(content)
    made = Job(
        media=media,
        encoding=Encoding.UTF_8,
        columns={},
        required=(),
        region="CO",
        campaign="spring",
        prefix=False,
        tags=frozenset(),
        agents=frozenset(),
        max_rows=1_000_000,
        max_unpacked_bytes=1 << 30,
        max_memory_bytes=memory_bytes,
    )
    (folder / JOB).write_bytes(msgspec.json.encode(made))
    return folder


async def test_a_cell_far_away_from_the_others_ends_the_check_and_nothing_else(tmp_path: Path) -> None:
    """A workbook of some kilobytes whose sheet is a million rows by thousands of columns."""
    far: list[list[Any]] = [["ref", "number1"], ["spring:1", "+573105822141", *([None] * 9_000), "x"]]
    content = xlsx_of(*far, *([[]] * 1_000_000), ["z"])
    assert len(content) < 50_000
    with pytest.raises(CheckFailed, match="too much memory"):
        await checked(job(tmp_path, content, Media.XLSX), PATIENCE_S, lambda _: None)


async def test_a_check_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="longer than 1 s"):
        await checked(job(tmp_path, people(400_000), Media.CSV), 1, lambda _: None)
    assert not (tmp_path / FINDINGS).exists()


async def test_a_check_that_nobody_waits_for_is_ended(tmp_path: Path) -> None:
    told: list[int] = []
    task = asyncio.create_task(checked(job(tmp_path, people(400_000), Media.CSV), PATIENCE_S, told.append))
    async with asyncio.timeout(PATIENCE_S):
        while not told:
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _children_of(os.getpid()) == []


def _children_of(pid: int) -> list[str]:
    return [
        child
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if b"adapters.importer" in Path(f"/proc/{child}/cmdline").read_bytes() and not _is_zombie(int(child))
    ]


async def test_no_secret_of_the_service_is_in_the_environment_of_a_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINGFOLD_AMI__SECRET", "do-not-tell")
    task = asyncio.create_task(checked(job(tmp_path, people(200_000), Media.CSV), PATIENCE_S, lambda _: None))
    async with asyncio.timeout(PATIENCE_S):
        while not (found := _children_of(os.getpid())):
            await asyncio.sleep(0.01)
    assert b"do-not-tell" not in Path(f"/proc/{found[0]}/environ").read_bytes()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


# -- limits -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def narrow(tmp_path: Path, pbx: SimulatedPbx) -> AsyncIterator[World]:
    imports = Imports(folder=str(tmp_path / "imports"), max_file_bytes=1_000, max_kept=2, max_uploads=1, keep_h=1)
    async with running(settings_for(tmp_path, ami_of(pbx), imports=imports)) as world:
        await world.campaign("spring", [])
        yield world


async def test_a_file_over_the_limit_leaves_nothing_behind(narrow: World, tmp_path: Path) -> None:
    answer = await upload(narrow, people(100))
    assert (answer.status, answer.code) == (413, "body-too-large")
    assert list((tmp_path / "imports").iterdir()) == []


async def test_more_uploads_and_more_imports_than_there_may_be_are_refused(narrow: World, tmp_path: Path) -> None:
    going = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"ref,number1\n"
        await going.wait()
        yield b"spring:1,+573105822141\n"

    token = narrow.service.keys.mint(Role.ADMINISTRATOR, "admin", ttl_s=600)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": CSV}
    url = f"{narrow.base}/v1/imports?campaign=spring"
    first = asyncio.create_task(narrow.session.post(url, data=slow(), headers=headers))
    async with asyncio.timeout(PATIENCE_S):
        while not list((tmp_path / "imports").glob("*/source")):
            await asyncio.sleep(0.01)
    answer = await upload(narrow, people(1))
    assert (answer.status, answer.code) == (503, "too-many-uploads")
    going.set()
    assert (await first).status == 202
    assert (await upload(narrow, people(1))).status == 202
    answer = await upload(narrow, people(1))
    assert (answer.status, answer.code) == (503, "too-many-imports")


async def test_what_nobody_confirms_is_forgotten_with_its_file(
    narrow: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = (await upload(narrow, people(1))).body["id"]
    await reached(narrow, id_, ("valid",))
    importer, clock = narrow.service.importer, narrow.service.engine.clock
    now = clock.now_ms()
    monkeypatch.setattr(type(clock), "now_ms", lambda _: now + 3_000_000)
    await importer._sweep()
    assert (tmp_path / "imports" / id_).exists()
    monkeypatch.setattr(type(clock), "now_ms", lambda _: now + 3_700_000)
    await importer._sweep()
    assert not (tmp_path / "imports" / id_).exists()


# -- the command ------------------------------------------------------------------------------------------------------


async def ringfold(house: House, *words: str, token: str | None = None) -> tuple[int, str]:
    secret = house.engine.token(Role.CAMPAIGN_MANAGER, "m") if token is None else token
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "engine", "import", *words, "--url", house.engine.base),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "RINGFOLD_TOKEN": secret, "COLUMNS": "200"},
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_the_command_imports_and_its_status_says_whether_rows_are_wrong(house: House, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    with file.open("w", newline="") as out:
        csv.writer(out).writerows(
            [("ref", "number1", "name"), ("spring:1", "+573105822141", "Ana"), ("2", "12", "[b]x")]
        )
    status, said = await ringfold(house, str(file), "--campaign", "spring", "--dry-run")
    assert status == 1
    assert "'12' has 2 digits" in said
    assert "nothing stored: 1 new" in said
    assert (await house.contacts())["waiting"] == 0
    status, said = await ringfold(house, str(file), "--campaign", "spring")
    assert (status, (await house.contacts())["waiting"]) == (1, 0)
    status, said = await ringfold(house, str(file), "--campaign", "spring", "--accept-errors")
    assert (status, (await house.contacts())["waiting"]) == (0, 1), said
    assert "done: 1 added, 0 known, 0 replaced, 1 rejected, 0 cancelled" in said
    file.write_text("ref,number1\nspring:2,+573105822142\n")
    status, said = await ringfold(house, str(file), "--campaign", "spring", "--mode", "full_sync")
    assert (status, "confirm_removal" in said) == (1, True)
    status, said = await ringfold(house, str(file), "--campaign", "spring", "--mode", "full_sync", "--confirm-removal")
    counts = await house.contacts()
    assert (status, counts["waiting"], counts["cancelled"]) == (0, 1, 1)
    for words, why in (
        ((str(file), "--campaign", "winter"), "no campaign 'winter'"),
        ((str(tmp_path / "none.csv"), "--campaign", "spring"), "No such file"),
        ((str(tmp_path), "--campaign", "spring"), "is expected"),
    ):
        status, said = await ringfold(house, *words)
        assert (status, why in said) == (1, True), said
    status, said = await ringfold(house, str(file), "--campaign", "spring", token="wrong")
    assert (status, "a valid token is needed" in said) == (1, True)
