"""The order of delivery against a plain model of it: a sorted list."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.contact import FREE, Attempt, Contact, ContactStatus, Priority, pack, unpack
from engine.core.outcome import Outcome
from engine.core.personal import Details, Person
from engine.core.queue import BLOCK_CONTACTS, SPARE_PLACES, Kind, Line, Place, Queue
from engine.core.roll import Contacts

WALKS = 5


@pytest.mark.parametrize("seed", range(WALKS))
def test_a_line_is_in_order_of_rank_however_its_members_come_and_go(seed: int) -> None:
    chance, line, model = Random(seed), Line(), dict[int, str]()
    for rank in range(3 * BLOCK_CONTACTS):
        line.add(2 * rank, str(rank))
        model[2 * rank] = str(rank)
    for _ in range(6 * BLOCK_CONTACTS):
        if model and chance.random() < 0.6:
            rank = (
                chance.choice((next(iter(model)), chance.choice(list(model)))) if chance.random() < 0.1 else max(model)
            )
            line.remove(rank)
            del model[rank]
        else:
            rank = chance.randrange(8 * BLOCK_CONTACTS)
            if rank not in model:
                line.add(rank, f"new{rank}")
                model[rank] = f"new{rank}"
    assert list(line) == sorted(model.items())
    assert list(reversed(line)) == sorted(model.items(), reverse=True)
    for rank in sorted(model):
        line.remove(rank)
    assert list(line) == []
    line.add(7, "last")
    assert list(line) == [(7, "last")]


def test_members_in_the_middle_of_a_full_line_split_its_blocks() -> None:
    line = Line()
    ranks = [*range(0, 4 * BLOCK_CONTACTS, 2), *range(1, 4 * BLOCK_CONTACTS, 2)]
    for rank in ranks:
        line.add(rank, str(rank))
    assert [rank for rank, _ in line] == sorted(ranks)


@pytest.mark.parametrize("seed", range(WALKS))
def test_a_queue_delivers_what_a_sorted_list_would(seed: int) -> None:
    """given places put and dropped at random, and a clock that now and then goes back,
    then first, upcoming and next_due_at are those of the model
    """
    chance, queue = Random(seed), Queue()
    model: dict[str, tuple[Place, bool]] = {}
    at = 1_000
    for rank in range(3_000):
        at += chance.choice((0, 1, 7, -5))
        ref = f"k{chance.randrange(chance.choice((4, 60)))}"
        if ref in model:
            queue.drop(*model.pop(ref))
        if chance.random() < 0.7:
            kind = chance.choice(list(Kind))
            order = rank if kind is Kind.FRESH else at + chance.randrange(-20, 200)
            place = Place(chance.randrange(3), kind, order, rank, ref)
            model[ref] = place, chance.random() < 0.3
            queue.put(*model[ref])
        ready = sorted(place for place, _ in model.values() if place.due_at <= at)
        assert queue.first(at) == (ready[0] if ready else None)
        assert queue.upcoming(at, 4) == ready[:4]
        assert queue.first(at) == (ready[0] if ready else None)
        if not ready:  # what is due comes before what will be, so only then anybody asks
            assert queue.next_due_at() == min((place.due_at for place, _ in model.values()), default=None)
        loose = [place.ref for place, tied in model.values() if not tied]
        for newest in (False, True):
            assert sorted(queue.loose(newest)) == sorted(loose)
        fresh = sorted((one.rank, one.ref) for one, tied in model.values() if one.kind is Kind.FRESH and not tied)
        assert list(queue.loose(newest=False))[: len(fresh)] == [one for _, one in fresh]
        assert list(queue.loose(newest=True))[: len(fresh)] == [one for _, one in reversed(fresh)]


def test_places_that_no_longer_count_do_not_pile_up() -> None:
    queue = Queue()
    place = Place(2, Kind.RETRY, 10_000_000, 0, "k1")
    queue.put(place, tied=False)
    for _ in range(20 * SPARE_PLACES):
        queue.drop(place, tied=False)
        place = place._replace(order=place.order - 1)
        queue.put(place, tied=False)
    assert len(queue._later) <= SPARE_PLACES + 3
    assert queue.next_due_at() == place.due_at


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
    assert unpack(contact.ref, packed) == contact
    assert pack(unpack(contact.ref, packed)) == packed


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
    monkeypatch.setattr("engine.core.roll.MAX_UNPACKED", 3)
    contacts = Contacts()
    for rank in range(5):
        contacts.put(Contact(ref=f"k{rank}", person=Person(f"k{rank}", Details(numbers=("5",))), rank=rank))
    for times in range(1, 4):
        for ref in list(contacts.by_ref):
            contacts.change(ref, disposed=times)
            assert contacts.by_ref[ref].disposed == times
            assert len(contacts.by_ref._unpacked) <= 3
        for ref, contact in contacts.by_ref.items():
            assert contact == unpack(ref, contacts.by_ref.rows[ref])


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
