"""Dispositions: which a campaign has, and closing a contact with one, by the contact's reservation or its call."""

from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web

from api import moment, view
from api.call import found
from api.click import Name, campaign_of
from api.problem import Problem, invalid
from api.route import EVERYBODY, Accepted, Call, Ref, Route, reply, roles, taken
from api.token import Role
from engine.campaigns import Running
from engine.core.campaign import Disposition
from engine.core.message import Dispose, DisposeAll
from engine.core.refusal import Refused, absent
from engine.core.reservation import Reservation

CLOSERS = roles(Role.ADMINISTRATOR, Role.SUPERVISOR, Role.AGENT, Role.CRM)
BULK_CLOSERS = roles(Role.ADMINISTRATOR, Role.SUPERVISOR, Role.AGENT)
CallId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]
MAX_AT_ONCE = 1_000
"""Contacts that one request closes."""


class Callback(msgspec.Struct, forbid_unknown_fields=True):
    """`at` is RFC 3339; without a distance to UTC it is the contact's own clock."""

    at: Annotated[str, msgspec.Meta(max_length=40)]
    personal: bool = True


class Closing(msgspec.Struct, forbid_unknown_fields=True):
    disposition: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    external_disposition: Name | None = None
    callback: Callback | None = None
    data: dict[str, Any] = {}
    """By the campaign's form."""


class ClosingAll(msgspec.Struct, forbid_unknown_fields=True):
    """One disposition for several contacts, named by their refs or by a call of theirs."""

    contacts: Annotated[list[Ref], msgspec.Meta(max_length=MAX_AT_ONCE)] = []
    calls: Annotated[
        list[Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]], msgspec.Meta(max_length=MAX_AT_ONCE)
    ] = []
    disposition: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    external_disposition: Name | None = None
    data: dict[str, Any] = {}


class Closed(msgspec.Struct, kw_only=True):
    """What became of one that was named: `code` and `detail` say why it was refused."""

    contact: str | None
    call: str | msgspec.UnsetType = msgspec.UNSET
    status: Literal["disposed", "refused"]
    code: str | msgspec.UnsetType = msgspec.UNSET
    detail: str | msgspec.UnsetType = msgspec.UNSET


class ClosedAll(msgspec.Struct, kw_only=True):
    disposed: int
    refused: int
    results: list[Closed]


class DispositionShown(Disposition, frozen=True, kw_only=True):
    children: list["DispositionShown"]
    """Those that belong under it."""


class Dispositions(msgspec.Struct, kw_only=True):
    dispositions: list[DispositionShown]
    as_of: view.Position


class Naming(msgspec.Struct, forbid_unknown_fields=True):
    external_system: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    """Whose own id the ref of the path is."""


async def of_call(call: Call) -> web.Response:
    """The disposition of the contact that a call was with, while its agent still has it in hand."""
    body = await call.body(Closing)
    one_named(body)
    ref, running, name = found(call)
    record = running.book.calls[name]
    call.act_for(record.agent)
    held = running.book.reservations.get(record.reservation)
    if held is None:
        raise Problem(409, "reservation-lost", "the contact of this call is not in its agent's hand any more")
    await close(call, ref, held, held.agent, held.token, body)
    return taken(call)


async def close(call: Call, ref: str, held: Reservation, agent: str, token: str, body: Closing) -> None:
    """Dispose of the contact of a reservation, as `agent` who shows its token."""
    running = call.engine.campaign(ref)
    back_at, personal = None, True
    if body.callback is not None:
        contact = running.book.contacts.by_ref[held.contact]
        back_at = moment.at_the_contacts(body.callback.at, contact, call.engine.zones, "callback.at")
        personal = body.callback.personal
    disposing = Dispose(
        at=call.at,
        agent=agent,
        reservation=held.id,
        token=token,
        disposition=_code(running, body),
        callback_at=back_at,
        personal=personal,
        data=body.data,
    )
    try:
        await call.engine.submit(ref, disposing)
    except Refused as refused:
        if refused.field == "callback_at":
            raise invalid("callback.at" if body.callback else "callback", refused.detail) from None
        raise


