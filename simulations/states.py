"""docs/states.md: every answer of the core's state machines, asked of the core itself.

A cell holds the events that `decide` answers a message in a state with, `–` where it says nothing, or the code of the
refusal. The document is the tables; a test keeps it current, so a change of behaviour shows as a diff of the document.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from engine.core import agent as agents
from engine.core import call as calls
from engine.core import campaign as campaigns
from engine.core import delivery, preview
from engine.core.agent import (
    Agent,
    AgentAllocated,
    AgentArriving,
    AgentAsked,
    AgentPresent,
    Phone,
    PhoneOverdue,
    PhoneUp,
)
from engine.core.book import Book
from engine.core.call import Call, CallEnded, CallOverdue, CallStatus, Doubt
from engine.core.campaign import Campaign, Settings, Status
from engine.core.claims import Claims
from engine.core.contact import NewContact
from engine.core.effect import ReservationDue
from engine.core.message import AddContacts, CancelContact, Dial, Dispose, Extend, Next, Release, Skip
from engine.core.outcome import Outcome, Party
from engine.core.personal import Details, Person
from engine.core.refusal import Refused
from engine.core.reservation import Phase
from engine.core.telephony import (
    BridgeRefused,
    LegAbsent,
    LegAnswered,
    LegBridged,
    LegCreated,
    LegEnded,
    LegObservation,
    LegReady,
    LegRecorded,
    LegRinging,
    LegSeen,
    LegState,
    OriginateFailed,
    OriginateRejected,
    RecordingRefused,
)

DOCUMENT = Path(__file__).parents[1] / "docs" / "states.md"
AT = 1_000
LATER = 61_000
LEG = "c" * 32
SILENT = "–"

Cells = dict[tuple[str, str], str]
"""What is answered, by (message, state)."""


def answer(decide: Callable[..., Iterable[Any]], *given: Any) -> str:
    """One cell. Raises whatever isn't a refusal: no message may break the core."""
    try:
        events = list(decide(*given))
    except Refused as refusal:
        return f"refused: {refusal.code}"
    return ", ".join(_named(event) for event in events) or SILENT


def _named(event: Any) -> str:
    name = str(event.__struct_config__.tag).rsplit(".v", 1)[0]
    if isinstance(event, CallEnded):
        return f"{name} ({event.outcome} by {event.ended_by})"
    detail = getattr(event, "why", "") or (getattr(event, "reason", "") if not name.startswith("campaign.") else "")
    return f"{name} ({detail})" if detail else name


# -- a campaign -----------------------------------------------------------------------------------------------------


def campaign_in(status: Status, forced: bool = False) -> Campaign:
    ref = "" if status is Status.ABSENT else "c1"
    ran = AT if status in (Status.RUNNING, Status.STOPPING, Status.STOPPED, Status.DELETED) else 0
    return Campaign(
        ref=ref, name="Spring" if ref else "", status=status, forced=forced, last_run_at=ran, revision=3 if ref else 0
    )


def campaign_messages() -> dict[str, campaigns.CampaignCommand | campaigns.CampaignFact]:
    def create(name: str) -> campaigns.Create:
        return campaigns.Create(at=AT, by="m", ref="c1", name=name, mode=campaigns.Mode.PREVIEW, settings=Settings())

    return {
        "create, same body": create("Spring"),
        "create, other body": create("Autumn"),
        "rename": campaigns.Modify(at=AT, by="m", name="Autumn"),
        "edit settings": campaigns.Modify(at=AT, by="m", settings={"max_lines": 7}),
        "edit, nothing new": campaigns.Modify(at=AT, by="m", name="Spring", settings={"max_lines": 1_000}),
        "edit, old revision": campaigns.Modify(at=AT, by="m", name="Autumn", if_revision=2),
        "start": campaigns.Start(at=AT, by="m"),
        "stop": campaigns.Stop(at=AT, by="m"),
        "stop by force": campaigns.Stop(at=AT, by="m", force=True),
        "delete": campaigns.Delete(at=AT, by="m"),
        "clean, long after it ran": campaigns.Clean(at=LATER, by="m", after_ms=LATER - AT, reason="r"),
        "clean, soon after it ran": campaigns.Clean(at=LATER, by="m", after_ms=LATER - AT + 1, reason="r"),
        "fact: agents are there or known not to come": campaigns.AgentsReady(at=AT),
        "fact: every contact is final": campaigns.Completed(at=AT),
        "fact: no live call, no agent": campaigns.Drained(at=AT),
    }


