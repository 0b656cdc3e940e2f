"""Campaigns, who is allocated to them, and their contacts."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Container
from hashlib import blake2b
from itertools import islice
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import structs

from api import cursor, moment, sight, view
from api.edition import edition_of
from api.problem import Problem, invalid, quoted
from api.route import (
    AGENT_ID,
    EVERYBODY,
    REF,
    Accepted,
    AgentId,
    Call,
    Media,
    Pages,
    Reason,
    Ref,
    Route,
    converted,
    parsed,
    parsed_aside,
    reply,
    roles,
    taken,
)
from api.token import Role
from engine.campaigns import Running
from engine.core import campaign as campaigns
from engine.core.agent import DefaultState, Line, Weight
from engine.core.campaign import PLAIN, Create, Delete, Mode, Modify, Settings, Start, Status, Stop, Text, patched
from engine.core.contact import NewContact, Priority
from engine.core.listing import CHUNK_CONTACTS
from engine.core.message import AddContacts, Allocate, CancelContact, Withdraw
from engine.core.personal import Details, Person
from engine.ports import Zones

NUMBER = re.compile(r"\+?[0-9]{2,20}")
SEPARATORS = re.compile(r"[ ().\-/]")
MAX_NUMBERS, MAX_FIELDS, MAX_KEY_CHARS, MAX_VALUE_CHARS = 10, 50, 64, 1_000
MAX_REF_SHOWN_CHARS = 100
DATA_SCHEMA = {
    "maxProperties": MAX_FIELDS,
    "propertyNames": {"minLength": 1, "maxLength": MAX_KEY_CHARS},
    "additionalProperties": {"type": "string", "maxLength": MAX_VALUE_CHARS},
}
"""Of a contact's additional data: `_data` checks it, to name the field that is wrong."""
ROWS_AT_A_TIME = 100
"""Rows checked before others get their turn: timers and the PBX don't wait for a large upload."""
ROWS_READ_AT_A_TIME = 10
"""The same where each number is read by its country's rules, which takes some tens of microseconds."""

MANAGERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER)
STEERING = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER, Role.SUPERVISOR)
READERS = roles(Role.ADMINISTRATOR, Role.CAMPAIGN_MANAGER, Role.SUPERVISOR, Role.CRM)


SettingsPatch = Annotated[
    dict[str, Any],
    msgspec.Meta(
        description="A JSON merge patch: what isn't named stays, null puts a default back.",
        extra_json_schema={"$ref": "#/components/schemas/Settings"},
    ),
]


class NewCampaign(msgspec.Struct, forbid_unknown_fields=True):
    name: Text
    mode: Mode = Mode.PREVIEW
    settings: SettingsPatch = {}


class Edit(msgspec.Struct, forbid_unknown_fields=True):
    name: Text | None = None
    settings: SettingsPatch | None = None
    state: Literal["running", "stopped"] | None = None
    force: bool = False


class Allocation(msgspec.Struct, forbid_unknown_fields=True):
    default_state: DefaultState = DefaultState.AVAILABLE
    weight: Weight = 1
    line: Line = Line.NAILED


class Row(msgspec.Struct, forbid_unknown_fields=True):
    ref: Ref
    numbers: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_NUMBERS)]
    name: Annotated[str, msgspec.Meta(max_length=200, pattern=PLAIN)] = ""
    data: Annotated[dict[str, Any], msgspec.Meta(extra_json_schema=DATA_SCHEMA)] = {}
    """Text by name."""
    priority: Priority = Priority.LOW
    agent: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{0,64}$(?!\n)")] = ""
    zone: Annotated[str, msgspec.Meta(max_length=64)] = ""
    tags: Annotated[list[Annotated[str, msgspec.Meta(min_length=1, max_length=64)]], msgspec.Meta(max_length=50)] = []
    external_id: Annotated[str, msgspec.Meta(max_length=100)] = ""
    consent_until: Annotated[str, msgspec.Meta(max_length=40)] | None = None


