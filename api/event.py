"""The feed: every notification in order, by long poll or as a stream."""

import asyncio
import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
from aiohttp import web
from aiohttp.http import HttpVersion11
from aiohttp_sse import EventSourceResponse, sse_response

from api import view
from api.broadcast import MAX_UNREAD_BYTES, Listener
from api.call import found
from api.problem import Problem, invalid
from api.route import EVERYBODY, REF, Answer, Call, Media, Page, Route, reply, roles
from api.ticket import Ticket
from api.token import Role
from engine.core.call import CallStatus
from engine.ports import BadCursor, FeedGap, FeedUndone, Notification, StoreUnavailable

EVENTS = "/v1/events"
READERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER, Role.SUPERVISOR, Role.CRM)
STREAM_PAGE = 200
"""Read at once for a stream; more than this seldom fits."""
CALL_PAGE = 500
CALL_PAGES = 40
"""Pages of a campaign's notifications that one request for a call's looks through."""
MAX_TYPES = 50
TICKET = web.RequestKey("ticket", Ticket)
TYPE = re.compile(r"[a-z_.]{1,64}")


class Waiting(Page, forbid_unknown_fields=True):
    after: Annotated[str, msgspec.Meta(max_length=200)] = ""
    """The cursor to go on from; empty is the beginning, `now` the end."""
    wait: Annotated[int, msgspec.Meta(ge=0, le=300)] = 0
    """Seconds to wait for the first one."""


class Following(Waiting, forbid_unknown_fields=True):
    ticket: Annotated[str, msgspec.Meta(max_length=100)] = ""
    """In place of a token, for a stream: `POST /v1/events/tickets` gives one. It says which campaign and types."""
    after: Annotated[str, msgspec.Meta(max_length=200)] = "now"
    """The cursor to go on from; empty is the beginning, `now` the end."""
    campaign: Annotated[str, msgspec.Meta(max_length=100)] = ""
    types: Annotated[str, msgspec.Meta(max_length=2_000)] = ""
    """Types of notifications, separated by commas; empty is all."""


class Notifications(msgspec.Struct, kw_only=True):
    events: Sequence[Notification]
    cursor: str
    """Where to go on from."""


class CallNotifications(Notifications, kw_only=True):
    call: str
    status: CallStatus


class TicketAsked(msgspec.Struct, forbid_unknown_fields=True):
    campaign: Annotated[str, msgspec.Meta(max_length=100)] = ""
    types: Annotated[str, msgspec.Meta(max_length=2_000)] = ""
    """As of the feed."""


class TicketGiven(msgspec.Struct, kw_only=True):
    ticket: str
    """For one `GET /v1/events?ticket=…` as a stream."""
    expires_at: view.Time


async def ticket(call: Call) -> web.Response:
    """Opens one stream without a token, within 30 seconds, and no other: what a page hands to its EventSource."""
    body = await call.body(TicketAsked)
    _types(body.types)
    name, expires_at = call.service.tickets.give(call.principal, _heard(call, body.campaign), body.types, call.at)
    return reply(TicketGiven(ticket=name, expires_at=view.time(expires_at) or ""))


async def events(call: Call) -> web.StreamResponse:
    query = call.request.query
    used = call.request.get(TICKET)
    campaign = _heard(call, used.campaign if used else query.get("campaign", ""))
    types = _types(used.types if used else query.get("types", ""))
    after = query.get("after", "now")
    if call.request.method == "GET" and (used or "text/event-stream" in call.request.headers.get("Accept", "")):
        return await _stream(call, call.request.headers.get("Last-Event-ID", after), campaign, types)
    wait_s = call.number("wait", default=0, least=0, most=call.service.limits.max_wait_s)
    with _stream_slot(call):
        try:
            found, cursor = await _news(call, after, call.limit(), campaign, types, wait_s * 1_000)
        except BadCursor:
            raise invalid("after", "not a cursor of this feed") from None
        except FeedGap as gap:
            raise _gone(gap) from None
    return reply(Notifications(events=found, cursor=cursor))


async def _news(
    call: Call, after: str, limit: int, campaign: str, types: tuple[str, ...], wait_ms: int
) -> tuple[Sequence[Notification], str]:
    """As Feed.read; where the service stops meanwhile, nothing, and the cursor that was asked with."""
    reading = asyncio.ensure_future(call.service.feed.read(after, limit, campaign, types, wait_ms))
    stopping = asyncio.ensure_future(call.service.stopping.wait())
    try:
        await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return reading.result() if reading.done() else ((), after)
    finally:
        reading.cancel()
        stopping.cancel()


def _types(text: str) -> tuple[str, ...]:
    types = tuple(one for one in text.split(",") if one)
    if len(types) > MAX_TYPES or not all(TYPE.fullmatch(one) for one in types):
        raise invalid("types", f"up to {MAX_TYPES} types of notifications, separated by commas")
    return types


def _heard(call: Call, ref: str) -> str:
    if ref and not REF.fullmatch(ref):
        raise invalid("campaign", "not a campaign ref")
    if not _may_hear(call, ref):
        raise Problem(403, "forbidden", "the token is for campaigns of its own: name one of them", "campaign")
    return ref


def _may_hear(call: Call, ref: str) -> bool:
    bound = call.principal.role is Role.SUPERVISOR or call.principal.campaigns
    return not bound or (bool(ref) and call.may_see(ref, call.engine.campaigns.get(ref)))


@contextlib.contextmanager
def _stream_slot(call: Call) -> Iterator[None]:
    service = call.service
    if service.streams >= service.limits.max_streams:
        raise Problem(
            503, "too-many-streams", f"{service.streams} event streams are open", headers={"Retry-After": "5"}
        )
    service.streams += 1
    try:
        yield
    finally:
        service.streams -= 1


