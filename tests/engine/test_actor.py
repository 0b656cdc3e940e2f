"""One mailbox, one loop: nothing is answered or done before it is durable, and nothing decided is lost."""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

import engine.actor
from engine.actor import MAX_BATCH_MESSAGES, MAX_LINGERING_EVENTS, Actor, NotOwner, StoreAway
from engine.core.effect import CancelTimer, Effect
from engine.core.measure import Measures
from engine.core.refusal import Fault, Refused, against_rule
from engine.core.telephony import HangUp
from engine.ports import ANY, Append, Fenced, Recorded, StoreUnavailable, Unopened, WrongVersion


class ScriptedLog:
    """A log that writes when it is let, or fails as it is told."""

    def __init__(self) -> None:
        self.name = "campaign/c1"
        self.recorded: list[Recorded] = []
        self.appends: list[list[Append]] = []
        self.failures: deque[Exception] = deque()
        self.let = asyncio.Event()
        self.let.set()
        self.holds = True
        self.trouble = ""

    async def hold(self) -> None:
        if not self.holds:
            raise Fenced("another owner")

    @property
    def position(self) -> int:
        return len(self.recorded)

    def version(self, stream: str) -> int:
        return sum(one.stream == stream for one in self.recorded)

    async def keep_versions(self) -> None:
        """Nobody owns it next."""

    async def append(self, appends: Sequence[Append]) -> Sequence[Recorded]:
        await self.let.wait()
        if self.failures:
            raise self.failures.popleft()
        self.appends.append(list(appends))
        written: list[Recorded] = []
        for one in appends:
            assert one.expected in (ANY, self.version(one.stream)), one
            for event in one.events:
                last = Recorded(self.position + 1, one.stream, self.version(one.stream) + 1, event)
                self.recorded.append(last)
                written.append(last)
        return written

    async def read(self, after: int = 0, unopened: Unopened | None = None) -> AsyncIterator[Sequence[Recorded]]:
        yield self.recorded[after:]

    async def close(self) -> None:
        pass


class Shop:
    """An actor over a state that only counts: "stream:word" is recorded in the stream, "no" is refused, "fault" breaks.

    A word asks for a hang-up, "word~" for nothing, "word-" for a timer to be taken back.
    """

    def __init__(self, mailbox_messages: int = 10_000, linger_ms: int = 0) -> None:
        self.log = ScriptedLog()
        self.folded: list[str] = []
        self.performed: list[tuple[str, int]] = []
        self.taken_back: list[str] = []
        self.told: list[str] = []
        self.actor = Actor(
            self.log, self.decide, stream_of, self.perform, self.committed, mailbox_messages, Measures(), linger_ms
        )

    def decide(self, message: str) -> tuple[Sequence[Any], Sequence[Effect], Any]:
        if message == "no":
            raise against_rule("no", "not now")
        if message == "fault":
            raise ZeroDivisionError
        events = message.split()
        self.folded += events
        return events, [one for event in events for one in effects_of(event)], len(self.folded)

    def perform(self, effects: Sequence[Effect], pos: int) -> None:
        assert self.written == self.folded  # or a snapshot would say more than the log at its position
        self.performed += [(one.leg, pos) for one in effects if isinstance(one, HangUp)]
        self.taken_back += [one.key for one in effects if isinstance(one, CancelTimer)]

    @property
    def written(self) -> list[str]:
        return [one.event for one in self.log.recorded]

    def committed(self, name: str, recorded: Sequence[Recorded]) -> None:
        self.told += [one.event for one in recorded]


def stream_of(event: str) -> str:
    return event.partition(":")[0]


def effects_of(event: str) -> list[Effect]:
    if event.endswith("~"):
        return []
    return [CancelTimer(key=event) if event.endswith("-") else HangUp(leg=event)]


