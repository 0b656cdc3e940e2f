"""Everything of a campaign as lines of JSON: itself, its contacts with their numbers, every attempt, every disposition.

The same lines come over HTTP from a running service and from `ringfold export`, which reads the logs. A little is made at a
time: whatever the size of the campaign, dialing waits for a block of lines at most.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Annotated

import msgspec
import structlog
from aiohttp import web

from api import view
from api.problem import Problem
from api.route import Call, Media, Route, roles
from api.token import Role
from engine.campaigns import log_of
from engine.core.archive import ExportCampaign
from engine.core.book import Book
from engine.core.form import Answer, answers_of
from engine.core.reservation import ContactDisposed
from engine.ports import Recorded, StoreUnavailable

EXPORTERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER)
NDJSON = "application/x-ndjson"
BLOCK_ROWS = 200
"""Lines that are made and sent at once."""
MAX_EXPORTS = 4
"""Under way at a time in this process."""
READ_WITHIN_S = 30
"""A client that takes no block within this time is let go."""
log = structlog.get_logger(__name__)


class ExportedCampaign(msgspec.Struct, kw_only=True, tag="campaign", tag_field="kind"):
    """The first line."""

    exported_at: view.Time
    campaign: view.CampaignShown


class ExportedContact(msgspec.Struct, kw_only=True, tag="contact", tag_field="kind"):
    contact: view.ContactShown
    as_of: view.Position


class ExportedCall(msgspec.Struct, kw_only=True, tag="call", tag_field="kind"):
    call: view.CallShown
    as_of: view.Position


class ExportedDisposition(msgspec.Struct, kw_only=True, tag="disposition", tag_field="kind"):
    """One closing of a contact; one that comes back has several."""

    at: view.Time | None
    contact: str
    disposition: str
    agent: str | None
    """Who had it in hand."""
    by: str | None
    """Who closed it, where that was somebody else."""
    call: str | None
    engaged: bool
    final: bool
    due_at: view.Time | None
    """When it comes back."""
    callback: str | None
    form_data: dict[str, Answer]
    position: Annotated[int, msgspec.Meta(ge=1, description="Of the event in the campaign's log.")]


class ExportEnd(msgspec.Struct, kw_only=True, tag="end", tag_field="kind"):
    """The last line. An export without it was cut off."""

    contacts: int
    calls: int
    dispositions: int
    as_of: view.Position


Line = ExportedCampaign | ExportedContact | ExportedCall | ExportedDisposition | ExportEnd
_encode = msgspec.json.Encoder().encode


async def blocks(
    book: Book, position: Callable[[], int], read: AsyncIterator[Sequence[Recorded]], at: int
) -> AsyncGenerator[bytes, None]:
    """The lines, some at a time. The book may move on meanwhile: each line tells the log's position that it has taken in.

    `read` is the campaign's log from its beginning. Raises StoreUnavailable.
    """
    yield _lines([ExportedCampaign(exported_at=view.time(at) or "", campaign=view.campaign(book, position()))])
    contacts = dispositions = 0
    for page in book.contacts.by_ref.walk(BLOCK_ROWS):
        yield _lines([ExportedContact(contact=view.contact(one, book), as_of=position()) for one in page])
        contacts += len(page)
        await asyncio.sleep(0)
    calls = len(book.calls)
    for start in range(0, calls, BLOCK_ROWS):
        some = book.calls.page(start, min(calls, start + BLOCK_ROWS))
        yield _lines([ExportedCall(call=view.call(one, book), as_of=position()) for one in some])
        await asyncio.sleep(0)
    async for batch in read:
        closed = [_disposition(one.event, one.pos) for one in batch if isinstance(one.event, ContactDisposed)]
        dispositions += len(closed)
        if closed:
            yield _lines(closed)
        await asyncio.sleep(0)
    yield _lines([ExportEnd(contacts=contacts, calls=calls, dispositions=dispositions, as_of=position())])


def _disposition(event: ContactDisposed, pos: int) -> ExportedDisposition:
    return ExportedDisposition(
        at=view.time(event.at),
        contact=event.contact,
        disposition=event.disposition,
        agent=event.agent or None,
        by=event.by or None,
        call=event.call or None,
        engaged=event.engaged,
        final=event.final,
        due_at=view.time(event.due_at),
        callback=event.callback or None,
        form_data=answers_of(event.form),
        position=pos,
    )


def _lines(rows: Sequence[Line]) -> bytes:
    return b"".join(_encode(one) + b"\n" for one in rows)


async def export(call: Call) -> web.StreamResponse:
    """A line a JSON document, each with its `kind`: the campaign, its contacts, calls and dispositions, and an end.

    Who asked is written into the directory's log before anything is given.
    """
    ref, running = call.campaign()
    service = call.service
    if service.exports >= MAX_EXPORTS:
        raise Problem(
            503, "too-many-exports", f"{service.exports} exports are under way", headers={"Retry-After": "30"}
        )
    answer = web.StreamResponse(
        headers={"Content-Disposition": f'attachment; filename="{ref.replace(":", "_")}.ndjson"'}
    )
    answer.content_type = NDJSON
    if call.request.method == "HEAD":
        await answer.prepare(call.request)
        return answer
    service.exports += 1
    try:
        await call.engine.direct(ExportCampaign(at=call.at, ref=ref, by=call.by))
        log.info("campaign exported", by=call.by, role=call.principal.role, campaign=ref)
        await answer.prepare(call.request)
        made = blocks(running.book, lambda: running.actor.log.position, call.engine.store.read(log_of(ref)), at=call.at)
        await _send(answer, made)
    except (StoreUnavailable, TimeoutError) as error:
        if not answer.prepared:
            raise
        log.warning("export cut off", campaign=ref, by=call.by, error=repr(error))
        if call.request.transport is not None:
            call.request.transport.abort()  # or what was sent would look whole
    finally:
        service.exports -= 1
    return answer


async def _send(answer: web.StreamResponse, made: AsyncGenerator[bytes, None]) -> None:
    """Raises TimeoutError where the client stops reading."""
    async with aclosing(made):
        async for block in made:
            async with asyncio.timeout(READ_WITHIN_S):
                await answer.write(block)
    await answer.write_eof()


ROUTES = [
    Route(
        "GET",
        "/v1/campaigns/{ref}/export",
        export,
        EXPORTERS,
        "Export a campaign",
        {200: Media((NDJSON,), Line)},
        problems=("unknown-campaign", "too-many-exports"),
    )
]