async def _stream(call: Call, after: str, campaign: str, types: tuple[str, ...]) -> web.StreamResponse:
    """Server-sent events; the id is the cursor, so a client goes on where it was cut off.

    What lies behind its cursor is read here, as fast as the client reads; once it has heard everything it is given what comes
    with all the others. A client that doesn't read stops this coroutine at the socket's buffer: nothing piles up for it here.
    """
    with _stream_slot(call):
        try:
            gap, found, cursor = await _behind(call, after, campaign, types)
        except BadCursor:
            raise invalid("after", "not a cursor of this feed") from None
        limits = call.service.limits
        async with sse_response(
            call.request, ping_interval=limits.heartbeat_s, send_timeout=limits.stalled_stream_s
        ) as response:
            # The client has gone or reads no more; or the store can't be read: then the client comes back with its cursor.
            with contextlib.suppress(ConnectionResetError, TimeoutError, StoreUnavailable):
                while response.is_connected() and _still_good(call, campaign) and not call.service.stopping.is_set():
                    if gap is not None:
                        detail = msgspec.json.encode({"detail": str(gap)}).decode()
                        await response.send(detail, id=cursor, event="restored" if _is_undone(gap) else "gap")
                    for id_, text in found:
                        await response.send(text, id=id_)
                    if gap is None and not found:
                        cursor = await _listen(call, response, cursor, campaign, types)
                    gap, found, cursor = await _behind(call, cursor, campaign, types)
    return response


async def _behind(
    call: Call, after: str, campaign: str, types: tuple[str, ...]
) -> tuple[FeedGap | None, Sequence[tuple[str, str]], str]:
    """What comes next, a gap or notifications, and the cursor behind it. Raises BadCursor, StoreUnavailable.

    Of each notification its cursor and its text, and no more than may wait for a client that reads slowly.
    """
    try:
        found, cursor = await call.service.feed.read(after, STREAM_PAGE, campaign, types)
    except FeedGap as gap:
        return gap, (), gap.cursor
    page: list[tuple[str, str]] = []
    size = 0
    for one in found:
        text = msgspec.json.encode(one)
        size += len(text)
        if page and size > MAX_UNREAD_BYTES:
            return None, page, page[-1][0]
        page.append((one.cursor, text.decode()))
    return None, page, cursor


async def _listen(call: Call, response: EventSourceResponse, cursor: str, campaign: str, types: tuple[str, ...]) -> str:
    """Be given what comes while the client reads it, and may; returns the cursor behind the last that it was given."""
    transport = call.request.transport
    if transport is None:
        raise ConnectionResetError
    is_chunked = call.request.version >= HttpVersion11
    listener = Listener(transport, is_chunked, cursor, lambda: _still_good(call, campaign))
    leave = call.service.broadcast.join(listener, (campaign, types))
    if leave is None:
        return cursor
    try:
        while response.is_connected() and _still_good(call, campaign) and not listener.left.done():
            left_s = (call.principal.expires_at - call.at) / 1_000
            await asyncio.wait({listener.left}, timeout=max(0, min(call.service.limits.heartbeat_s, left_s)))
    finally:
        leave()
    return listener.cursor


def _is_undone(gap: FeedGap) -> bool:
    return isinstance(gap, FeedUndone)


def _gone(gap: FeedGap) -> Problem:
    behind = {"Ringfold-Cursor": gap.cursor}
    if _is_undone(gap):
        return Problem(410, "feed-restored", str(gap), headers=behind)
    return Problem(410, "feed-gap", str(gap), headers=behind)


def _still_good(call: Call, campaign: str) -> bool:
    """A stream lives no longer than the token it was opened with, and than its supervisor supervises."""
    principal = call.principal
    if principal.role is Role.SUPERVISOR and not _may_hear(call, campaign):
        return False
    return call.at < principal.expires_at and not principal.is_under(call.engine.directory.revoked)


async def of_call(call: Call) -> web.Response:
    """What is told of one call: as `events`, of that call's alone.

    Behind `after` ("" is the campaign's beginning); a request looks at so many notifications and no more, and whoever
    goes on with `cursor` misses none.
    """
    ref, running, name = found(call)
    after = call.request.query.get("after", "")
    wait_s = call.number("wait", default=0, least=0, most=call.service.limits.max_wait_s)
    most, until = call.limit(), call.at + wait_s * 1_000
    told: list[Notification] = []
    with _stream_slot(call):
        try:
            for _ in range(CALL_PAGES):
                left_ms = max(0, until - call.at)
                page, after = await _news(call, after, min(most, CALL_PAGE), ref, (), left_ms)
                told += [one for one in page if one.data.get("call") == name]
                if told or not page:
                    break
        except BadCursor:
            raise invalid("after", "not a cursor of this feed") from None
        except FeedGap as gap:
            raise _gone(gap) from None
    record = running.book.calls[name]
    return reply(CallNotifications(call=name, status=record.status, events=told, cursor=after))


ROUTES = [
    Route(
        "GET",
        EVENTS,
        events,
        READERS,
        "Read the feed",
        {200: (Answer(Notifications), Answer(Media(("text/event-stream",))))},
        query=Following,
        problems=("too-many-streams", "feed-gap", "feed-restored"),
    ),
    Route(
        "POST",
        EVENTS + "/tickets",
        ticket,
        READERS,
        "Get a ticket for a stream",
        {200: TicketGiven},
        TicketAsked,
    ),
    Route(
        "GET",
        "/v1/calls/{call}/events",
        of_call,
        EVERYBODY,
        "Read what is told of a call",
        {200: CallNotifications},
        query=Waiting,
        problems=("unknown-call", "too-many-streams", "feed-gap", "feed-restored"),
    ),
]
