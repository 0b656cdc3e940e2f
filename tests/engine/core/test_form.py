"""SG-20: what is noted down with a disposition; closing many contacts at once."""

from typing import Any

import msgspec
import pytest

from engine.core.contact import ContactStatus, NewContact, pack, unpack
from engine.core.form import MAX_ANSWER_CHARS, Field, answers_of, check
from engine.core.message import Dispose, DisposeAll
from engine.core.personal import Details, Person
from engine.core.refusal import Refused
from engine.core.reservation import ContactDisposed, Phase
from tests.engine.conversation import Conversation, replayed, restored

FORM: list[dict[str, Any]] = [
    {"name": "city", "label": "City", "required": True},
    {"name": "rooms", "type": "number"},
    {"name": "since", "type": "date"},
    {"name": "kind", "type": "choice", "choices": ["flat", "house"]},
    {"name": "agreed", "type": "boolean"},
]
FIELDS = msgspec.convert(FORM, tuple[Field, ...])
FULL = {"city": "Roma", "rooms": 3.5, "since": "2024-02-29", "kind": "flat", "agreed": False}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "data.city"),
        ({"city": " "}, "data.city"),
        ({"city": None}, "data.city"),
        ({"city": 7}, "data.city"),
        ({"city": "x" * (MAX_ANSWER_CHARS + 1)}, "data.city"),
        ({**FULL, "town": "x"}, "data.town"),
        ({**FULL, "rooms": "3"}, "data.rooms"),
        ({**FULL, "rooms": True}, "data.rooms"),
        ({**FULL, "rooms": float("inf")}, "data.rooms"),
        ({**FULL, "rooms": 10**15 + 1}, "data.rooms"),
        ({**FULL, "since": "2023-02-29"}, "data.since"),
        ({**FULL, "since": "1900-02-29"}, "data.since"),
        ({**FULL, "since": "24-02-29"}, "data.since"),
        ({**FULL, "since": "2024-11-31"}, "data.since"),
        ({**FULL, "since": "2024-11-30\n"}, "data.since"),
        ({**FULL, "kind": "tent"}, "data.kind"),
        ({**FULL, "kind": ["flat"]}, "data.kind"),
        ({**FULL, "agreed": "yes"}, "data.agreed"),
        ({**FULL, "agreed": 1}, "data.agreed"),
    ],
)
def test_SG_20_what_does_not_fit_the_form_is_named(given: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as refused:
        check(FIELDS, given, missing_allowed=False)
    assert (refused.value.code, refused.value.field) == ("invalid-request", field)


def test_what_fits_is_kept_as_what_it_was() -> None:
    assert check(FIELDS, FULL, missing_allowed=False) == FULL
    assert check(FIELDS, {"rooms": 0}, missing_allowed=True) == {"rooms": 0}
    assert check(FIELDS, {"city": "2000-02-29", "since": "2000-02-29"}, missing_allowed=False)["since"] == "2000-02-29"


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ([{"name": "a"}, {"name": "a"}], "settings.form"),
        ([{"name": "a b"}], "settings.form[0].name"),
        ([{"name": "a", "type": "choice"}], "settings.form[0].choices"),
        ([{"name": "a"}, {"name": "b", "choices": ["x"]}], "settings.form[1].choices"),
        ([{"name": "a", "type": "choice", "choices": ["x", "x"]}], "settings.form[0].choices"),
        ([{"name": "a", "type": "colour"}], "settings.form[0].type"),
    ],
)
def test_a_form_that_makes_no_sense_is_refused(form: list[dict[str, Any]], field: str) -> None:
    talk = Conversation()
    with pytest.raises(Refused) as refused:
        talk.edit(form=form)
    assert refused.value.field == field


def closing(talk: Conversation, agent: str, **data: Any) -> Dispose:
    held = talk.hand(agent)
    return Dispose(at=talk.at, agent=agent, reservation=held.id, token=held.token, disposition="try_later", data=data)


def in_hand(**settings: Any) -> Conversation:
    talk = Conversation(form=FORM, dispose_without_attempt=True, **settings)
    talk.running("a1", contacts={"k1": ["5551"]})
    talk.next("a1")
    return talk


def test_SG_20_required_data_missing_is_refused_unless_the_campaign_says_otherwise() -> None:
    talk = in_hand()
    assert talk.refused(closing(talk, "a1", rooms=2)) == "invalid-request"
    assert "k1" in [one.contact for one in talk.book.reservations.values()]
    talk.edit(dispose_with_missing_data=True)
    assert answers_of(talk.when(closing(talk, "a1", rooms=2)).one(ContactDisposed).form) == {"rooms": 2}


