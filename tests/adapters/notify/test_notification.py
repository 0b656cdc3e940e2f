"""Given any event of a campaign's log, then it is decided what clients are told of it, and no secret is part of that."""

from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from adapters.notify.notification import SILENT, fact_of, is_told, notification_of, rfc3339
from engine.core.agent import AgentRemoved, AgentStatus, AgentStatusChanged
from engine.core.book import Book, Event
from engine.core.call import CallBridged, CallRinging
from engine.core.campaign import CampaignDeleted, CampaignRunning, CampaignStopped, CampaignStopping, SettingsChanged
from engine.core.contact import ContactCancelled, ContactsAdded, ContactsAssigned, ContactsUpcoming, NewContact
from engine.core.form import sealed
from engine.core.personal import Person
from engine.core.reservation import ContactDisposed, ContactReleased, Release
from engine.ports import Recorded
from tests.adapters.notify.house import opening, talk

EVERY = get_args(Event)
TOLD = {
    "CampaignCreated": "campaign.created",
    "CampaignRenamed": "campaign.renamed",
    "SettingsChanged": "campaign.settings_changed",
    "CampaignStarting": "campaign.status",
    "CampaignRunning": "campaign.status",
    "CampaignStopping": "campaign.status",
    "StopForced": "campaign.stop_forced",
    "CampaignStopped": "campaign.status",
    "TargetReached": "campaign.target_reached",
    "CampaignDeleted": "campaign.deleted",
    "AgentAllocated": "agent.allocated",
    "AgentRemoved": "agent.removed",
    "AgentStatusChanged": "agent.status",
    "ContactsAdded": "contacts.added",
    "ContactsReplaced": "contacts.replaced",
    "ContactsAssigned": "contacts.assigned",
    "ContactsUpcoming": "contacts.upcoming",
    "ContactExhausted": "contact.exhausted",
    "DialRefused": "contact.dial_refused",
    "ImportStarted": "import.started",
    "ImportFinished": "import.finished",
    "ContactCancelled": "contact.cancelled",
    "ContactErased": "contact.erased",
    "ContactReserved": "contact.reserved",
    "ReservationExtended": "contact.reservation_extended",
    "ContactReleased": "contact.released",
    "ContactDisposed": "contact.disposed",
    "CallRequested": "call.requested",
    "CallRinging": "call.ringing",
    "CallConnected": "call.connected",
    "CallBridged": "call.bridged",
    "CallEnded": "call.ended",
}


def sample(kind: type) -> Any:
    """An event with some value in every field."""
    values: dict[str, Any] = {}
    for name, type_ in get_type_hints(kind).items():
        if name == "contacts" and kind is ContactsUpcoming:
            values[name] = ("c",)
        elif name == "contacts" and kind is ContactsAssigned:
            values[name] = {"a": ("c",)}
        elif name == "contacts":
            values[name] = (NewContact("c", Person("c", None)),)
        elif name == "form":
            values[name] = sealed("c", {"note": "x"})
        elif type_ in (int, str, bool):
            values[name] = type_(1)
        elif isinstance(type_, type) and issubclass(type_, str):
            values[name] = next(iter(type_))  # type: ignore[call-overload]  # an enum
        elif isinstance(type_, type):
            values[name] = type_()
        else:
            values[name] = {}
    return kind(**values)


def told(event: Event, book: Book | None = None) -> tuple[str, dict[str, Any]]:
    found = notification_of("sales", Recorded(1, "s", 1, event), book)
    assert found is not None
    return found


def book_of(*events: Event) -> Book:
    book = Book()
    for event in events:
        book.apply(event)
    return book


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_event_is_told_or_silent_by_its_type_alone(kind: type) -> None:
    event = sample(kind)
    fact = fact_of("sales", event)
    assert (fact.type if fact else None) == TOLD.get(kind.__name__)
    assert is_told(event) == (fact is not None)


def test_every_silence_is_of_an_event_that_exists() -> None:
    assert set(EVERY) >= SILENT
    assert len(EVERY) == len(SILENT) + len(TOLD)


@pytest.mark.parametrize("kind", [kind for kind in EVERY if kind not in SILENT], ids=lambda kind: kind.__name__)
def test_no_notification_carries_a_token_or_a_secret(kind: type) -> None:
    event = sample(kind)
    for name in ("token", "secret"):
        if name in kind.__struct_fields__:  # type: ignore[attr-defined]
            event = msgspec.structs.replace(event, **{name: "do-not-tell"})
    body = msgspec.json.encode(told(event))
    assert b"do-not-tell" not in body
    assert b"token" not in body


@pytest.mark.parametrize("erased", [False, True])
def test_SG_20_what_was_noted_down_is_told_while_the_person_is_known(erased: bool) -> None:
    events = opening("sales")
    book = book_of(*events)
    contact = next(iter(book.contacts.by_ref))
    disposed = msgspec.structs.replace(sample(ContactDisposed), contact=contact)
    if erased:
        book.contacts.change(contact, person=Person(contact, None))
    _, data = told(disposed, book)
    assert data["data"] == (None if erased else {"note": "x"})
    assert told(disposed)[1]["data"] is None  # the campaign is gone, and with it who it was


