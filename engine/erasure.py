"""Erasing a person from everything that is kept: found by a contact's ref, a number or an external id, in every campaign.

Contacts of one person are those that share a number. In a live campaign the mailbox forgets them; of a deleted one there is
only the log. Then their keys go, and with them whatever any copy of a log says of who they are.
"""

import asyncio
from collections.abc import Callable, Iterable

import msgspec
import structlog

from engine.actor import NotOwner
from engine.app import Engine
from engine.campaigns import log_of
from engine.core.blocks import AtticUnreadable
from engine.core.book import Book
from engine.core.call import CallEnded, recording_of
from engine.core.contact import Contact, ContactsAdded, ContactsReplaced, NewContact
from engine.core.erasure import ErasePerson
from engine.core.listing import CHUNK_CONTACTS, in_call
from engine.core.message import EraseContacts
from engine.core.refusal import Refused, absent, against_rule
from engine.core.standing import line_of
from engine.digest import digest_of
from engine.ports import LogArchived, StoreUnavailable, Unreadable

PAGE_ROWS = 20_000
"""Packed contacts looked at before others get their turn."""
ERASER = "dialer:erasure"
"""Who erases what had to wait for the end of a call, or for a restart."""
FINISHED = "erasures"
"""The checkpoint of a campaign: how many of its contacts are erased for good, the first so many in the directory's order.
Without it a start erases them all once more, and drops the campaign's snapshots, so that the next start reads the whole log."""

log = structlog.get_logger(__name__)


class Who(msgspec.Struct, frozen=True, kw_only=True):
    """One of these is given."""

    contact: str = ""
    number: str = ""
    external_id: str = ""


class Known(msgspec.Struct, kw_only=True):
    """One contact of the person. `contact` is it as the book has it, None where its campaign is deleted."""

    campaign: str
    ref: str
    numbers: tuple[str, ...]
    added: NewContact | None = None
    contact: Contact | None = None
    recordings: list[str] = []
    in_call: bool = False


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """`waiting` are erased as soon as their call and its wrap-up are over. `recordings`: whether each file is gone."""

    contacts: list[Known]
    waiting: list[str]
    recordings: dict[str, bool]
    suppressed: int


