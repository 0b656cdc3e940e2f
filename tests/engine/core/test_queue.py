"""The order of delivery against a plain model of it: a sorted list."""

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.contact import (
    FREE,
    Attempt,
    Contact,
    ContactsAdded,
    ContactStatus,
    NewContact,
    Priority,
    pack,
    pack_new,
    unpack,
)
from engine.core.outcome import Outcome
from engine.core.personal import Details, Person
from engine.core.queue import BLOCK_CONTACTS, Kind, Line, Member, Place, Queue
from engine.core.roll import Contacts, evolve

WALKS = 5


@pytest.mark.parametrize("seed", range(WALKS))
@pytest.mark.parametrize("is_tied", [False, True], ids=["by order", "by rank among equals"])
def test_a_line_is_in_order_however_its_members_come_and_go(seed: int, is_tied: bool) -> None:
    def key(rank: int) -> tuple[int, int]:
        return (rank // 3, rank) if is_tied else (rank, 0)

    chance, line, model = Random(seed), Line(), dict[tuple[int, int], int]()
    for row in range(3 * BLOCK_CONTACTS):
        model[key(2 * row)] = row
        line.add(*key(2 * row), row)
    for _ in range(6 * BLOCK_CONTACTS):
        if model and chance.random() < 0.6:
            gone = (
                chance.choice((next(iter(model)), chance.choice(list(model)))) if chance.random() < 0.1 else max(model)
            )
            line.remove(*gone)
            del model[gone]
        else:
            new = key(chance.randrange(8 * BLOCK_CONTACTS))
            if new not in model:
                line.add(*new, 7)
                model[new] = 7
    members = [(*one, row) for one, row in sorted(model.items())]
    assert list(line) == members
    assert list(reversed(line)) == members[::-1]
    assert list(Line.of(line.still())) == members
    for order in (-1, 0, members[len(members) // 2][0], members[-1][0] - 1, members[-1][0]):
        assert line.behind(order) == next((one for one, _, _ in members if one > order), None)
    for one in sorted(model):
        line.remove(*one)
    assert list(line) == []
    line.add(7, 1, 3)
    assert list(line) == [(7, 1, 3)]


def test_members_in_the_middle_of_a_full_line_split_its_blocks() -> None:
    line = Line()
    ranks = [*range(0, 4 * BLOCK_CONTACTS, 2), *range(1, 4 * BLOCK_CONTACTS, 2)]
    for rank in ranks:
        line.add(rank, rank, rank)
    assert [rank for rank, _, _ in line] == sorted(ranks)


@pytest.mark.parametrize("seed", range(WALKS))
def test_a_queue_delivers_what_a_sorted_list_would(seed: int) -> None:
    """given places put and dropped at random, and a clock that now and then goes back,
    then first, upcoming and next_due_at are those of the model
    """
    chance, queue = Random(seed), Queue()
    model: dict[int, tuple[Place, bool]] = {}
    at = 1_000
    for rank in range(3_000):
        at += chance.choice((0, 1, 7, -5))
        row = chance.randrange(chance.choice((4, 60)))
        if row in model:
            queue.drop(*model.pop(row))
        if chance.random() < 0.7:
            kind = chance.choice(list(Kind))
            order = rank if kind is Kind.FRESH else at + chance.randrange(-20, 200)
            place, is_tied = Place(chance.randrange(3), kind, order, rank), chance.random() < 0.3
            model[row] = place, is_tied
            queue.put(place, row, is_tied)
        ready = sorted(Member(place, row) for row, (place, _) in model.items() if place.due_at <= at)
        assert queue.first(at) == (ready[0] if ready else None)
        assert queue.upcoming(at, 4) == ready[:4]
        assert queue.next_due_at(at) == min((one.due_at for one, _ in model.values() if one.due_at > at), default=None)
        loose = {row: place for row, (place, is_tied) in model.items() if not is_tied}
        fresh = sorted(loose, key=lambda row: (loose[row].due_at, loose[row].rank))
        back = [row for row in fresh if loose[row].due_at]
        fresh = [row for row in fresh if not loose[row].due_at]
        assert list(queue.loose(newest=False)) == fresh + back
        assert list(queue.loose(newest=True)) == fresh[::-1] + back[::-1]
        if rank % 100 == 0:
            lines = queue.still()
            again = Queue.of([line for line, _ in lines], iter([one for _, columns in lines for one in columns]))
            assert again.upcoming(at, 60) == queue.upcoming(at, 60)


TEXT = st.text(max_size=8)
ATTEMPTS = st.builds(
    Attempt, call=TEXT, number=st.integers(0, 9), outcome=st.sampled_from(Outcome), at=st.integers(0, 2**48)
)
PEOPLE = st.builds(
    Details, numbers=st.lists(TEXT, max_size=3).map(tuple), name=TEXT, data=st.dictionaries(TEXT, TEXT, max_size=3)
)


@given(
    contact=st.builds(
        Contact,
        ref=TEXT,
        person=st.builds(Person, TEXT, st.none() | PEOPLE),
        rank=st.integers(0, 2**60),
        status=st.sampled_from(ContactStatus),
        priority=st.sampled_from(Priority),
        agent=TEXT,
        fixed=st.booleans(),
        zone=TEXT,
        tags=st.lists(TEXT, max_size=2).map(tuple),
        external_id=TEXT,
        consent_until=st.integers(0, 2**48),
        due_at=st.integers(0, 2**48),
        callback=TEXT,
        reservation=TEXT,
        disposition=TEXT,
        disposed=st.integers(0, 99),
        attempts=st.lists(ATTEMPTS, max_size=2).map(tuple),
    )
)
def test_a_packed_contact_comes_out_as_it_went_in(contact: Contact) -> None:
    packed = pack(contact)
    assert unpack(packed) == contact
    assert pack(unpack(packed)) == packed


def test_contacts_are_read_by_ref_in_order_of_arrival() -> None:
    contacts = Contacts()
    for rank in range(10):
        contacts.put(Contact(ref=f"k{rank}", person=Person(f"k{rank}", Details(numbers=(f"555{rank}",))), rank=rank))
    roll = contacts.by_ref
    assert list(roll) == [one.ref for one in roll.values()] == [f"k{rank}" for rank in range(10)]
    assert "k3" in roll
    assert "k10" not in roll
    assert roll.get("k10") is None
    assert [one.ref for one in roll.page(8, 5)] == ["k8", "k9"]
    walk = roll.walk(4)
    assert [one.ref for one in next(walk)] == ["k0", "k1", "k2", "k3"]
    contacts.change("k5", status=ContactStatus.CANCELLED)
    assert [(one.ref, one.status) for one in next(walk)][1] == ("k5", ContactStatus.CANCELLED)
    contacts.put(Contact(ref="k10", person=Person("k10", None), rank=10))
    assert [one.ref for page in walk for one in page] == ["k8", "k9", "k10"]
    first = contacts.first(0, FREE)
    assert first is not None
    assert first == roll["k0"]


def test_a_contact_is_read_as_it_is_now_however_many_are_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.core.roll.MAX_IN_HAND", 3)
    contacts = Contacts()
    for rank in range(5):
        contacts.put(Contact(ref=f"k{rank}", person=Person(f"k{rank}", Details(numbers=("5",))), rank=rank))
    for times in range(1, 4):
        for ref in list(contacts.by_ref):
            contacts.change(ref, disposed=times)
            assert contacts.by_ref[ref].disposed == times
            assert len(contacts.by_ref._in_hand) <= 3
        still = Contacts.of(contacts.still())
        assert list(still.by_ref.items()) == list(contacts.by_ref.items())
        assert {one.disposed for page in contacts.by_ref.walk(2) for one in page} == {times}


def test_contacts_are_found_by_number_however_it_is_written() -> None:
    contacts = Contacts()
    for ref, details in (
        ("k1", Details(numbers=("+34910000001", "+34680000001"))),
        ("k2", Details(numbers=("34680000001",))),
        ("k3", Details(numbers=("5",), name="34680000001")),  # it isn't one of the numbers
        ("k4", Details(numbers=("+346800000011",))),  # a longer one
    ):
        contacts.put(Contact(ref=ref, person=Person(ref, details), rank=len(contacts) + 1))
    contacts.put(Contact(ref="k5", person=Person("k5", None), rank=9))
    for written in ("+34680000001", "34680000001"):
        pages = list(contacts.by_ref.walk(3, written))
        assert [[one.ref for one in page] for page in pages] == [["k1", "k2"], []]


@pytest.mark.parametrize("seed", range(WALKS))
def test_contacts_that_come_by_thousands_stand_as_if_each_had_been_put(seed: int) -> None:
    """given new contacts of all kinds in events of all sizes, and some of them moved between two events,
    then rows, counts, ids and queues are those of contacts that were put one by one
    """
    chance, together, singly = Random(seed), Contacts(), Contacts()
    for size in (1, 3, BLOCK_CONTACTS, 2 * BLOCK_CONTACTS + 7, 5):
        first = together.next_rank
        new = tuple(_some_new(chance, f"k{first + place}") for place in range(size))
        evolve(together, ContactsAdded(at=1, rank=first, contacts=new, by="m"))
        for rank, one in enumerate(new, first):
            singly.put(unpack(pack_new(one, rank)))
            assert pack(singly.by_ref[one.ref]) == pack_new(one, rank)
        singly.next_rank = first + size
        for one in chance.sample(new, min(size, 50)):
            for contacts in (together, singly):
                contacts.change(one.ref, status=ContactStatus.CANCELLED)
        assert _told(together) == _told(singly)


def test_a_log_that_adds_a_contact_again_is_believed() -> None:
    contacts, details = Contacts(), Details(numbers=("5",))
    for rank, name in ((1, "Ann"), (2, "Bo")):
        person = Person("k1", msgspec.structs.replace(details, name=name))
        evolve(contacts, ContactsAdded(at=1, rank=rank, contacts=(NewContact("k1", person),), by="m"))
    first = contacts.first(0, FREE)
    assert first is not None
    assert (first.person.details, first.rank) == (Details(numbers=("5",), name="Bo"), 2)
    assert contacts.counts[ContactStatus.WAITING] == contacts.dealt[FREE] == len(contacts) == 1


def test_a_log_whose_ranks_go_back_leaves_a_queue_in_order() -> None:
    contacts = Contacts()
    for rank, refs in ((1, "abc"), (2, "d"), (3, "e"), (4, "f")):
        new = tuple(NewContact(ref, Person(ref, None)) for ref in refs)
        evolve(contacts, ContactsAdded(at=1, rank=rank, contacts=new, by="m"))
    assert [one.ref for one in contacts.upcoming(0, FREE, 9)][:2] == ["a", "b"]
    contacts.change("b", status=ContactStatus.CANCELLED)
    contacts.change("f", status=ContactStatus.CANCELLED)
    assert contacts.next_rank == 5


def _some_new(chance: Random, ref: str) -> NewContact:
    details = Details(numbers=(f"+57{chance.randrange(10**9)}",), name=chance.choice(("", "Zoë")), data={"city": "x"})
    return NewContact(
        ref,
        Person(chance.choice((ref, "another")), chance.choice((None, details))),
        chance.choice(tuple(Priority)),
        agent=chance.choice(("", "", "anna", "bo")),
        zone=chance.choice(("", "America/Bogota")),
        tags=chance.choice(((), ("vip",))),
        external_id=chance.choice(("", f"crm{ref}")),
        consent_until=chance.choice((0, 5)),
    )


def _told(contacts: Contacts) -> tuple[object, ...]:
    still = contacts.still()
    queues = {
        owner: {key: list(line) for key, line in queue._lines.items()} for owner, queue in contacts.queues.items()
    }
    return list(still.rows), contacts._external, still.counts, still.dealt, still.next_rank, queues
