"""Given the real stores, then the feed and the webhooks' progress outlive the process that wrote them."""

from pathlib import Path
from typing import Any

import pytest

from adapters.notify import FeedEvent, Notifier
from adapters.notify.parcel import encoded
from engine.core.book import Book, Event, stream_of
from engine.core.directory import DirectoryEvent
from engine.core.webhook import WebhookPut
from engine.ports import ANY, Append
from eventstore import Codec, open_store
from tests.adapters.notify.house import QUICK, SECRET, Clock, opening, talk, until
from tests.adapters.notify.receiver import Receiver

LogEvent = Event | DirectoryEvent | FeedEvent


async def pages(notifier: Notifier) -> list[bytes]:
    found: list[bytes] = []
    cursor = ""
    while True:
        page, cursor = await notifier.read(cursor, 7)
        if not page:
            return found
        found += [encoded(one) for one in page]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_the_feed_is_the_same_after_a_restart(kind: str, tmp_path: Path) -> None:
    url = "memory:" if kind == "memory" else f"sqlite:///{tmp_path / 'log.db'}"
    store = await open_store(url, Codec(LogEvent))
    receiver = Receiver()
    await receiver.start()
    put = WebhookPut(at=1, id="crm", url=receiver.url, secret=SECRET, types=(), campaigns=(), since=0, by="admin")
    books: dict[str, Book] = {}

    async def write(log: Any, *events: Event) -> None:
        for event in events:
            books.setdefault(log.name, Book()).apply(event)
        notifier.follow(log.name, await log.append([Append(stream_of(one), ANY, [one]) for one in events]))

    def new() -> Notifier:
        return Notifier(store, books.get, lambda: {"crm": put}, Clock(), QUICK)

    notifier = new()
    await notifier.start()
    logs = [await store.open_log(f"campaign/{ref}") for ref in ("sales", "support")]
    for log in logs:
        await write(log, *opening(log.name[9:]))
        for serial in range(5):
            await write(log, *talk(log.name[9:], 1 + serial % 3, serial))
    await until(lambda: sum(map(len, receiver.told.values())) == 56)
    before = await pages(notifier)
    await notifier.stop()
    if kind == "sqlite":
        for log in logs:
            await log.close()
        await store.close()
        store = await open_store(url, Codec(LogEvent))
    notifier = new()
    await notifier.start()
    assert await pages(notifier) == before
    assert len(before) == 56
    await notifier.stop()
    assert receiver.repeated == receiver.skipped == 0
    assert len(receiver.requests) == 56
    await receiver.stop()
    await store.close()