class Cancellation(msgspec.Struct, forbid_unknown_fields=True):
    reason: Reason = ""


class Campaigns(msgspec.Struct, kw_only=True):
    campaigns: list[view.CampaignLine]
    next: view.Next


class Digest(msgspec.Struct, kw_only=True):
    digest: str
    as_of: view.Position


class RowResult(msgspec.Struct, kw_only=True):
    """What became of a row. `field` and `reason` say what is wrong with one that was rejected."""

    row: int
    ref: str | None
    status: Literal["added", "replaced", "known", "rejected"]
    field: str | msgspec.UnsetType = msgspec.UNSET
    reason: str | msgspec.UnsetType = msgspec.UNSET


class Loaded(msgspec.Struct, kw_only=True):
    added: int
    replaced: int
    known: int
    rejected: int
    results: list[RowResult]


class Upload(msgspec.Struct, forbid_unknown_fields=True):
    overwrite: Literal["true", "false"] = "false"
    """Whether rows replace contacts that were never dialled."""


class CallPage(msgspec.Struct, kw_only=True):
    calls: list[view.CallShown]
    next: view.Next
    as_of: view.Position


# -- campaigns --------------------------------------------------------------------------------------------------------


async def put(call: Call) -> web.Response:
    ref = call.request.match_info["ref"]
    if not REF.fullmatch(ref):
        raise invalid("ref", "1 to 100 letters, digits and _ . : @ -")
    if call.principal.campaigns and ref not in call.principal.campaigns:
        raise Problem(403, "forbidden", f"campaign {ref!r} is not yours")
    body = await call.body(NewCampaign)
    settings = patched(Settings(), body.settings)
    allowed(call, settings)
    create = Create(at=call.at, by=call.by, ref=ref, name=body.name, mode=body.mode, settings=settings)
    created = await call.engine.create(create)
    running = call.engine.campaign(ref)
    return _shown(call, running, 201 if created else 200)


async def show(call: Call) -> web.Response:
    _, running = call.campaign()
    return _shown(call, running)


async def listing(call: Call) -> web.Response:
    """In the order of their refs."""
    mine = (
        one
        for ref, one in call.engine.campaigns.items()
        if call.may_see(ref, one) and one.book.campaign.status is not Status.ABSENT
    )
    shown, following = cursor.page(mine, lambda one: one.book.campaign.ref, call.after(), call.limit())
    return reply(Campaigns(campaigns=[view.campaign_line(one) for one in shown], next=call.cursor(following)))


async def patch(call: Call) -> web.Response:
    ref, running = call.campaign()
    body = await call.body(Edit)
    if body.force and body.state != "stopped":
        raise invalid("force", "goes with state stopped only")
    if call.principal.role is Role.SUPERVISOR and (body.name is not None or body.settings is not None):
        raise Problem(403, "forbidden", "a supervisor starts and stops; administrators and campaign managers configure")
    if body.settings is not None:
        before = running.book.campaign.settings
        allowed(call, patched(before, body.settings), before)
    # The condition held a moment ago; the campaign judges it again in its own mailbox.
    revision = running.book.campaign.revision if "If-Match" in call.request.headers else None
    moves: list[Start | Stop] = []
    if body.state is not None:
        start, stop = Start(at=call.at, by=call.by), Stop(at=call.at, by=call.by, force=body.force)
        moves.append(start if body.state == "running" else stop)
        campaigns.decide(running.book.campaign, moves[0])  # refused now, it would leave half of the request done
    if body.name is not None or body.settings is not None or revision is not None:
        await call.engine.submit(
            ref,
            Modify(at=call.at, by=call.by, name=body.name, settings=body.settings, if_revision=revision),
        )
    for move in moves:
        await call.engine.submit(ref, move)
    return taken(call)