async def of_many(call: Call) -> web.Response:
    """Each contact closed or refused for itself; an agent closes those in their hand and their own."""
    ref, running = call.campaign()
    if call.principal.agents and call.principal.role is not Role.AGENT:
        raise Problem(403, "forbidden", "closing many contacts is not for a token that names agents")
    body = await call.body(ClosingAll)
    one_named(body)
    if not 0 < len(body.contacts) + len(body.calls) <= MAX_AT_ONCE:
        raise invalid("contacts", f"name 1 to {MAX_AT_ONCE} contacts or calls")
    calls = {one: running.book.calls[one].contact for one in body.calls if one in running.book.calls}
    named = dict.fromkeys([*body.contacts, *calls.values()])
    closing = DisposeAll(
        at=call.at,
        by=call.by,
        agent=call.by if call.principal.role is Role.AGENT else "",
        contacts=tuple(named),
        disposition=_code(running, body),
        data=body.data,
    )
    refused: dict[str, Refused] = await call.engine.submit(ref, closing)
    results = [_result(Closed(contact=one, status="disposed"), refused.get(one)) for one in body.contacts]
    for one in body.calls:
        contact = calls.get(one, "")
        why_not = refused.get(contact) if contact else absent("call", one)
        results.append(_result(Closed(contact=contact or None, call=one, status="disposed"), why_not))
    failed = sum(one.status == "refused" for one in results)
    return reply(ClosedAll(disposed=len(named) - len(refused), refused=failed, results=results))


def _result(one: Closed, refused: Refused | None) -> Closed:
    if refused is not None:
        one.status, one.code, one.detail = "refused", refused.code, refused.detail
    return one


def one_named(body: Closing | ClosingAll) -> None:
    if (body.disposition is None) == (body.external_disposition is None):
        raise invalid("disposition", "name one: disposition or external_disposition")


def _code(running: Running, body: Closing | ClosingAll) -> str:
    """A disposition by its code, or by the CRM's own name for it."""
    if body.disposition is not None:
        return body.disposition
    known = running.book.campaign.settings.dispositions
    chosen = next((one.code for one in known if one.external_id == body.external_disposition), None)
    if chosen is None:
        detail = f"this campaign has no disposition that the CRM calls {body.external_disposition!r}"
        raise invalid("external_disposition", detail)
    return chosen


async def listing(call: Call) -> web.Response:
    """The campaign's dispositions as the tree that they are. With `?external_system=` the ref is that system's own id."""
    system = call.query(Naming).external_system
    if system is None:
        _, running = call.campaign()
    else:
        running = call.named(campaign_of(call, system, call.request.match_info["ref"], "ref"))
    known = running.book.campaign.settings.dispositions
    return reply(Dispositions(dispositions=_under("", known), as_of=running.actor.log.position))


def _under(parent: str, known: tuple[Disposition, ...]) -> list[DispositionShown]:
    return [
        DispositionShown(**msgspec.structs.asdict(one), children=_under(one.code, known))
        for one in known
        if one.parent == parent
    ]


ROUTES = [
    Route(
        "POST",
        "/v1/calls/{call}/disposition",
        of_call,
        CLOSERS,
        "Dispose of the contact of a call",
        {202: Accepted},
        Closing,
        problems=("unknown-call", "reservation-lost", "reservation-in-call", "no-attempt", "reservation-ahead"),
    ),
    Route(
        "GET",
        "/v1/campaigns/{ref}/dispositions",
        listing,
        EVERYBODY,
        "List a campaign's dispositions",
        {200: Dispositions},
        query=Naming,
        problems=("unknown-campaign", "unknown-external-system"),
    ),
    Route(
        "POST",
        "/v1/campaigns/{ref}/dispositions",
        of_many,
        BULK_CLOSERS,
        "Dispose of several contacts",
        {200: ClosedAll},
        ClosingAll,
        problems=("unknown-campaign", "bulk-not-open"),
    ),
]