def test_SG_20_what_was_noted_down_is_the_persons_own_and_survives_a_crash() -> None:
    talk = in_hand()
    disposed = talk.when(closing(talk, "a1", **FULL)).one(ContactDisposed)
    assert isinstance(disposed.form, Person)  # which the codec seals, for its subject
    assert disposed.form.subject == talk.book.contacts.by_ref["k1"].person.subject
    talk.crash()
    assert answers_of(talk.book.contacts.by_ref["k1"].form) == FULL
    snapshot = talk.book.snapshot()
    again = restored(snapshot)
    assert answers_of(again.contacts.by_ref["k1"].form) == FULL
    # A later disposition that says nothing leaves the last form as it was.
    talk.wait(3_600_000)
    talk.next("a1")
    talk.edit(form=[])
    talk.when(closing(talk, "a1"))
    assert answers_of(talk.book.contacts.by_ref["k1"].form) == FULL


def test_SG_20_with_the_person_what_was_noted_down_is_erased() -> None:
    talk = in_hand()
    talk.when(closing(talk, "a1", **FULL))
    known = talk.book.contacts.by_ref["k1"]
    erased = msgspec.structs.replace(known, person=Person("k1", None), form=Person("k1", None))
    half = msgspec.structs.replace(known, person=Person("k1", None))
    for one in (erased, half):
        assert answers_of(unpack(pack(one)).form) == {}
        assert b"Roma" not in pack(one)


# -- many at once -----------------------------------------------------------------------------------------------------


def many(talk: Conversation, *contacts: str, agent: str = "", disposition: str = "no_contact") -> dict[str, str]:
    """Close contacts; why not, by ref, for those that weren't."""
    by = agent or "sam"
    said = talk.when(DisposeAll(at=talk.at, by=by, agent=agent, contacts=contacts, disposition=disposition))
    return {ref: refused.code for ref, refused in said.reply.items()}


def several(**settings: Any) -> Conversation:
    """Given two agents at work, a1 with k1 in hand, k2 assigned to a1, k3 to a2, k4 to nobody."""
    talk = Conversation(dispose_without_attempt=True, stop_when_completed=False, **settings)
    owners = {"k1": "a1", "k2": "a1", "k3": "a2", "k4": ""}
    new = [
        NewContact(ref, Person(ref, Details(numbers=(f"555{place}",))), agent=owner)
        for place, (ref, owner) in enumerate(owners.items())
    ]
    talk.running("a1", "a2", contacts={})
    talk.add_as(*new)
    talk.next("a1")
    return talk


def test_SG_20_agents_dispose_in_bulk_only_where_they_may_and_only_of_their_own() -> None:
    talk = several()
    closing = DisposeAll(at=talk.at, by="a1", agent="a1", contacts=("k1",), disposition="no_contact")
    assert talk.refused(closing) == "bulk-not-open"
    talk.edit(agents_dispose_in_bulk=True)
    talk.next("a2")  # k3
    assert many(talk, "k1", "k2", "k3", "k4", "k9", "k1", agent="a1") == {
        "k3": "contact-held",
        "k4": "contact-not-yours",
        "k9": "unknown-contact",
    }
    disposed = talk.last.all(ContactDisposed)
    assert [(one.contact, one.agent, one.by) for one in disposed] == [("k1", "a1", ""), ("k2", "", "a1")]
    assert not talk.book.agents["a1"].reservation
    assert talk.hand("a2").contact == "k3"
    assert many(talk, "k1", agent="a1") == {"k1": "contact-closed"}


def test_SG_20_supervisors_always_dispose_in_bulk_and_never_of_a_live_call() -> None:
    talk = several()
    talk.next("a2")
    talk.dial("a2")
    assert many(talk, "k1", "k3", "k4") == {"k3": "reservation-in-call"}
    assert [(one.contact, one.agent, one.by) for one in talk.last.all(ContactDisposed)] == [
        ("k1", "a1", "sam"),
        ("k4", "", "sam"),
    ]
    assert talk.hand("a2").phase is Phase.DIALING
    assert talk.book.contacts.counts[ContactStatus.FINAL] == 2


def test_closing_a_contact_that_nobody_holds_leaves_what_is_in_hand() -> None:
    talk = several(agents_dispose_in_bulk=True)
    many(talk, "k2", agent="a1", disposition="try_later")
    assert talk.hand("a1").contact == "k1"
    assert talk.book.contacts.by_ref["k2"].status is ContactStatus.RETRY
    assert replayed(talk.log).canonical() == talk.book.canonical()


def test_what_is_wrong_with_all_refuses_all() -> None:
    talk = several()
    for disposition, settings in (("nothing", {}), ("callback", {}), ("no_contact", {"form": FORM})):
        talk.edit(**settings)
        closing = DisposeAll(at=talk.at, by="sam", agent="", contacts=("k1", "k2"), disposition=disposition)
        assert talk.refused(closing) == "invalid-request"
    talk.edit(form=[], dispose_without_attempt=False)
    assert many(talk, "k2") == {"k2": "no-attempt"}