async def delete(call: Call) -> web.Response:
    ref, _ = call.campaign()
    await call.engine.submit(ref, Delete(at=call.at, by=call.by))
    return taken(call)


async def digest(call: Call) -> web.Response:
    """A digest of the live state, to compare with `ringfold verify`, which folds the log anew."""
    _, running = call.campaign()
    await running.actor.settled()
    snapshot, as_of = running.book.snapshot(), running.actor.log.position
    value = await asyncio.to_thread(lambda: blake2b(snapshot.canonical(), digest_size=16).hexdigest())
    return reply(Digest(digest=value, as_of=as_of))


def allowed(call: Call, settings: Settings, before: Settings | None = None) -> None:
    """What the operator's settings have to say to a campaign's. Addresses that stand already hinder no other edit."""
    for trunk in settings.trunks:
        if trunk not in call.service.trunks:
            known = ", ".join(sorted(call.service.trunks))
            field = "settings.trunk" if trunk == settings.trunk else "settings.further_trunks"
            raise invalid(field, f"there is no trunk {trunk!r}; there are: {known}")
    if settings.default_region and not call.service.imports.knows_region(settings.default_region):
        raise invalid("settings.default_region", f"{settings.default_region!r} is no region such as CO")
    addresses = (settings.external_url, settings.screen_pop_url, settings.tabs)
    if before is None or addresses != (before.external_url, before.screen_pop_url, before.tabs):
        call.service.crm.check(settings.targets())


def _shown(call: Call, running: Running, status: int = 200) -> web.Response:
    return reply(view.campaign_now(running, call.engine), status, edition=str(running.book.campaign.revision))


# -- agents of a campaign -----------------------------------------------------------------------------------------------


async def allocate(call: Call) -> web.Response:
    ref, running = call.campaign()
    agent = call.part("agent", AGENT_ID, "agent")
    known = call.engine.directory.agents.get(agent)
    if known is None:
        raise Problem(404, "unknown-agent", f"there is no agent {agent!r}")
    body = await call.body(Allocation)
    created = agent not in running.book.agents
    await call.engine.submit(
        ref,
        Allocate(
            at=call.at,
            by=call.by,
            agent=agent,
            phone=known.phone,
            line=body.line,
            default_state=body.default_state,
            weight=body.weight,
        ),
    )
    return _seat(running, agent, 201 if created else 200)


async def allocation(call: Call) -> web.Response:
    _, running = call.campaign()
    agent = call.part("agent", AGENT_ID, "agent")
    if agent not in running.book.agents:
        raise Problem(404, "unknown-allocation", f"agent {agent!r} is not allocated to this campaign")
    return _seat(running, agent)


def _seat(running: Running, agent: str, status: int = 200) -> web.Response:
    seat = view.agent(running.book.agents[agent], running.book)
    shown = view.SeatNow(**structs.asdict(seat), as_of=running.actor.log.position)
    return reply(shown, status, edition=edition_of((seat.line, seat.default_state, seat.weight)))


async def withdraw(call: Call) -> web.Response:
    ref, _ = call.campaign()
    agent = call.part("agent", AGENT_ID, "agent")
    await call.engine.submit(ref, Withdraw(at=call.at, by=call.by, agent=agent))
    return taken(call)


# -- contacts ---------------------------------------------------------------------------------------------------------


