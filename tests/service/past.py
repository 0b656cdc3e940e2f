"""Logs as a dialer of some time ago left them, written by the program's own codec into a store that a service then opens."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from engine.app import DIRECTORY
from engine.campaigns import log_of
from engine.core.book import stream_of
from engine.core.campaign import (
    CampaignCreated,
    CampaignRunning,
    CampaignStarting,
    CampaignStopped,
    CampaignStopping,
    Mode,
    Settings,
)
from engine.core.contact import ContactsAdded, NewContact
from engine.core.directory import CampaignRefUsed, ContactRefsUsed
from engine.core.directory import stream_of as directory_stream_of
from engine.core.personal import Details, Person
from engine.ports import ANY, Append
from engine.service import LogEvent
from eventstore import Codec, open_store

DAY_MS = 86_400_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def days_ago(days: float) -> int:
    return now_ms() - int(days * DAY_MS)


def created(ref: str, at: int) -> CampaignCreated:
    return CampaignCreated(at=at, ref=ref, name=ref.title(), mode=Mode.PREVIEW, settings=Settings(), by="m")


def ran(at: int, still_running: bool = False) -> list[Any]:
    """It was started at a time, and stopped a second later."""
    up = [CampaignStarting(at=at, by="m"), CampaignRunning(at=at)]
    if still_running:
        return up
    down = [CampaignStopping(at=at, by="m", reason="requested"), CampaignStopped(at=at + 1_000, reason="requested")]
    return [*up, *down]


def listed(at: int, *people: tuple[str, str]) -> ContactsAdded:
    """Contacts by ref, each with its number; their names are `Name of REF`."""
    new = tuple(
        NewContact(ref, Person(ref, Details(numbers=(number,), name=f"Name of {ref}", data={"city": f"City of {ref}"})))
        for ref, number in people
    )
    return ContactsAdded(at=at, rank=1, contacts=new, by="m")


async def write(url: str, campaigns: Mapping[str, Sequence[Any]], *more: Any) -> None:
    """Campaigns' logs by ref, and the directory that belongs to them; `more` are further events of the directory."""
    store = await open_store(url, Codec(LogEvent), owner="the past")
    try:
        for ref, events in campaigns.items():
            await _append(store, log_of(ref), [(stream_of(one), one) for one in events])
        known: list[Any] = [CampaignRefUsed(at=events[0].at, ref=ref, by="m") for ref, events in campaigns.items()]
        for ref, events in campaigns.items():
            for one in events:
                if isinstance(one, ContactsAdded):
                    refs = tuple(new.ref for new in one.contacts)
                    known.append(ContactRefsUsed(at=one.at, campaign=ref, refs=refs))
        known += more
        await _append(store, DIRECTORY, [(directory_stream_of(one), one) for one in known])
    finally:
        await store.close()


async def _append(store: Any, name: str, events: list[tuple[str, Any]]) -> None:
    log = await store.open_log(name)
    await log.append([Append(stream, ANY, [event]) for stream, event in events])
    await log.close()
