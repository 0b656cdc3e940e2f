"""Personal data that is sealed before it comes to the log: stored as any other, and never needed."""

import asyncio
import base64
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from engine.core.personal import Details, Person
from engine.ports import Recorded
from eventstore import Codec
from eventstore.keys import KEY_BYTES
from eventstore.sealing import NICE, Sealing
from tests.eventstore.events import Met, TestEvent


def people(count: int) -> list[Person]:
    return [Person(f"p{n}", Details(numbers=(f"+57{n}",), name=f"Zoë {n}", data={"city": "ñ"})) for n in range(count)]


def stored(codec: Codec, *some: Person) -> tuple[bytes, dict[str, bytes]]:
    return codec.encode([Recorded(pos, "s", pos, Met(person=one)) for pos, one in enumerate(some, 1)], "log")


def read(lines: bytes, keys: dict[str, bytes], names: list[str]) -> list[Person]:
    codec = Codec(TestEvent)
    codec.keys.learn("log", names, keys)
    return [one.event.person for one in codec.decode(lines, "log", 1)]


async def test_what_was_sealed_ahead_is_stored_as_it_is_and_opens_as_any_other() -> None:
    some = people(3_000)  # more than a pipe holds, both ways
    async with Sealing() as sealing:
        await sealing.seal(some[:1])
        await sealing.seal(some[1:])
    assert len({one.seal.key for one in some if one.seal is not None}) == len(some)  # a key each
    lines, keys = stored(Codec(TestEvent), *some)
    assert keys == {one.subject: one.seal.key for one in some if one.seal is not None}
    assert all(len(key) == KEY_BYTES for key in keys.values())
    assert all(one.seal is not None and one.seal.box.encode() in lines for one in some[::500])
    assert "Zoë".encode() not in lines
    assert read(lines, keys, [one.subject for one in some]) == some


async def test_a_seal_is_of_use_only_where_the_subject_had_no_key() -> None:
    some = people(3)
    async with Sealing() as sealing:
        await sealing.seal(some)
    codec = Codec(TestEvent)
    codec.keys.learn("log", ["p1", "p2"], {"p1": bytes(KEY_BYTES)})  # one who is known, and one who was erased
    lines, keys = stored(codec, *some)
    assert some[0].seal is not None
    assert keys == {"p0": some[0].seal.key}
    found = read(lines, {**keys, "p1": bytes(KEY_BYTES)}, ["p0", "p1", "p2"])
    assert [one.details for one in found] == [some[0].details, some[1].details, None]
    again, keys = stored(codec, some[0])  # as where there was no room for it: the same key, asked to be saved again
    assert keys == {"p0": some[0].seal.key}
    assert base64.b64decode(some[0].seal.box)
    assert some[0].seal.box.encode() in again


def children() -> Iterator[int]:
    for children in Path("/proc/self/task").glob("*/children"):
        for pid in children.read_text().split():
            if b"eventstore.sealing" in Path(f"/proc/{pid}/cmdline").read_bytes():
                yield int(pid)


async def test_it_ends_with_its_use_and_knows_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGFOLD_TOKENS__SECRET", "do-not-tell")
    async with Sealing() as sealing:
        await sealing.seal(people(1))
        (pid,) = children()
        assert b"do-not-tell" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert list(children()) == []


async def test_a_ctrl_c_of_the_service_is_not_for_it_and_it_still_ends_with_its_input() -> None:
    async with Sealing() as sealing:
        await sealing.seal(people(1))
        process = sealing._process
        assert process is not None
        assert os.getsid(process.pid) == process.pid  # a terminal's signals go to groups of its own session
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == NICE
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(10):
            assert await process.wait() == 0


async def test_one_that_stands_still_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    some = people(2)
    async with Sealing() as sealing:
        await sealing.seal(some[:1])
        assert sealing._process is not None
        os.kill(sealing._process.pid, signal.SIGSTOP)
        monkeypatch.setattr("eventstore.sealing.SEAL_WITHIN_S", 0.05)
        with capture_logs() as said:
            async with asyncio.timeout(5):
                await sealing.seal(some[1:])
                os.kill(sealing._process.pid, signal.SIGCONT)
                await sealing.seal(some[1:])  # the late answer is nobody's
    assert [one.seal is not None for one in some] == [True, False]
    assert [one["event"] for one in said] == ["nothing is sealed ahead any more"]


async def test_where_it_has_died_or_cannot_begin_nothing_is_sealed_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    some = people(2)
    with capture_logs() as said:
        async with Sealing() as sealing:
            assert sealing._process is not None
            sealing._process.kill()
            for _ in range(2):
                await sealing.seal(some)
                assert [one.seal for one in some] == [None, None]
        monkeypatch.setattr("sys.executable", "/nowhere/python")
        async with Sealing() as sealing:
            await sealing.seal(some)
    assert [one.seal for one in some] == [None, None]
    assert [one["event"] for one in said] == ["nothing is sealed ahead any more", "nothing is sealed ahead"]


async def test_an_answer_that_nobody_waited_for_is_not_taken_for_the_next() -> None:
    first, second = people(2_000), people(2)
    async with Sealing() as sealing:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sealing.seal(first), 0)
        asking = asyncio.create_task(sealing.seal(first))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await sealing.seal(second)
    assert [one.seal for one in second] == [None, None]