async def add_contacts(call: Call) -> web.Response:
    """All rows are checked before any is stored; what is wrong with one doesn't hinder the others."""
    ref, running = call.campaign()
    overwrite = call.query(Upload).overwrite == "true"
    rows = await _rows(call, await call.raw())
    region = running.book.campaign.settings.default_region
    read = call.service.imports.reader(region) if region else None
    results: list[RowResult] = []
    good: dict[str, NewContact] = {}
    for place, raw in enumerate(rows, 1):
        if place % (ROWS_READ_AT_A_TIME if read else ROWS_AT_A_TIME) == 0:
            await asyncio.sleep(0)
        try:
            contact = _contact(raw, call.engine.zones, call.engine.directory.tags, read)
        except Problem as problem:
            claimed = raw.get("ref") if isinstance(raw, dict) else None
            results.append(_rejected(place, claimed, problem.field, problem.detail))
            continue
        if contact.ref in good:
            results.append(_rejected(place, contact.ref, "ref", "the ref stands in an earlier row of this request"))
            continue
        good[contact.ref] = contact
        results.append(RowResult(row=place, ref=contact.ref, status="known"))
    if good:
        new: frozenset[str] = frozenset()
        replaced: frozenset[str] = frozenset()
        refused: dict[str, str] = {}
        clashes: dict[str, str] = {}
        rest = iter(good.values())
        while chunk := tuple(islice(rest, CHUNK_CONTACTS)):
            added, taken_refs = await call.engine.add_contacts(
                ref, AddContacts(at=call.at, by=call.by, contacts=chunk, overwrite=overwrite)
            )
            new |= added.new
            replaced |= added.replaced
            refused |= added.refused
            clashes |= taken_refs
        for index, result in enumerate(results):
            named = result.ref
            if result.status != "known" or named is None:
                continue
            if named in new:
                result.status = "added"
            elif named in replaced:
                result.status = "replaced"
            elif named in clashes:
                reason = f"campaign {clashes[named]!r} used this contact ref first"
                results[index] = _rejected(result.row, named, "ref", reason)
            elif named in refused:
                results[index] = _rejected(result.row, named, "ref", refused[named])
    counts = Counter(one.status for one in results)
    return reply(
        Loaded(
            added=counts["added"],
            replaced=counts["replaced"],
            known=counts["known"],
            rejected=counts["rejected"],
            results=results,
        )
    )


def _rejected(row: int, ref: Any, field: str, reason: str) -> RowResult:
    shown = quoted(ref, MAX_REF_SHOWN_CHARS) if isinstance(ref, str) else None
    return RowResult(row=row, ref=shown, status="rejected", field=field, reason=reason)


async def _rows(call: Call, raw: bytes) -> list[Any]:
    most = call.service.limits.max_rows_per_request
    if call.request.content_type in ("application/x-ndjson", "application/ndjson"):
        lines = [line for line in raw.split(b"\n") if line.strip()]
        if len(lines) > most:
            raise Problem(413, "body-too-large", f"a request has at most {most} rows")
        loose: list[Any] = []
        for line in lines:
            if len(loose) % ROWS_AT_A_TIME == 0:
                await asyncio.sleep(0)
            loose.append(_loose(line))
        return loose
    if call.request.content_type != "application/json":
        raise Problem(415, "unsupported-media-type", f"{call.request.content_type!r}: send JSON or NDJSON")
    try:
        rows = await parsed_aside(raw or b"[]")
    except ValueError as error:
        raise Problem(400, "malformed-json", f"the body is not JSON: {error}") from None
    if isinstance(rows, dict) and set(rows) <= {"contacts"}:
        rows = rows.get("contacts")
    if not isinstance(rows, list):
        raise invalid("contacts", "an array of contacts is expected")
    if len(rows) > most:
        raise Problem(413, "body-too-large", f"a request has at most {most} rows")
    return rows


def _loose(line: bytes) -> Any:
    """A row of NDJSON; one that is no JSON is that row's fault only."""
    try:
        return parsed(line)
    except ValueError as error:
        return Problem(422, "invalid-request", f"not JSON: {error}", "row")