def campaign_cells() -> Cells:
    return {
        (name, status.value): answer(campaigns.decide, campaign_in(status), message)
        for name, message in campaign_messages().items()
        for status in Status
    }


# -- a leg's observations -------------------------------------------------------------------------------------------


def observations(leg: str = LEG) -> dict[str, LegObservation]:
    def ended(cause: int, answered: bool, far_end: bool = False) -> LegEnded:
        return LegEnded(leg=leg, at=LATER, cause=cause, sip_code=0, answered=answered, ringing=True, far_end=far_end)

    def seen(state: LegState, ready: bool = False, bridged: bool = False) -> LegSeen:
        return LegSeen(leg=leg, at=LATER, channel="PJSIP/x-1", state=state, ready=ready, bridged=bridged)

    return {
        "created": LegCreated(leg=leg, at=LATER, channel="PJSIP/x-1"),
        "ringing": LegRinging(leg=leg, at=LATER),
        "answered": LegAnswered(leg=leg, at=LATER, channel="PJSIP/x-1"),
        "ready": LegReady(leg=leg, at=LATER, channel="PJSIP/x-1"),
        "bridged": LegBridged(leg=leg, at=LATER),
        "bridge refused": BridgeRefused(leg=leg, at=LATER, result="NONEXISTENT"),
        "recorded": LegRecorded(leg=leg, at=LATER),
        "recording refused": RecordingRefused(leg=leg, at=LATER, result="NO-MIXMONITOR"),
        "ended unanswered, busy (17)": ended(17, answered=False),
        "ended unanswered, normal (16)": ended(16, answered=False),
        "ended answered, by the far end": ended(16, answered=True, far_end=True),
        "ended answered, by our side": ended(16, answered=True),
        "originate rejected": OriginateRejected(leg=leg, at=LATER, reason="pbx-down"),
        "originate failed": OriginateFailed(leg=leg, at=LATER),
        "absent": LegAbsent(leg=leg, at=LATER),
        "seen, down": seen(LegState.DOWN),
        "seen, ringing": seen(LegState.RINGING),
        "seen, up": seen(LegState.UP),
        "seen, waiting in our dialplan": seen(LegState.UP, ready=True),
        "seen, bridged": seen(LegState.UP, bridged=True),
    }


# -- a call ---------------------------------------------------------------------------------------------------------


def call_in(
    status: CallStatus, hung_up_by: Party | None = None, doubt: Doubt | None = None, recording: str = ""
) -> Call:
    rank = calls.PROGRESS[status]

    def since(one: CallStatus) -> int:
        return AT + calls.PROGRESS[one] if rank >= calls.PROGRESS[one] else 0

    return Call(
        id=LEG,
        contact="k1",
        number=0,
        reservation="r1",
        agent="a1",
        trunk="carrier",
        status=status,
        asked_at=AT,
        agent_leg="a" * 32,
        requested_at=since(CallStatus.REQUESTED),
        ringing_at=since(CallStatus.RINGING),
        connected_at=since(CallStatus.CONNECTED),
        bridged_at=since(CallStatus.BRIDGED),
        hung_up_by=hung_up_by,
        doubt=doubt,
        recording=recording,
    )


SITUATIONS: dict[str, dict[str, Any]] = {
    "as it goes": {},
    "being hung up by the agent": {"hung_up_by": Party.AGENT},
    "after the PBX said that the originate failed": {"doubt": Doubt.ORIGINATE_FAILED},
    "to be recorded": {"recording": f"summer-24/2026-03-07/{LEG}.wav"},
}


