"""The refs that contacts have used are kept at a position of the directory's log, and are of no use anywhere else."""

import asyncio
from typing import Any

import pytest

from engine import refs
from engine.app import DIRECTORY
from engine.core.directory import ContactRefsUsed, Directory
from engine.limits import Limits
from engine.refs import REFS
from eventstore.memory import MemoryStore
from eventstore.snapshot import subject_of
from tests.engine.parts import one_by_one
from tests.engine.shell import Shell, new_shell, until

ALL = {f"c{campaign}:{number}": f"c{campaign}" for campaign in (1, 2) for number in range(100)}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first refs of the events of which each ref was looked at."""
    monkeypatch.setattr("engine.core.blocks.PART_BYTES", 500)
    monkeypatch.setattr(refs, "REST_LOOK_S", 0.001)
    monkeypatch.setattr(refs, "REST_LOOKS", 1_000_000)
    looked_at: list[str] = []
    apply = Directory.apply

    def noted(self: Directory, event: Any) -> None:
        if isinstance(event, ContactRefsUsed):
            looked_at.append(event.refs[0])
        apply(self, event)

    monkeypatch.setattr(Directory, "apply", noted)
    return looked_at


async def worked(read: list[str], every: int = 180) -> Shell:
    """Refs of two campaigns were used ten at a time; they were kept when 180 were, and 20 came after it."""
    shell = await new_shell(Limits(keep_every_refs=every))
    await shell.start()
    for ref in ("c1", "c2"):
        await shell.create(ref)
        for start in range(0, 100, 10):
            await shell.engine.add_contacts(ref, shell.contacts(*(f"{ref}:{start + place}" for place in range(10))))
            if (ref, start) == ("c2", 70) and every == 180:
                await until(lambda: not keeping())
    if refs.REST_LOOKS == 1:
        await until(lambda: not keeping())
    await shell.engine.stop()
    read.clear()
    return shell


def keeping() -> bool:
    return any(task.get_name() == "refs" for task in asyncio.all_tasks())


async def known(shell: Shell) -> dict[str, str]:
    """As the next process has them."""
    again = shell.again()
    await again.start()
    used = again.engine.directory.contacts
    found = {ref: used.get(ref, "") for ref in ALL}
    assert len(used) == len(ALL)
    await again.create("c3")
    _, clashes = await again.engine.add_contacts("c3", again.contacts("c1:0", "c2:99", "c3:0"))
    assert clashes == {"c1:0": "c1", "c2:99": "c2"}
    await again.engine.stop()
    return found


async def test_a_start_looks_at_those_refs_only_that_came_behind_what_was_kept(read: list[str]) -> None:
    shell = await worked(read)
    assert await known(shell) == ALL
    assert read == ["c2:80", "c2:90", "c3:0"]


async def test_a_while_after_the_last_of_some_that_are_new_they_are_kept(
    read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refs, "REST_LOOKS", 1)
    shell = await worked(read, every=1_900)
    assert await known(shell) == ALL
    assert read[-1] == "c3:0"
    assert len(read) <= 2


async def test_without_what_is_kept_a_start_looks_at_all(read: list[str]) -> None:
    shell = await worked(read, every=1_000)
    assert await shell.store.snapshot(REFS, DIRECTORY) is None
    assert await known(shell) == ALL
    assert len(read) == 21


@pytest.mark.parametrize("damage", ["key", "part", "missing", "head", "ahead"])
async def test_what_cannot_be_used_is_read_from_the_log(read: list[str], damage: str) -> None:
    shell = await worked(read)
    store = shell.store.segments
    assert isinstance(store, MemoryStore)
    pos, parts = store._snapshots[REFS, DIRECTORY]
    if damage == "ahead":  # of a log that goes on from a backup
        key = (await store.keys([subject_of(REFS, DIRECTORY, pos)]))[subject_of(REFS, DIRECTORY, pos)]
        await store.save_snapshot(REFS, DIRECTORY, pos + 1_000, one_by_one(parts), key)
    elif damage == "key":
        await store.shred(subject_of(REFS, DIRECTORY, pos))
    else:
        changed = dict(parts)
        if damage == "part":
            changed[f"{REFS}.buckets/1"] = changed[f"{REFS}.buckets/1"][:-1]
        else:
            del changed[{"missing": f"{REFS}.buckets/1", "head": REFS}[damage]]
        store._snapshots[REFS, DIRECTORY] = pos, changed
    assert await known(shell) == ALL
    assert len(read) == 21