def _contact(raw: Any, zones: Zones | None, tags: Container[str], read: Callable[[str], str] | None) -> NewContact:
    if isinstance(raw, Problem):
        raise raw
    row = converted(raw, Row, "row")
    details = Details(numbers=_numbers(row.numbers, read), name=row.name, data=_data(row.data))
    if row.zone and not (zones is not None and zones.knows(row.zone)):
        raise invalid("zone", f"{row.zone!r} is no IANA time zone")
    for index, tag in enumerate(row.tags):
        if tag not in tags:
            raise invalid(f"tags[{index}]", f"there is no tag {tag!r}")
    return NewContact(
        row.ref,
        Person(row.ref, details),
        priority=row.priority,
        agent=row.agent,
        zone=row.zone,
        tags=tuple(dict.fromkeys(row.tags)),
        external_id=row.external_id,
        consent_until=moment.epoch_ms(row.consent_until, "consent_until") if row.consent_until else 0,
    )


def number_of(text: str, field: str) -> str:
    """Digits as they are dialled, without what people write between them."""
    number = SEPARATORS.sub("", text)
    if not NUMBER.fullmatch(number):
        raise invalid(field, f"{text[:40]!r} is not a number: digits, with + before the country code")
    return number


def _numbers(texts: list[str], read: Callable[[str], str] | None) -> tuple[str, ...]:
    numbers: list[str] = []
    for index, text in enumerate(texts):
        try:
            number = read(text) if read is not None else number_of(text, f"numbers[{index}]")
        except ValueError as error:
            raise invalid(f"numbers[{index}]", str(error)) from None
        if number in numbers:
            raise invalid(f"numbers[{index}]", f"{number} stands twice")
        numbers.append(number)
    return tuple(numbers)


def _data(data: dict[str, Any]) -> dict[str, str]:
    if len(data) > MAX_FIELDS:
        raise invalid("data", f"has more than {MAX_FIELDS} fields")
    for key, value in data.items():
        field = f"data.{key[:MAX_KEY_CHARS]}"
        if not 1 <= len(key) <= MAX_KEY_CHARS:
            raise invalid(field, f"a field's name has 1 to {MAX_KEY_CHARS} characters")
        if not isinstance(value, str):
            raise invalid(field, "text is expected")
        if len(value) > MAX_VALUE_CHARS:
            raise invalid(field, f"has more than {MAX_VALUE_CHARS} characters")
    return data


async def contacts(call: Call) -> web.Response:
    """Pages in order of arrival."""
    _, running = call.campaign()
    known = running.book.contacts.by_ref
    start = call.place()  # of the page's last, which nothing later moves
    if sight.is_limited(call, running):
        return await sight.own_contacts(call, running, start)
    page = known.page(start, call.limit())
    end = start + len(page)
    following = call.cursor(end if end < len(known) else None)
    rows = [view.contact(one, running.book) for one in page]
    return reply(view.ContactPage(contacts=rows, next=following, as_of=running.actor.log.position))


async def contact(call: Call) -> web.Response:
    _, running = call.campaign()
    name = call.part("contact", REF, "contact")
    shown = view.contact(sight.look_at(call, running, name), running.book)
    return reply(view.ContactSeen(**structs.asdict(shown), as_of=running.actor.log.position))


async def immutable(call: Call) -> web.Response:
    call.campaign()
    raise Problem(409, "contact-immutable", "contacts can't be edited or moved once added; they can be cancelled")


async def cancel(call: Call) -> web.Response:
    ref, _ = call.campaign()
    body = await call.body(Cancellation)
    name = call.part("contact", REF, "contact")
    await call.engine.submit(ref, CancelContact(at=call.at, by=call.by, contact=name, reason=body.reason))
    return taken(call)


async def calls(call: Call) -> web.Response:
    """The newest call records, each page in the order in which they were dialled; the next page has older ones."""
    _, running = call.campaign()
    known = running.book.calls
    end = min(call.place() or len(known), len(known))  # from the beginning: nothing later moves it
    start = max(0, end - call.limit())
    rows = [view.call(one, running.book) for one in known.page(start, end)]
    return reply(CallPage(calls=rows, next=call.cursor(start or None), as_of=running.actor.log.position))