def call_cells(situation: str) -> Cells:
    cells: Cells = {}
    for status in CallStatus:
        call = call_in(status, **SITUATIONS[situation])
        for name, seen in observations().items():
            cells[name, status.value] = answer(calls.decide, call, seen)
        overdue = CallOverdue(at=LATER, call=LEG)
        cells["silence", status.value] = answer(calls.decide, call, overdue)
        for restarted, name in ((False, "not listed after a reconnect"), (True, "not listed, the PBX restarted")):
            cells[name, status.value] = answer(calls.unlisted, call, LATER, restarted)
    return cells


# -- an agent's phone -----------------------------------------------------------------------------------------------


def agent_with(phone: Phone) -> Agent:
    leg = "" if phone is Phone.DOWN else LEG
    return Agent(id="a1", phone_name="desk1", phone=phone, leg=leg, channel="PJSIP/desk1-1" if leg else "")


def phone_cells() -> Cells:
    cells: Cells = {}
    for phone in Phone:
        agent = agent_with(phone)
        for name, seen in observations().items():
            cells[name, phone.value] = answer(agents.decide, agent, seen)
        overdue = PhoneOverdue(at=LATER, agent="a1", leg=LEG)
        cells["silence", phone.value] = answer(agents.decide, agent, overdue)
        for restarted, name in ((False, "not listed after a reconnect"), (True, "not listed, the PBX restarted")):
            cells[name, phone.value] = answer(agents.unlisted, agent, LATER, restarted)
    return cells


# -- a reservation --------------------------------------------------------------------------------------------------

GONE = "none"
TOKEN, OTHER_TOKEN = "t1", "t2"
PHASES = (GONE, *(phase.value for phase in Phase))


def book_with(phase: str) -> tuple[Book, Claims]:
    """A running campaign with one agent on the line and one contact, in the agent's hand as `phase` says."""
    book, claims = Book(), Claims(max_calls_in_setup=9)
    claims.pbx_up = True
    person = Person("k1", Details(numbers=("5551", "5552")))
    told: list[Any] = [
        *campaigns.decide(Campaign(), campaign_messages()["create, same body"]),
        campaigns.CampaignStarting(at=AT, by="m"),
        AgentAllocated(
            at=AT,
            agent="a1",
            phone="desk1",
            line=agents.Line.NAILED,
            default_state=agents.DefaultState.AVAILABLE,
            weight=1,
            by="m",
        ),
        AgentAsked(at=AT, agent="a1", wanted=agents.Wanted.AVAILABLE, reason="", by="m"),
        AgentArriving(at=AT, agent="a1"),
        agents.PhoneCalled(at=AT, agent="a1", leg="a" * 32),
        PhoneUp(at=AT, agent="a1", leg="a" * 32, channel="PJSIP/desk1-1"),
        AgentPresent(at=AT, agent="a1"),
        campaigns.CampaignRunning(at=AT),
    ]
    for event in told:
        book.apply(event)
    added = AddContacts(at=AT, by="m", contacts=(NewContact("k1", person),))
    _fold(book, preview.decide(book, added, claims)[0])
    if phase == GONE:
        return book, claims
    _fold(book, preview.decide(book, Next(at=AT, agent="a1", reservation="r1", token=TOKEN), claims)[0])
    if phase != Phase.OFFERED:
        dial = Dial(at=AT, agent="a1", reservation="r1", token=TOKEN, number=None, call=LEG, leg="b" * 32)
        _fold(book, preview.decide(book, dial, claims)[0])
    if phase == Phase.WRAPUP:
        call = book.calls[LEG]
        _fold(book, [calls.end(call, AT, Outcome.ANSWERED, Party.CONTACT, "")])
    return book, claims


def _fold(book: Book, events: Iterable[Any]) -> None:
    for event in events:
        book.apply(event)


