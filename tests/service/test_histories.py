"""Golden histories: logs of runs as they were, replayed for ever.

`tests/golden/histories/*.sql` are stores of real runs: a day on the real Asterisk, a night of faults in the simulated world.
The `.json` beside each says how its campaigns stood at some positions, as `ringfold replay --json` told it then. They are never
edited. `python -m tests.service.test_histories NAME STORE.db` makes the next one of a store that no service has open.
"""

import asyncio
import json
import re
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.campaigns import CAMPAIGN_PREFIX, log_of
from engine.command.replay import whole
from engine.ports import Recorded
from engine.replay import Stretch, replay_twice
from engine.service import LogEvent
from eventstore import Codec, Store, open_store
from simulations.world.checker.hand import Hands
from simulations.world.checker.step import Durable
from simulations.world.checker.stop import Stops
from tests.eventstore.test_codec import holds

HISTORIES = Path(__file__).parents[1] / "golden" / "histories"
STATES = 3
"""How many are kept of each campaign, evenly over its log; and the one before the last event, which may be its removal."""
NOT_TO_KEEP = re.compile(rb"/(?:tmp|root|home|work)/")


async def state_at(store: Store, campaign: str, pos: int) -> dict[str, Any]:
    made = await replay_twice(store, log_of(campaign), Stretch(to=pos), lambda _: None)
    assert made.faults == []
    told: dict[str, Any] = json.loads("".join(whole(made, campaign, pos, personal=True)))
    return {name: told[name] for name in ("position", "at", "state", "contacts")}


def positions(end: int) -> list[int]:
    return sorted({max(1, end * place // STATES) for place in range(1, STATES + 1)} | {max(1, end - 1)})


async def states(store: Store) -> dict[str, list[dict[str, Any]]]:
    """By campaign."""
    found = {}
    for name in sorted(await store.logs()):
        if name.startswith(CAMPAIGN_PREFIX):
            campaign = name.removeprefix(CAMPAIGN_PREFIX)
            end = await store.position(name)
            found[campaign] = [await state_at(store, campaign, pos) for pos in positions(end)]
    return found


async def events_of(store: Store, log: str) -> Sequence[Recorded]:
    return [one async for batch in store.read(log) for one in batch]


@pytest.mark.parametrize("history", sorted(HISTORIES.glob("*.sql")), ids=lambda path: path.stem)
async def test_EX_02_a_history_is_replayed_to_the_state_that_it_had(history: Path, tmp_path: Path) -> None:
    file = tmp_path / "history.db"
    with sqlite3.connect(file) as there:
        there.executescript(history.read_text("utf-8"))
    there.close()
    was = json.loads(history.with_suffix(".json").read_text("utf-8"))
    store = await open_store(f"sqlite:///{file}", Codec(LogEvent))
    try:
        assert was
        for campaign, kept in was.items():
            for one in kept:
                assert holds(await state_at(store, campaign, one["position"]), one), (campaign, one["position"])
            events = await events_of(store, log_of(campaign))
            assert len(events) == kept[-1]["position"] > 50
            checkers = Hands(), Stops()
            steps = [Durable(log_of(campaign), one.pos, one.event, one.event.at / 1_000) for one in events]
            assert [what for step in steps for checker in checkers for what in checker.see(step)] == []
    finally:
        await store.close()


async def _keep(name: str, source: Path) -> None:
    """Raises AssertionError where it names a machine's folders."""
    file = HISTORIES / f"{name}.sql"
    assert not file.exists(), f"{file} is never edited"
    codec = Codec(LogEvent)
    store = await open_store(f"sqlite:///{source}", codec)
    try:
        was = await states(store)
    finally:
        await store.close()
    with sqlite3.connect(source) as there:
        for log, packed, data in there.execute("select log, codec, data from es_segment"):
            assert not NOT_TO_KEEP.search(codec.unpack(packed, data)), f"{log} names a folder"
        there.execute("update es_log set owner = ''")  # it names the machine
        there.execute("delete from es_snapshot")
        there.execute("delete from es_answer")
        (version,) = there.execute("pragma user_version").fetchone()
        lines = [*there.iterdump(), f"PRAGMA user_version = {version};"]
    HISTORIES.mkdir(exist_ok=True)
    file.write_text("\n".join(lines) + "\n", "utf-8")
    file.with_suffix(".json").write_text(json.dumps(was) + "\n", "utf-8")


if __name__ == "__main__":
    asyncio.run(_keep(sys.argv[1], Path(sys.argv[2])))
