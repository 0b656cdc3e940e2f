"""A store that an earlier version left is served by this one, and one that a later version left is refused in words.

`tests/golden/store-*.sql` are stores as they were, saved by `ringfold backup` in the middle of a call; the `.json` beside each
is what the service answered then. They are never edited. `python -m tests.service.test_upgrade NAME` makes the next one.
"""

import asyncio
import json
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.campaigns import log_of
from engine.ports import ANY, Append
from engine.service import LogEvent
from eventstore import Codec, open_store
from simulations.client import Client
from simulations.engine_process import EngineProcess
from simulations.pbx import Script, SimulatedPbx
from tests.api.judge import judged_session
from tests.conftest import ami_of
from tests.eventstore.test_codec import holds
from tests.service.past import created, days_ago, write
from tests.service.test_crash import CAMPAIGN, Floor, floor
from tests.service.test_preview import act, take

GOLDEN = Path(__file__).parents[1] / "golden"
NUMBERS = [["15550001"], ["25550002", "15550002"], ["15550003"], ["15550004"], ["15550005"], ["15550006"]]


# -- how a golden store is made ---------------------------------------------------------------------------------------


async def _worked(place: Floor) -> None:
    """A bit of everything: calls answered, busy and going on, dispositions, a webhook, somebody erased."""
    await place.admin.call("PUT", "/v1/webhooks/crm", {"url": "http://127.0.0.1:9/none", "types": ["call.ended"]})
    await place.campaign(NUMBERS, ["agent1", "agent2"], max_lines=5)
    await place.ask("running")
    await place.told("campaign.status", state="running")
    agent = place.agent("agent1")
    for disposition in ("engaged", "no_contact"):
        held = await take(agent)
        call = (await act(agent, held, "dial"))["call_id"]
        if held["numbers"][0]["number"].startswith("1"):
            await place.told("call.bridged", call=call)
            await agent.call("POST", f"/v1/calls/{call}/hangup", {})
        await place.told("call.ended", call=call)
        await act(agent, held, "disposition", disposition=disposition)
    await place.admin.call("POST", "/v1/persons/erase", {"contact": f"{CAMPAIGN}:6"})
    await place.bridged_call("agent2")


async def _make(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with floor(Path(folder), Script(), 0.05) as place:
            await _worked(place)
            file = Path(folder) / "store.db"
            status, said = await place.engine.command("backup", str(file))
            assert status == 0, said
            was = {"story": await place.story(), "contacts": await contacts_of(place.admin)}
        with sqlite3.connect(file) as store:
            store.execute("update es_log set owner = ''")  # it names the machine
            (version,) = store.execute("pragma user_version").fetchone()
            lines = [*store.iterdump(), f"PRAGMA user_version = {version};"]
        (GOLDEN / f"store-{name}.sql").write_text("\n".join(lines) + "\n", "utf-8")
        (GOLDEN / f"store-{name}.json").write_text(json.dumps(was, indent=1) + "\n", "utf-8")


async def contacts_of(client: Client) -> dict[str, Any]:
    page = await client.call("GET", f"/v1/campaigns/{CAMPAIGN}/contacts?limit=100")
    return {one["ref"]: one for one in page["contacts"]}


# -- from an earlier version ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", sorted(GOLDEN.glob("store-*.sql")), ids=lambda path: path.stem)
async def test_what_an_earlier_version_left_is_restored_and_served(
    old: Path, tmp_path: Path, pbx: SimulatedPbx
) -> None:
    file = tmp_path / "saved.db"
    with sqlite3.connect(file) as store:
        store.executescript(old.read_text("utf-8"))
    store.close()
    was = json.loads(old.with_suffix(".json").read_text("utf-8"))
    ami = msgspec.to_builtins(ami_of(pbx))
    engine = EngineProcess(tmp_path / "engine", {"ami": ami, "retention": {"clean_after_days": 0}})
    status, said = await engine.command("restore", str(file))
    assert status == 0, said
    try:
        await engine.start()
        async with judged_session() as session:
            place = Floor(pbx, engine, session)
            await place.told("campaign.status", state="stopped")
            story, contacts = await place.story(), await contacts_of(place.admin)
    finally:
        await engine.kill()
    for now, before in zip(story, was["story"], strict=False):
        assert holds(now, {key: value for key, value in before.items() if key != "cursor"})
    assert len(story) > len(was["story"]) > 20
    (in_call,) = {one["data"]["contact"] for one in was["story"] if one["type"] == "call.bridged"} - {
        one["data"]["contact"] for one in was["story"] if one["type"] == "contact.disposed"
    }
    assert contacts.keys() == was["contacts"].keys()
    for ref, contact in was["contacts"].items():
        assert ref == in_call or holds(contacts[ref], contact), ref
    last = [one["data"] for one in story if one["type"] == "call.ended"][-1]
    assert (last["contact"], last["outcome"]) == (in_call, "answered")


# -- from a later version ---------------------------------------------------------------------------------------------


class Teleported(msgspec.Struct, frozen=True, kw_only=True, tag="contact.teleported.v1"):
    at: int
    contact: str


async def _refused(engine: EngineProcess, *words: str) -> None:
    """By the service, which a supervisor then doesn't start again, and by every command that reads the store."""
    with pytest.raises(RuntimeError, match="ended at once"):
        await engine.start()
    assert await engine.ended() == 2
    told = engine.log_path.read_text("utf-8")
    assert "can't start, nor after a restart" in told
    assert "Traceback" not in told
    status, said = await engine.command("verify")
    for word in words:
        assert word in told
        assert word in said
    assert (status, "Traceback" in said) == (1, False), said


async def test_an_event_of_a_later_version_stops_the_start_and_is_named(tmp_path: Path, pbx: SimulatedPbx) -> None:
    engine = EngineProcess(tmp_path, {"ami": msgspec.to_builtins(ami_of(pbx))})
    url = f"sqlite:///{tmp_path / 'ringfold.db'}"
    await write(url, {"spring": [created("spring", days_ago(1))]})
    later = await open_store(url, Codec(LogEvent | Teleported))
    log = await later.open_log(log_of("spring"))
    await log.append([Append("contact/x", ANY, [Teleported(at=days_ago(1), contact="x")])])
    await log.close()
    await later.close()
    await _refused(engine, "campaign/spring", "position 2", "contact.teleported.v1")


async def test_a_schema_of_a_later_version_is_left_as_it_is(tmp_path: Path, pbx: SimulatedPbx) -> None:
    engine = EngineProcess(tmp_path, {"ami": msgspec.to_builtins(ami_of(pbx))})
    await write(f"sqlite:///{tmp_path / 'ringfold.db'}", {"spring": [created("spring", days_ago(1))]})
    with sqlite3.connect(tmp_path / "ringfold.db") as store:
        store.execute("pragma user_version = 900")
    store.close()
    await _refused(engine, "the database has schema 900")


async def test_a_file_that_is_no_store_and_keys_that_are_none_are_told_of(tmp_path: Path, pbx: SimulatedPbx) -> None:
    engine = EngineProcess(tmp_path, {"ami": msgspec.to_builtins(ami_of(pbx))})
    store = tmp_path / "ringfold.db"
    store.write_text("a note to myself " * 1_000, "utf-8")
    await _refused(engine, "not a database")
    store.unlink()
    (tmp_path / "tokens.key").chmod(0o644)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "engine", "serve", "--config", str(engine.config)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert (process.returncode, b"others may read the signing key" in out, b"Traceback" in out) == (2, True, False), out


if __name__ == "__main__":
    asyncio.run(_make(sys.argv[1]))