def reservation_messages() -> dict[str, Any]:
    hand: dict[str, Any] = {"at": LATER, "agent": "a1", "reservation": "r1", "token": TOKEN}
    return {
        "next": Next(at=LATER, agent="a1", reservation="r2", token=OTHER_TOKEN),
        "dial": Dial(**hand, number=None, call="d" * 32, leg="e" * 32),
        "dial, a number that isn't the contact's": Dial(**hand, number="999", call="d" * 32, leg="e" * 32),
        "extend": Extend(**hand),
        "skip": Skip(**hand, reason="later"),
        "skip, stale token": Skip(**{**hand, "token": OTHER_TOKEN}, reason="later"),
        "release by the agent": Release(**hand, by="a1", reason=""),
        "release by a supervisor": Release(**{**hand, "token": None}, by="s", reason=""),
        "dispose": Dispose(**hand, disposition="engaged"),
        "dispose, to retry": Dispose(**hand, disposition="try_later"),
        "dispose, not one of the campaign's": Dispose(**hand, disposition="moon"),
        "cancel the contact": CancelContact(at=LATER, by="m", contact="k1", reason="asked not to be called"),
        "its time is up": ReservationDue(at=AT + 120_000, reservation="r1"),
        "a timer from before it was extended": ReservationDue(at=AT + 119_999, reservation="r1"),
    }


def reservation_cells() -> Cells:
    cells: Cells = {}
    for phase in PHASES:
        for name, message in reservation_messages().items():
            book, claims = book_with(phase)
            cells[name, phase] = answer(_preview, book, message, claims)
    return cells


def _preview(book: Book, message: Any, claims: Claims) -> Sequence[Any]:
    if isinstance(message, ReservationDue):
        return delivery.lapse(book, message)
    return preview.decide(book, message, claims)[0]


# -- the document ---------------------------------------------------------------------------------------------------


def table(cells: Cells, corner: str) -> str:
    rows = list(dict.fromkeys(row for row, _ in cells))
    columns = list(dict.fromkeys(column for _, column in cells))
    lines = [f"| {corner} | {' | '.join(columns)} |", f"|{'---|' * (len(columns) + 1)}"]
    lines += [f"| {row} | {' | '.join(cells[row, column] for column in columns)} |" for row in rows]
    return "\n".join(lines)


def diagram() -> str:
    """The campaign's moves, found by asking for each of them."""
    moves: dict[tuple[str, str], list[str]] = {}
    for name, message in campaign_messages().items():
        for status in Status:
            state = campaign_in(status)
            try:
                for event in campaigns.decide(state, message):
                    state = campaigns.evolve(state, event)
            except Refused:
                continue
            if state.status is not status:
                moves.setdefault((status.value, state.status.value), []).append(name.removeprefix("fact: "))
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> absent"]
    lines += [f"    {before} --> {after}: {' / '.join(names)}" for (before, after), names in moves.items()]
    return "\n".join([*lines, "```"])


INTRODUCTION = """\
# States

Written by `python -m simulations states` from what the core answers; don't edit it by hand. A cell names the events
that a message leads to in a state. `–` says nothing at all: a repeated command, a fact that is no news. Commands may be
refused, facts never are. What follows for others is in `engine/core/consequence.py`, what is asked of the PBX and the
timers in `engine/core/reaction.py`."""


def document() -> str:
    parts = [
        INTRODUCTION,
        "## Campaign",
        diagram(),
        table(campaign_cells(), "message"),
        "## Call",
        "The contact's leg has the call's id. `silence` is a timer: nothing was heard for longer than the leg can ring.",
    ]
    for situation in SITUATIONS:
        parts += [f"### {situation[0].upper() + situation[1:]}", table(call_cells(situation), "observation of the leg")]
    parts += [
        "## An agent's phone",
        table(phone_cells(), "observation of the leg"),
        "## Reservation",
        "In a running campaign; `none` is a reservation that is gone: lapsed, released or disposed of.",
        table(reservation_cells(), "message"),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Write docs/states.md."""
    DOCUMENT.write_text(document(), "utf-8", newline="\n")
    print(f"written: {DOCUMENT.name}")
