"""Do-not-call lists: one for all campaigns, one for each."""

import asyncio
from collections.abc import Iterator
from typing import Annotated, TypeVar

import msgspec
from aiohttp import web

from api import moment, view
from api.campaign import number_of
from api.problem import Problem, invalid
from api.route import LARGE_BODY_BYTES, Call, Route, decode, reply, roles
from api.token import Role
from engine.core.directory import ListNumbers, UnlistNumbers
from engine.core.standing import EVERYWHERE, SUPPRESSED, line_of, list_of

KEEPERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER)
READERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER, Role.SUPERVISOR, Role.CRM)
CHUNK_NUMBERS = 1_000
"""Numbers in one event."""
MAX_NUMBERS = 100_000

T = TypeVar("T", bound="Unlisting")


class Unlisting(msgspec.Struct, forbid_unknown_fields=True):
    numbers: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_NUMBERS)]


class Listing(Unlisting, forbid_unknown_fields=True):
    until: Annotated[str, msgspec.Meta(max_length=40)] | None = None


class ListQuery(msgspec.Struct, forbid_unknown_fields=True):
    number: Annotated[str, msgspec.Meta(max_length=100)] | None = None


class ListState(msgspec.Struct, kw_only=True):
    numbers: int
    """How many the list has."""
    version: int


class Listed(ListState, kw_only=True):
    listed: int
    known: int


class Removed(ListState, kw_only=True):
    removed: int


class Verdict(ListState, kw_only=True):
    """Whether the number that was asked for may not be called, by which list, and until when; null is for ever."""

    listed: bool
    list: str | None
    until: view.Time | None


def _list(call: Call) -> str:
    if "ref" in call.request.match_info:
        ref, _ = call.campaign()
        return list_of(ref)
    if call.principal.campaigns:
        raise Problem(403, "forbidden", "the list for all campaigns is not for a token that names some")
    return EVERYWHERE


async def _read(call: Call, type_: type[T]) -> tuple[T, list[str]]:
    """The body and its numbers as they are dialled; a large one is read in a thread, so that nothing waits for it."""
    raw = await call.raw()

    def read() -> tuple[T, list[str]]:
        body = decode(raw, type_, call.request)
        return body, [number_of(text, f"numbers[{index}]") for index, text in enumerate(body.numbers)]

    return read() if len(raw) < LARGE_BODY_BYTES else await asyncio.to_thread(read)


def _chunks(numbers: list[str]) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(numbers), CHUNK_NUMBERS):
        yield tuple(numbers[start : start + CHUNK_NUMBERS])


async def put(call: Call) -> web.Response:
    """`listed` of the numbers were new to the list, or had another date there."""
    name = _list(call)
    body, numbers = await _read(call, Listing)
    until = moment.epoch_ms(body.until, "until") if body.until is not None else 0
    if body.until is not None and until <= call.at:
        raise invalid("until", "is in the past")
    listed = 0
    for chunk in _chunks(numbers):
        command = ListNumbers(at=call.at, by=call.by, list=name, numbers=chunk, until=until)
        listed += await call.engine.direct(command)
    return reply(Listed(listed=listed, known=len(numbers) - listed, **_state(call, name)))


async def remove(call: Call) -> web.Response:
    name = _list(call)
    _, numbers = await _read(call, Unlisting)
    removed = 0
    for chunk in _chunks(numbers):
        removed += await call.engine.direct(UnlistNumbers(at=call.at, by=call.by, list=name, numbers=chunk))
    return reply(Removed(removed=removed, **_state(call, name)))


async def show(call: Call) -> web.Response:
    """How many numbers a list has; with `?number=` whether that one may not be called, and by which list.

    For a campaign the list for all campaigns counts too: it forbids there as well.
    """
    name = _list(call)
    text = call.query(ListQuery).number
    if text is None:
        return reply(ListState(**_state(call, name)))
    standing = call.engine.claims.standing
    line = line_of(number_of(text, "number"))
    for one in dict.fromkeys((EVERYWHERE, name)):
        until = standing.lists.get(one, {}).get(line)
        if until is not None and (until == 0 or call.at < until):
            return reply(Verdict(listed=True, list=one, until=view.time(until), **_state(call, one)))
    if standing.suppressed(line):
        return reply(Verdict(listed=True, list=SUPPRESSED, until=None, **_state(call, SUPPRESSED)))
    return reply(Verdict(listed=False, list=None, until=None, **_state(call, name)))


def _state(call: Call, name: str) -> dict[str, int]:
    standing = call.engine.claims.standing
    return {"numbers": len(standing.lists.get(name, {})), "version": standing.versions.get(name, 0)}


PLACES = (("/v1/dnc", "for all campaigns", ()), ("/v1/campaigns/{ref}/dnc", "of a campaign", ("unknown-campaign",)))
ROUTES = [
    route
    for path, whose, problems in PLACES
    for route in (
        Route("POST", path, put, KEEPERS, f"List numbers {whose}", {200: Listed}, Listing, problems=problems),
        Route("DELETE", path, remove, KEEPERS, f"Unlist numbers {whose}", {200: Removed}, Unlisting, problems=problems),
        Route(
            "GET",
            path,
            show,
            READERS,
            f"Ask the do-not-call list {whose}",
            {200: (ListState, Verdict)},
            query=ListQuery,
            problems=problems,
        ),
    )
]
