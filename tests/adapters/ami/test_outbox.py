from adapters.ami.outbox import Outbox
from adapters.ami.settings import AGENTS_WAITING_MAX_ORIGINATES, URGENT_MAX_ACTIONS
from engine.core.telephony import HangUp, OriginateAgent, OriginateContact


def dial(i: int) -> OriginateContact:
    return OriginateContact(leg=f"{i:032x}", trunk="t", number="155", ring_timeout_ms=1, caller_id="")


def ring(i: int) -> OriginateAgent:
    return OriginateAgent(leg=f"a{i:031x}", phone=f"p{i}", ring_timeout_ms=1, caller_id="")


def taken(outbox: Outbox, now_s: float) -> list[object]:
    return list(iter(lambda: outbox.take(now_s), None))


def test_hangups_go_before_originates() -> None:
    outbox = Outbox(50, 10)
    outbox.put(dial(1))
    outbox.put(HangUp(leg="a"))

    assert taken(outbox, 1.0) == [HangUp(leg="a"), dial(1)]


def test_originates_keep_their_pace_however_they_are_asked_for() -> None:
    outbox = Outbox(50, 10_000)
    for i in range(10_000):
        outbox.put(dial(i))

    sent = sum(len(taken(outbox, 100.0 + ms / 1000)) for ms in range(0, 10_000, 7))

    assert 490 <= sent <= 505  # 50 a second for ten seconds, and the first burst


def test_the_pace_holds_hangups_back_never() -> None:
    outbox = Outbox(1, 10)
    for i in range(3):
        outbox.put(dial(i))
    assert len(taken(outbox, 1.0)) == 1

    outbox.put(HangUp(leg="a"))

    assert taken(outbox, 1.0) == [HangUp(leg="a")]
    assert 0 < outbox.wait_s(1.0) <= 1


def test_a_full_queue_says_so_and_hangups_have_room_of_their_own() -> None:
    outbox = Outbox(1, 2)

    assert [outbox.put(dial(i)) for i in range(3)] == [True, True, False]
    assert outbox.put(HangUp(leg="a"))


def test_even_hangups_are_bounded() -> None:
    outbox = Outbox(1, 1)

    assert all(outbox.put(HangUp(leg="a")) for _ in range(URGENT_MAX_ACTIONS))
    assert not outbox.put(HangUp(leg="a"))


def test_clearing_tells_which_originates_were_never_sent() -> None:
    outbox = Outbox(1, 10)
    for i in range(3):
        outbox.put(dial(i))
    outbox.put(HangUp(leg="a"))
    taken(outbox, 1.0)

    assert outbox.clear() == (dial(1), dial(2))
    assert taken(outbox, 100.0) == []


def test_an_originate_can_be_taken_back_once() -> None:
    outbox = Outbox(1, 10)
    outbox.put(dial(1))
    outbox.put(dial(2))

    assert outbox.withdraw(dial(1).leg) == dial(1)
    assert outbox.withdraw(dial(1).leg) is None
    assert outbox.clear() == (dial(2),)


def test_agents_wait_apart_and_contacts_go_first_at_the_same_pace() -> None:
    outbox = Outbox(10, 1)  # a burst of one
    for i in range(3):
        assert outbox.put(ring(i))
    assert outbox.put(dial(1))

    turns = [taken(outbox, now_s) for now_s in (1.0, 1.15, 1.3, 1.45)]

    assert turns == [[dial(1)], [ring(0)], [ring(1)], [ring(2)]]


def test_waiting_agents_are_bounded_by_their_own_number() -> None:
    outbox = Outbox(1, 1)

    assert all(outbox.put(ring(i)) for i in range(AGENTS_WAITING_MAX_ORIGINATES))
    assert not outbox.put(ring(AGENTS_WAITING_MAX_ORIGINATES))
    assert outbox.put(dial(1))


def test_a_leg_that_is_asked_for_twice_is_sent_once() -> None:
    outbox = Outbox(1_000, 10)
    for _ in range(2):
        outbox.put(dial(1))
        outbox.put(ring(1))

    assert taken(outbox, 1.0) == [dial(1), ring(1)]


def test_an_agents_originate_is_taken_back_and_told_when_it_is_never_sent() -> None:
    outbox = Outbox(1, 10)
    for i in range(3):
        outbox.put(ring(i))
    outbox.put(dial(1))

    assert outbox.withdraw(ring(1).leg) == ring(1)
    assert outbox.clear() == (dial(1), ring(0), ring(2))
    assert not outbox.has_originates