@asynccontextmanager
async def open_shop(mailbox_messages: int = 10_000, linger_ms: int = 0) -> AsyncIterator[Shop]:
    shop = Shop(mailbox_messages, linger_ms)
    task = asyncio.ensure_future(shop.actor.run())
    try:
        yield shop
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def some_turns(many: int = 10) -> None:
    for _ in range(many):
        await asyncio.sleep(0)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.001)


async def test_EX_02_nothing_is_answered_told_or_done_before_it_is_durable() -> None:
    async with open_shop() as shop:
        shop.log.let.clear()
        asked = asyncio.ensure_future(shop.actor.submit("a:1"))
        await some_turns()
        assert shop.folded == ["a:1"]  # decided
        assert (asked.done(), shop.told, shop.performed) == (False, [], [])

        shop.log.let.set()

        assert await asked == 1
        assert (shop.told, shop.performed) == (["a:1"], [("a:1", 1)])


async def test_a_reply_that_changes_nothing_waits_for_what_it_was_read_from() -> None:
    async with open_shop() as shop:
        shop.log.let.clear()
        first = asyncio.ensure_future(shop.actor.submit("a:1"))
        looked = asyncio.ensure_future(shop.actor.submit(""))
        await some_turns()
        assert not looked.done()
        shop.log.let.set()
        assert (await first, await looked) == (1, 1)


async def test_a_refused_command_changes_nothing_and_its_neighbours_go_on() -> None:
    async with open_shop() as shop:
        answers = await asyncio.gather(
            *(shop.actor.submit(one) for one in ("a:1", "no", "a:2")), return_exceptions=True
        )
        assert answers[0] == 1
        assert isinstance(answers[1], Refused)
        assert answers[2] == 2
        assert [one.event for one in shop.log.recorded] == ["a:1", "a:2"]


async def test_while_one_batch_is_written_the_next_collects_and_goes_as_one_append() -> None:
    async with open_shop() as shop:
        shop.log.let.clear()
        asked = [asyncio.ensure_future(shop.actor.submit("a:0"))]
        await some_turns()
        asked += [asyncio.ensure_future(shop.actor.submit(f"a:{place}")) for place in range(1, 50)]
        await some_turns()
        shop.log.let.set()
        await asyncio.gather(*asked)
        assert [sum(len(one.events) for one in appends) for appends in shop.log.appends] == [1, 49]


async def test_a_batch_is_bounded() -> None:
    async with open_shop() as shop:
        await asyncio.gather(*(shop.actor.submit("a:1") for _ in range(MAX_BATCH_MESSAGES + 1)))
        assert [sum(len(one.events) for one in appends) for appends in shop.log.appends] == [MAX_BATCH_MESSAGES, 1]


async def test_events_stand_in_the_log_in_the_order_they_were_decided_across_streams() -> None:
    async with open_shop() as shop:
        await asyncio.gather(*(shop.actor.submit(one) for one in ("a:1 b:1 a:2", "b:2 b:3 a:3", "c:1")))
        assert [one.event for one in shop.log.recorded] == "a:1 b:1 a:2 b:2 b:3 a:3 c:1".split()
        assert len(shop.log.appends) == 1
        assert shop.performed == [(event, 7) for event in shop.folded]


async def test_a_full_mailbox_refuses_commands_but_never_facts() -> None:
    async with open_shop(mailbox_messages=3) as shop:
        shop.log.let.clear()
        first = asyncio.ensure_future(shop.actor.submit("a:0"))
        await some_turns()
        waiting = [asyncio.ensure_future(shop.actor.submit(f"a:{place}")) for place in (1, 2, 3)]
        await some_turns()

        with pytest.raises(Refused) as refused:
            await shop.actor.submit("a:4")
        assert (refused.value.fault, refused.value.code) == (Fault.BUSY, "mailbox-full")
        shop.actor.post("a:fact")

        shop.log.let.set()
        await asyncio.gather(first, *waiting)
        await shop.actor.settled()
        assert [one.event for one in shop.log.recorded] == ["a:0", "a:1", "a:2", "a:3", "a:fact"]


