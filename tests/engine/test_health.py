"""EX-13: given a campaign that isn't dialing, then its health says what it waits for, and when that ends by itself."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from engine.core.agent import Wanted
from engine.core.campaign import Settings, Window
from engine.core.gate import opens_at
from engine.health import Reason, Wait, waits
from tests.engine.conversation import Conversation
from tests.engine.core.test_gate import HOUR_MS, MONDAY, OFFICE

OPEN = msgspec.convert(OFFICE, Window)


class Somewhere:
    """Zones in which everybody has the same distance to UTC."""

    def __init__(self, *minutes: int) -> None:
        self.minutes = minutes

    def offsets(self, zone: str, number: str, at: int) -> tuple[int, ...]:
        return self.minutes

    def knows(self, zone: str) -> bool:
        return True


def waiting(talk: Conversation, offset: int = 0, draining: bool = False, store: str = "") -> list[Wait]:
    return waits(talk.book, talk.claims, Somewhere(offset), talk.at, draining, store)


def reasons(talk: Conversation, **how: Any) -> list[Reason]:
    return [one.reason for one in waiting(talk, **how)]


def at_work(contacts: int = 3, **settings: Any) -> Conversation:
    talk = Conversation(stop_when_completed=False, **settings)
    talk.at = MONDAY + 12 * HOUR_MS
    talk.running("a1", contacts={f"k{place}": [f"+1555{place}"] for place in range(contacts)})
    return talk


def test_EX_13_nothing_is_waited_for_where_an_agent_has_only_to_ask() -> None:
    assert reasons(at_work(windows=[OFFICE])) == []


def test_EX_13_the_campaign_the_service_the_store_and_the_pbx() -> None:
    talk = at_work()
    assert reasons(talk, draining=True, store="disk full") == [Reason.SERVICE, Reason.STORE]
    talk.claims.pbx_up = False
    assert reasons(talk) == [Reason.PBX]
    talk.claims.pbx_up = True
    talk.stop()
    assert reasons(talk)[0] is Reason.CAMPAIGN


def test_EX_13_agents() -> None:
    talk = at_work()
    talk.ask("a1", Wanted.PAUSED, "lunch")
    (wait,) = waiting(talk)
    assert (wait.reason, wait.detail) == (Reason.AGENTS, "1 of 1 agents are there, and none is available")


def test_EX_13_contacts_that_are_final_or_not_there() -> None:
    talk = at_work(contacts=1)
    talk.next("a1")
    assert reasons(talk) == []  # it is in somebody's hand: that is work
    talk.failing("a1")
    talk.dispose("a1", "not_interested")
    assert [(one.reason, one.detail) for one in waiting(talk)] == [(Reason.CONTACTS, "every contact is final")]
    assert waiting(at_work(contacts=0))[0].detail == "it has no contacts"


def test_EX_13_contacts_that_come_back_later() -> None:
    rule = {"outcome": "busy", "after_s": 600}
    talk = at_work(contacts=1, retries=[rule])
    talk.next("a1")
    talk.failing("a1")
    talk.release("a1")
    contact = talk.book.contacts.by_ref["k0"]
    assert contact.due_at > talk.at
    assert waiting(talk) == [Wait(reason=Reason.DUE, detail="no contact is due yet", next_at=contact.due_at)]
    talk.at = contact.due_at
    assert Reason.DUE not in reasons(talk)


def test_EX_13_rules_that_forbid_all_who_are_next_and_when_that_ends() -> None:
    talk = at_work(windows=[OFFICE])
    talk.at = MONDAY + 20 * HOUR_MS
    assert waiting(talk, offset=-5 * 60) == []  # there it is 15:00
    (wait,) = waiting(talk)
    assert wait.reason is Reason.RULES
    assert "outside the calling windows" in wait.detail
    assert wait.next_at == MONDAY + 33 * HOUR_MS  # Tuesday at 9
    talk.at = wait.next_at - 1
    assert reasons(talk) == [Reason.RULES]
    talk.at = wait.next_at
    assert reasons(talk) == []


def test_EX_13_lines() -> None:
    talk = at_work(max_lines=1)
    talk.next("a1")
    talk.dial("a1")
    assert reasons(talk) == [Reason.LINES]


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


@pytest.mark.parametrize(
    ("settings", "offsets", "now", "opens"),
    [
        ({"windows": (OPEN,)}, (0,), "2026-11-27T18:00", "2026-11-30T09:00"),  # over the weekend
        ({"windows": (OPEN,)}, (0, -300), "2026-11-23T09:00", "2026-11-23T14:00"),  # when both zones are open
        ({"windows": (OPEN,)}, (0, 12 * 60), "2026-11-23T09:00", ""),  # they never are
        ({"holidays": ("2026-11-24",)}, (120,), "2026-11-23T23:00", "2026-11-24T22:00"),
        ({"windows": (OPEN,), "holidays": ("2026-11-24",)}, (0,), "2026-11-23T18:00", "2026-11-25T09:00"),
    ],
)
def test_EX_13_when_windows_and_holidays_open_again(
    settings: dict[str, tuple[object, ...]], offsets: tuple[int, ...], now: str, opens: str
) -> None:
    assert opens_at(Settings(**settings), offsets, at(now)) == (at(opens) if opens else 0)  # type: ignore[arg-type]