class Erasures:
    """`remove` deletes a recording by its name and says whether it is gone."""

    def __init__(self, engine: Engine, remove: Callable[[str], bool]) -> None:
        self._engine = engine
        self._remove = remove
        self._one_at_a_time = asyncio.Lock()
        self._erased: set[str] = set()
        """Contacts of whom nothing is left, as far as this process knows."""
        self._unnoted: set[str] = set()
        """Campaigns whose checkpoint is behind."""
        self._has_recalled = False

    # -- finding ------------------------------------------------------------------------------------------------------

    async def find(self, who: Who) -> list[Known]:
        """Every contact of a person, in the order of campaigns. Raises Refused where there is none."""
        lines = {line_of(who.number)} if who.number else set()
        refs = set() if lines else self._named(who)
        if refs:
            lines = {line_of(number) for one in await self._all(refs, set()) for number in one.numbers}
        found = await self._all(refs, lines)
        if not found:
            raise absent("person", who.contact or who.external_id or who.number)
        return found

    def _named(self, who: Who) -> set[str]:
        """Refs that are meant without looking at anybody's data. External ids are known of live campaigns only."""
        if who.contact:
            return {who.contact}
        books = (one.book for one in self._engine.campaigns.values())
        return {ref for book in books if (ref := book.contacts.named(who.external_id))}

    async def _all(self, refs: set[str], lines: set[str]) -> list[Known]:
        found: list[Known] = []
        for campaign, deleted in list(self._engine.directory.campaigns.items()):
            running = self._engine.campaigns.get(campaign)
            if running is not None:
                found += await _in_book(campaign, running.book, refs, lines)
            elif deleted:
                found += await self._in_log(campaign, refs, lines)
        return found

    async def _in_log(self, campaign: str, refs: set[str], lines: set[str]) -> list[Known]:
        """Of a deleted campaign: whoever ever stood in it so."""
        met: dict[str, Known] = {}
        try:
            async for batch in self._engine.store.read(log_of(campaign)):
                for event in (one.event for one in batch):
                    if isinstance(event, ContactsAdded | ContactsReplaced):
                        for new in event.contacts:
                            numbers = new.person.details.numbers if new.person.details else ()
                            if new.ref in refs or not lines.isdisjoint(map(line_of, numbers)):
                                met[new.ref] = Known(campaign=campaign, ref=new.ref, numbers=numbers, added=new)
                    elif isinstance(event, CallEnded) and event.recording and event.contact in met:
                        met[event.contact].recordings.append(event.recording)
        finally:
            self._engine.store.drop_keys(log_of(campaign))  # of everybody in it, and nobody else looks there
        return list(met.values())

    # -- erasing ------------------------------------------------------------------------------------------------------

    async def erase(self, who: Who, by: str, suppress: bool, after_call: bool) -> Erased:
        """Raises Refused: nobody is found, or one of them is in a call and that isn't to be waited for."""
        engine = self._engine
        async with self._one_at_a_time:
            found = await self.find(who)
            busy = next((one for one in found if one.in_call), None)
            if busy is not None and not after_call:
                raise against_rule("contact-in-call", f"contact {busy.ref!r} is in a call or its wrap-up")
            salt = engine.directory.standing.salt or engine.chance.new_id()
            lines = {line_of(number) for one in found for number in one.numbers} if suppress else set()
            if suppress and who.number:
                lines.add(line_of(who.number))
            by_campaign: dict[str, list[str]] = {}
            for one in found:
                by_campaign.setdefault(one.campaign, []).append(one.ref)
            await engine.direct(
                ErasePerson(
                    at=engine.clock.now_ms(),
                    by=by,
                    contacts={campaign: tuple(refs) for campaign, refs in by_campaign.items()},
                    salt=salt if lines else "",
                    digests=tuple(sorted(digest_of(salt, line) for line in lines)),
                )
            )
            waiting = [ref for campaign, refs in by_campaign.items() for ref in await self._forget(campaign, refs, by)]
            gone = [name for one in found if one.ref not in waiting for name in one.recordings]
            recordings = await asyncio.to_thread(lambda: {name: self._remove(name) for name in gone})
            for campaign, refs in by_campaign.items():
                await self._note(campaign, {*refs}.difference(waiting))
        log.info("person erased", by=by, contacts=len(found), waiting=len(waiting), recordings=len(recordings))
        return Erased(contacts=found, waiting=waiting, recordings=recordings, suppressed=len(lines))

    async def _forget(self, campaign: str, refs: list[str], by: str) -> list[str]:
        """Let the campaign forget them, then their keys go; returns those whose call has to end first."""
        waiting: set[str] = set()
        for start in range(0, len(refs), CHUNK_CONTACTS):
            some = tuple(refs[start : start + CHUNK_CONTACTS])
            if campaign in self._engine.campaigns:
                command = EraseContacts(at=self._engine.clock.now_ms(), by=by, contacts=some)
                waiting.update(await self._engine.submit(campaign, command))
        for ref in refs:
            if ref not in waiting:
                await self._engine.store.shred(ref)
        if campaign not in self._engine.campaigns:
            await self._engine.recall_attempts(campaign)
        if len(waiting) < len(refs):
            await self._engine.drop_snapshots(campaign)  # they hold people as they were
            await self._engine.store.forget_answers(self._engine.clock.now_ms() + 1)  # an import's shows its first rows
        return [ref for ref in refs if ref in waiting]

    @property
    def pending(self) -> bool:
        """Whether somebody is to be erased whom this process hasn't seen to, or it isn't noted yet."""
        return len(self._erased) < len(self._engine.directory.erased) or bool(self._unnoted)

    async def finish(self) -> int:
        """Go on with what waited for a call's end, or what a crash left; returns how many contacts still wait."""
        waiting = 0
        async with self._one_at_a_time:
            await self._recall()
            for campaign, refs in self._left().items():
                try:
                    if refs:
                        waiting += await self._finish(campaign, refs)
                    else:
                        await self._note(campaign)
                except (Refused, NotOwner, StoreUnavailable, AtticUnreadable) as error:
                    log.warning("erasure waits", campaign=campaign, error=str(error))
                    waiting += len(refs)
        return waiting

    async def _recall(self) -> None:
        """Whom the processes before have seen to, but for those whose key is there again: a backup of the keys had it."""
        if self._has_recalled:
            return
        store = self._engine.store
        try:
            for campaign, refs in self._all_by_campaign().items():
                is_deleted = self._engine.directory.campaigns.get(campaign)
                if is_deleted:  # nobody else looks at what its last owner saved late
                    await store.drop_snapshots(log_of(campaign))
                for ref in refs[: await store.checkpoint(FINISHED, log_of(campaign))]:
                    if not await store.shred(ref):
                        self._erased.add(ref)
        except StoreUnavailable as error:  # they are erased once more
            log.warning("who was erased before is not known", error=str(error))
        self._has_recalled = True

    def _all_by_campaign(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for ref, campaign in self._engine.directory.erased.items():
            found.setdefault(campaign, []).append(ref)
        return found

    def _left(self) -> dict[str, list[str]]:
        """Who isn't erased, as far as this process knows, by campaign; with none those whose checkpoint is behind."""
        everybody = self._all_by_campaign().items()
        left = {campaign: [ref for ref in refs if ref not in self._erased] for campaign, refs in everybody}
        return {campaign: refs for campaign, refs in left.items() if refs or campaign in self._unnoted}

    async def _note(self, campaign: str, erased: Iterable[str] = ()) -> None:
        """Also for the processes to come, where nothing is left of anybody. A snapshot that is being saved may have been begun
        before: should this process end before it can drop that one, the next has to."""
        self._erased.update(erased)
        self._unnoted.add(campaign)
        refs = [ref for ref, of in self._engine.directory.erased.items() if of == campaign]
        if self._engine.saves_snapshot(campaign) or not self._erased.issuperset(refs):
            return
        try:
            await self._engine.store.save_checkpoint(FINISHED, log_of(campaign), len(refs))
        except StoreUnavailable as error:
            log.warning("not noted yet who is erased", campaign=campaign, error=str(error))
        else:
            self._unnoted.discard(campaign)

    async def _finish(self, campaign: str, refs: list[str]) -> int:
        running = self._engine.campaigns.get(campaign)
        if running is None and not self._engine.directory.campaigns.get(campaign):
            return len(refs)  # somebody else's at the moment
        found = await _in_book(campaign, running.book, {*refs}, set()) if running is not None else []
        still = await self._forget(campaign, refs, ERASER)
        if running is None:
            found = await self._in_what_can_be_read(campaign, refs)
        gone = [name for one in found if one.ref not in still for name in one.recordings]
        stay = await asyncio.to_thread(lambda: [name for name in gone if not self._remove(name)])
        if stay:
            log.error("recordings of who is erased are left to the operator", campaign=campaign, recordings=stay)
        await self._note(campaign, {*refs}.difference(still))
        return len(still)

    async def _in_what_can_be_read(self, campaign: str, refs: list[str]) -> list[Known]:
        """Those of a deleted campaign: refs are in clear. Nobody's key waits for an archive, and none ends the service. Raises
        StoreUnavailable where the log isn't archived."""
        try:
            return await self._in_log(campaign, {*refs}, set())
        except (LogArchived, Unreadable, OSError, ValueError, msgspec.DecodeError) as error:
            log.error("recordings of who is erased are not looked for", campaign=campaign, error=str(error))
            return []


async def _in_book(campaign: str, book: Book, refs: set[str], lines: set[str]) -> list[Known]:
    met = {ref: one for ref in refs if (one := book.contacts.by_ref.get(ref)) is not None}
    for line in lines:
        for page in book.contacts.by_ref.walk(PAGE_ROWS, line):
            met |= {one.ref: one for one in page}
            await asyncio.sleep(0)
    return [
        Known(
            campaign=campaign,
            ref=one.ref,
            numbers=one.numbers,
            contact=one,
            recordings=_recordings(book, one),
            in_call=in_call(book, one),
        )
        for one in met.values()
    ]


def _recordings(book: Book, contact: Contact) -> list[str]:
    """Names of the recordings of a contact's calls, as far as there are any."""
    calls = (book.calls[one.call] for one in contact.attempts if one.call in book.calls)
    return [name for call in calls if (name := recording_of(call)[0])]