ROWS = (Media(("application/json",), list[Row]), Media(("application/x-ndjson", "application/ndjson"), Row))
CAMPAIGN = "/v1/campaigns/{ref}"
ROUTES = [
    Route("GET", "/v1/campaigns", listing, EVERYBODY, "List campaigns", {200: Campaigns}, query=Pages),
    Route(
        "PUT",
        CAMPAIGN,
        put,
        MANAGERS,
        "Create a campaign",
        {201: view.CampaignNow, 200: view.CampaignNow},
        NewCampaign,
        problems=("campaign-ref-used", "campaign-deleted"),
    ),
    Route("GET", CAMPAIGN, show, EVERYBODY, "Show a campaign", {200: view.CampaignNow}, problems=("unknown-campaign",)),
    Route(
        "PATCH",
        CAMPAIGN,
        patch,
        STEERING,
        "Edit, start or stop a campaign",
        {202: Accepted},
        Edit,
        problems=(
            "unknown-campaign",
            "campaign-stopping",
            "campaign-not-started",
            "agent-active-elsewhere",
        ),
    ),
    Route(
        "DELETE",
        CAMPAIGN,
        delete,
        MANAGERS,
        "Delete a campaign",
        {202: Accepted},
        problems=("unknown-campaign", "campaign-not-stopped"),
    ),
    Route(
        "GET",
        CAMPAIGN + "/digest",
        digest,
        roles(Role.ADMINISTRATOR),
        "Show a digest of a campaign's state",
        {200: Digest},
        problems=("unknown-campaign",),
    ),
    Route(
        "PUT",
        CAMPAIGN + "/agents/{agent}",
        allocate,
        STEERING,
        "Allocate an agent",
        {201: view.SeatNow, 200: view.SeatNow},
        Allocation,
        problems=("unknown-campaign", "unknown-agent", "agent-active-elsewhere", "agent-present"),
    ),
    Route(
        "GET",
        CAMPAIGN + "/agents/{agent}",
        allocation,
        STEERING,
        "Show an agent's allocation",
        {200: view.SeatNow},
        problems=("unknown-campaign", "unknown-agent", "unknown-allocation"),
    ),
    Route(
        "DELETE",
        CAMPAIGN + "/agents/{agent}",
        withdraw,
        STEERING,
        "Withdraw an agent",
        {202: Accepted},
        problems=("unknown-campaign", "unknown-agent", "unknown-allocation"),
    ),
    Route(
        "POST",
        CAMPAIGN + "/contacts",
        add_contacts,
        MANAGERS,
        "Add contacts",
        {200: Loaded},
        ROWS,
        Upload,
        problems=("unknown-campaign",),
    ),
    Route(
        "GET",
        CAMPAIGN + "/contacts",
        contacts,
        EVERYBODY,
        "List contacts",
        {200: view.ContactPage},
        query=Pages,
        problems=("unknown-campaign",),
    ),
    Route(
        "GET",
        CAMPAIGN + "/contacts/{contact}",
        contact,
        EVERYBODY,
        "Show a contact",
        {200: view.ContactSeen},
        problems=("unknown-campaign", "unknown-contact"),
    ),
    *(
        Route(
            method,
            CAMPAIGN + "/contacts/{contact}",
            immutable,
            MANAGERS,
            "Refuse to edit a contact",
            problems=("unknown-campaign", "contact-immutable"),
        )
        for method in ("PUT", "PATCH")
    ),
    Route(
        "POST",
        CAMPAIGN + "/contacts/{contact}/cancel",
        cancel,
        STEERING,
        "Cancel a contact",
        {202: Accepted},
        Cancellation,
        problems=("unknown-campaign", "unknown-contact", "contact-in-call", "contact-final"),
    ),
    Route(
        "GET",
        CAMPAIGN + "/calls",
        calls,
        READERS,
        "List the newest calls",
        {200: CallPage},
        query=Pages,
        problems=("unknown-campaign",),
    ),
]
__all__ = ["ROUTES", "AgentId"]