def test_tf_34_connected_carries_contact_call_number_campaign_and_data() -> None:
    """TF-34: all that a desktop shows is in the notification itself."""
    events = [*opening("sales"), *talk("sales", 2)]
    connected = next(one for one in events if type(one).__name__ == "CallConnected")
    assert told(connected, book_of(*events)) == (
        "call.connected",
        {
            "call": "sales-call-0",
            "contact": "sales:2",
            "agent": "ann",
            "number": "+49400002",
            "number_index": 1,
            "campaign": "sales",
            "name": "Person 2",
            "data": {"n": "2"},
        },
    )


def test_the_call_record_says_how_it_ended() -> None:
    events = [*opening("sales"), *talk("sales", 1)]
    kind, data = told(next(one for one in events if type(one).__name__ == "CallEnded"), book_of(*events))
    assert kind == "call.ended"
    assert data == {
        "call": "sales-call-0",
        "contact": "sales:1",
        "agent": "ann",
        "number": "+49400001",
        "number_index": 1,
        "outcome": "answered",
        "ended_by": "contact",
        "reason": "",
        "cause": 16,
        "sip_code": 200,
        "ring_ms": 10,
        "talk_ms": 20,
        "recording": None,
        "recording_fault": None,
    }


@pytest.mark.parametrize("event", [CallRinging(at=1, call="sales-call-0"), CallBridged(at=1, call="sales-call-0")])
def test_progress_names_the_contact_and_the_agent(event: Event) -> None:
    _, data = told(event, book_of(*opening("sales"), *talk("sales", 1)))
    assert data == {"call": "sales-call-0", "contact": "sales:1", "agent": "ann"}


def test_details_of_the_erased_are_null() -> None:
    """Given a person whose key is gone, or no campaign at all, then what was decided stays readable, the person isn't."""
    events = [*opening("sales"), *talk("sales", 1)]
    connected = next(one for one in events if type(one).__name__ == "CallConnected")
    gone = ContactsAdded(at=1, rank=1, contacts=(NewContact("sales:1", Person("sales:1", None)),), by="x")
    for book in (book_of(gone), book_of(*events, CampaignDeleted(at=1, by="x")), None):
        _, data = told(connected, book)
        assert (data["number"], data["name"], data["data"]) == (None, None, None)
        assert (data["contact"], data["number_index"]) == ("sales:1", 1)


def test_a_batch_of_contacts_is_told_by_count_without_the_people() -> None:
    kind, data = told(opening("sales", 3)[1])
    assert (kind, data) == ("contacts.added", {"count": 3, "first": "sales:1", "last": "sales:3", "by": "manager"})


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (CampaignRunning(at=1), {"state": "running", "reason": None, "by": None}),
        (CampaignStopping(at=1, by="m", reason="requested"), {"state": "stopping", "reason": "requested", "by": "m"}),
        (CampaignStopped(at=1, reason="completed"), {"state": "stopped", "reason": "completed", "by": None}),
        (
            AgentStatusChanged(at=1, agent="ann", status=AgentStatus.OFFLINE, reason="phone-busy"),
            {"agent": "ann", "state": "offline", "reason": "phone-busy"},
        ),
        (AgentRemoved(at=1, agent="ann"), {"agent": "ann"}),
        (
            SettingsChanged(at=1, old={"max_lines": 1}, new={"max_lines": 2}, by="m"),
            {"old": {"max_lines": 1}, "new": {"max_lines": 2}, "by": "m"},
        ),
        (ContactCancelled(at=1, contact="c", reason="dnc", by="m"), {"contact": "c", "reason": "dnc", "by": "m"}),
        (
            ContactReleased(
                at=1, contact="c", agent="ann", reservation="r", reason=Release.SKIPPED, note="later", rank=4
            ),
            {"contact": "c", "agent": "ann", "reservation": "r", "reason": "skipped", "note": "later", "due_at": None},
        ),
    ],
)
def test_what_each_says(event: Event, expected: dict[str, Any]) -> None:
    assert told(event)[1] == expected


def test_a_reservation_tells_when_it_ends_and_not_its_token() -> None:
    _, data = told(talk("sales", 1)[0])
    assert data == {
        "contact": "sales:1",
        "agent": "ann",
        "reservation": "sales-res-0",
        "expires_at": "2023-11-14T22:13:20.009Z",
    }


@pytest.mark.parametrize(
    ("at", "text"), [(0, "1970-01-01T00:00:00.000Z"), (1_700_000_000_123, "2023-11-14T22:13:20.123Z")]
)
def test_times_are_rfc_3339_in_utc(at: int, text: str) -> None:
    assert rfc3339(at) == text