async def test_a_store_that_is_away_loses_nothing_and_keeps_the_order() -> None:
    async with open_shop() as shop:
        shop.log.failures.extend([StoreUnavailable("away"), StoreUnavailable("still away")])
        asked = [asyncio.ensure_future(shop.actor.submit(f"a:{place}")) for place in range(3)]
        await some_turns()
        asked.append(asyncio.ensure_future(shop.actor.submit("a:3")))
        await asyncio.gather(*asked)
        assert [one.event for one in shop.log.recorded] == ["a:0", "a:1", "a:2", "a:3"]
        assert [leg for leg, _ in shop.performed] == ["a:0", "a:1", "a:2", "a:3"]


async def test_EX_02_who_waits_longer_for_a_store_than_anybody_should_is_told_and_what_was_decided_is_done_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Given a store that is away, then commands are refused until it is back; facts are kept, and so is what was decided."""
    monkeypatch.setattr(engine.actor, "STORE_PATIENCE_S", 0.01)
    async with open_shop() as shop:
        shop.log.let.clear()
        shop.log.trouble = "disk full"
        decided = asyncio.ensure_future(shop.actor.submit("a:1"))
        await some_turns()
        undecided = asyncio.ensure_future(shop.actor.submit("a:2"))
        shop.actor.post("a:fact")
        for one in (decided, undecided):
            with pytest.raises(StoreAway, match="disk full"):
                await one
        with pytest.raises(StoreAway, match="disk full"):
            await shop.actor.submit("a:3")
        assert "disk full" in shop.actor.trouble
        assert shop.performed == []

        shop.log.trouble = ""
        shop.log.let.set()
        await shop.actor.settled()

        assert [one.event for one in shop.log.recorded] == ["a:1", "a:fact"]
        assert [leg for leg, _ in shop.performed] == ["a:1", "a:fact"]
        assert shop.actor.trouble == ""
        assert await shop.actor.submit("a:4") == 3


def test_what_troubles_the_log_is_told_in_the_order_of_how_bad_it_is() -> None:
    shop = Shop()
    assert shop.actor.trouble == ""
    shop.log.holds = False
    assert "lease" in shop.actor.trouble
    shop.log.trouble = "disk full"
    assert shop.actor.trouble == "disk full"
    shop.actor.lost = Fenced("another owner")
    assert "another owner" in shop.actor.trouble


async def test_EX_02_who_no_longer_holds_the_log_when_a_commit_is_through_does_nothing() -> None:
    shop = Shop()
    shop.log.holds = False
    loop = asyncio.ensure_future(shop.actor.run())

    with pytest.raises(NotOwner):
        await shop.actor.submit("a:1")
    await loop

    assert [one.event for one in shop.log.recorded] == ["a:1"]  # durable: its successor reads it, and asks the PBX
    assert shop.performed == []
    assert isinstance(shop.actor.lost, Fenced)


async def test_EX_02_an_owner_who_was_fenced_does_nothing_any_more_and_says_so() -> None:
    shop = Shop()
    shop.log.failures.append(Fenced())
    loop = asyncio.ensure_future(shop.actor.run())

    with pytest.raises(NotOwner):
        await shop.actor.submit("a:1")
    await loop  # it ends without an error of its own

    assert isinstance(shop.actor.lost, Fenced)
    assert (shop.performed, shop.told) == ([], [])
    with pytest.raises(NotOwner):
        await shop.actor.submit("a:2")
    shop.actor.post("a:fact")
    assert shop.actor.waiting == 0  # facts for a lost log are let go, not gathered


@pytest.mark.parametrize("failure", [WrongVersion("a", 1, 2), ZeroDivisionError()])
async def test_a_log_that_fails_otherwise_ends_the_loop_with_the_failure(failure: Exception) -> None:
    shop = Shop()
    shop.log.failures.append(failure)
    loop = asyncio.ensure_future(shop.actor.run())
    with pytest.raises(NotOwner):
        await shop.actor.submit("a:1")
    with pytest.raises(type(failure)):
        await loop
    assert shop.performed == []


async def test_a_message_that_breaks_the_core_leaves_nobody_waiting_and_nothing_half_done() -> None:
    shop = Shop()
    asked = [asyncio.ensure_future(shop.actor.submit(one)) for one in ("a:1", "fault", "a:2")]
    await some_turns()
    loop = asyncio.ensure_future(shop.actor.run())

    answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 5)

    assert all(isinstance(one, NotOwner) for one in answers)
    with pytest.raises(ZeroDivisionError):
        await loop
    assert (shop.log.recorded, shop.performed) == ([], [])


async def test_whoever_stopped_waiting_doesnt_stop_what_they_asked_for() -> None:
    async with open_shop() as shop:
        shop.log.let.clear()
        gone = asyncio.ensure_future(shop.actor.submit("a:1"))
        await some_turns()
        gone.cancel()
        await some_turns()
        shop.log.let.set()
        assert await shop.actor.submit("a:2") == 2
        assert [one.event for one in shop.log.recorded] == ["a:1", "a:2"]


async def test_closing_answers_those_who_wait() -> None:
    shop = Shop()
    loop = asyncio.ensure_future(shop.actor.run())
    shop.log.let.clear()
    asked = [asyncio.ensure_future(shop.actor.submit("a:1"))]
    await some_turns()
    asked.append(asyncio.ensure_future(shop.actor.submit("a:2")))
    await some_turns()
    loop.cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(one, NotOwner) for one in answers)


async def test_settled_means_decided_and_durable() -> None:
    async with open_shop() as shop:
        shop.log.let.clear()
        shop.actor.post("a:1")
        settled = asyncio.ensure_future(shop.actor.settled())
        await some_turns()
        assert not settled.done()
        shop.log.let.set()
        await settled
        assert shop.told == ["a:1"]


# -- lingering ----------------------------------------------------------------------------------------------------------

LONG_MS = 60_000


async def test_what_nobody_waits_for_is_written_with_the_next_that_somebody_waits_for_in_the_order_decided() -> None:
    async with open_shop(linger_ms=LONG_MS) as shop:
        for fact in ("a:1~", "b:1~", "a:2-"):
            shop.actor.post(fact)
            await some_turns()
        assert (shop.folded, shop.written, shop.told, shop.taken_back) == (["a:1~", "b:1~", "a:2-"], [], [], [])

        assert await shop.actor.submit("a:3") == 4

        assert shop.written == shop.told == ["a:1~", "b:1~", "a:2-", "a:3"]
        assert len(shop.log.appends) == 1
        assert (shop.taken_back, shop.performed) == (["a:2-"], [("a:3", 4)])


async def test_nothing_lingers_longer_than_it_may() -> None:
    async with open_shop(linger_ms=20) as shop:
        shop.actor.post("a:1~")
        await some_turns()
        assert shop.written == []
        await until(lambda: shop.told == ["a:1~"])
        shop.actor.post("a:2~")
        await until(lambda: shop.told == ["a:1~", "a:2~"])
        await shop.actor.settled()
        assert len(shop.log.appends) == 2


async def test_without_a_linger_everything_is_written_at_once() -> None:
    async with open_shop() as shop:
        shop.actor.post("a:1~")
        await some_turns()
        assert shop.told == ["a:1~"]


@pytest.mark.parametrize("command", ["", "no", "a:2~"])
async def test_EX_02_an_answer_of_whatever_kind_waits_for_what_lingers(command: str) -> None:
    """It was read from a state that has it."""
    async with open_shop(linger_ms=LONG_MS) as shop:
        shop.actor.post("a:1~")
        await some_turns()
        shop.log.let.clear()
        asked = asyncio.ensure_future(shop.actor.submit(command))
        await some_turns()
        assert not asked.done()
        shop.log.let.set()
        await asyncio.gather(asked, return_exceptions=True)
        assert shop.written == ["a:1~", *(["a:2~"] if command == "a:2~" else [])]


async def test_EX_02_nothing_is_done_before_what_lingered_is_durable() -> None:
    async with open_shop(linger_ms=LONG_MS) as shop:
        shop.log.let.clear()
        shop.actor.post("a:1~")
        await some_turns()
        shop.actor.post("a:2")
        await some_turns()
        assert (shop.folded, shop.performed) == (["a:1~", "a:2"], [])
        shop.log.let.set()
        await until(lambda: shop.performed == [("a:2", 2)])


async def test_no_more_lingers_than_a_bound() -> None:
    async with open_shop(linger_ms=LONG_MS) as shop:
        for place in range(MAX_LINGERING_EVENTS):
            shop.actor.post(f"a:{place}~")
            await asyncio.sleep(0)
        await until(lambda: len(shop.written) == MAX_LINGERING_EVENTS)


async def test_settled_waits_for_no_linger_and_lets_none_begin() -> None:
    async with open_shop(linger_ms=LONG_MS) as shop:
        shop.actor.post("a:1~")
        await some_turns()
        async with asyncio.timeout(1):
            await shop.actor.settled()
        assert shop.told == ["a:1~"]

        shop.log.let.clear()
        shop.actor.post("a:2~")
        settled = asyncio.ensure_future(shop.actor.settled())
        await some_turns()
        shop.actor.post("a:3~")
        await some_turns()
        assert not settled.done()
        shop.log.let.set()
        async with asyncio.timeout(1):
            await settled
        assert shop.told == ["a:1~", "a:2~", "a:3~"]


async def test_what_lingers_while_the_log_is_lost_is_let_go_and_nobody_waits_for_it() -> None:
    shop = Shop(linger_ms=1)
    shop.log.failures.append(Fenced())
    loop = asyncio.ensure_future(shop.actor.run())
    shop.actor.post("a:1~")
    await loop
    assert isinstance(shop.actor.lost, Fenced)
    await shop.actor.settled()
    assert (shop.written, shop.told) == ([], [])


async def test_what_lingered_outlasts_a_store_that_is_away() -> None:
    async with open_shop(linger_ms=5) as shop:
        shop.log.failures.extend([StoreUnavailable("away"), StoreUnavailable("still away")])
        shop.actor.post("a:1~")
        await until(lambda: not shop.log.failures)
        shop.actor.post("a:2~")
        assert await shop.actor.submit("a:3") == 3
        assert shop.written == ["a:1~", "a:2~", "a:3"]


@pytest.mark.parametrize("seed", range(40))
async def test_EX_02_killed_at_any_moment_the_log_has_a_beginning_of_what_was_decided_and_all_that_was_acted_on(
    seed: int,
) -> None:
    """Whatever comes in whatever order, to a log that is slow and away at times."""
    chance = random.Random(seed)
    shop = Shop(linger_ms=chance.choice([0, 1, 3]))
    loop = asyncio.ensure_future(shop.actor.run())
    asked: list[asyncio.Future[Any]] = []
    for place in range(chance.randrange(10, 80)):
        match chance.randrange(8):
            case 0:
                asked.append(asyncio.ensure_future(shop.actor.submit(f"a:{place}")))
            case 1:
                asked.append(asyncio.ensure_future(shop.actor.submit("no")))
            case 2:
                shop.actor.post(f"b:{place} c:{place}~")
            case 3:
                shop.log.failures.append(StoreUnavailable("away"))
            case 4:
                shop.log.let.clear()
            case 5:
                shop.log.let.set()
            case _:
                shop.actor.post(f"a:{place}{chance.choice('~-')}")
        await asyncio.sleep(chance.choice([0, 0, 0.0005, 0.002]))
        acted_on = [leg for leg, _ in shop.performed] + shop.taken_back
        assert set(acted_on) <= set(shop.written)

    loop.cancel()
    shop.log.let.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    await asyncio.gather(loop, return_exceptions=True)

    assert shop.written == shop.folded[: len(shop.written)]
    assert shop.told == shop.written
    assert max((one for one in answers if isinstance(one, int)), default=0) <= len(shop.written)
