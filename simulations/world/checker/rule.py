"""6: no call outside its window, to a number on a do-not-call list, or over a cap.

Clocks are the callee's, by zoneinfo; a window is judged at the moment when the call was asked for, as the engine's wall clock
showed it. A number counts as listed for every call that is asked for after its listing has become durable. Where an agent's
phone rings first, both are judged once more as of its answer.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from engine.core.call import CallAwaitingAgent, CallEnded, CallRequested
from engine.core.campaign import CampaignCreated, Settings
from engine.core.contact import ContactsAdded, NewContact
from engine.core.directory import NumbersListed
from engine.core.outcome import Outcome
from simulations.world.checker.step import Asked, Durable, LegAnswered, Step

A_DAY_MS = 24 * 60 * 60 * 1_000
NO_ATTEMPT = (Outcome.AGENT_UNREACHABLE, Outcome.FAILED)
EVERYBODY = "global"


class Rules:
    watches = (
        Asked,
        CallAwaitingAgent,
        CallEnded,
        CallRequested,
        CampaignCreated,
        ContactsAdded,
        LegAnswered,
        NumbersListed,
    )

    def __init__(self) -> None:
        self._settings: dict[str, Settings] = {}
        """By the campaign's log."""
        self._contacts: dict[str, NewContact] = {}
        self._listed: dict[tuple[str, str], float] = {}
        """By list and number: since when, in virtual seconds."""
        self._asked: dict[str, Asked] = {}
        self._waiting: set[str] = set()
        """Calls for which an agent's phone was rung first."""
        self._answered: dict[str, float] = {}
        """By leg: when, in virtual seconds."""
        self._dialled_ms: dict[str, list[int]] = {}
        """By number: when calls to it were begun."""
        self._attempts: Counter[str] = Counter()
        """By contact."""

    def see(self, step: Step) -> Iterator[str]:
        match step:
            case Asked(call=call):
                self._asked[call] = step
            case LegAnswered(leg=leg, at_s=at_s):
                self._answered[leg] = at_s
            case Durable(event=CallAwaitingAgent(call=call)):
                self._waiting.add(call)
            case Durable(event=CampaignCreated(settings=settings), log=log):
                self._settings[log] = settings
            case Durable(event=ContactsAdded(contacts=new)):
                self._contacts.update((one.ref, one) for one in new)
            case Durable(event=NumbersListed(list=name, person=person), at_s=at_s) if person.details is not None:
                for number in person.details.numbers:
                    self._listed.setdefault((name, number), at_s)
            case Durable(event=CallRequested() as event, log=log):
                yield from self._begun(log, event)
            case Durable(event=CallEnded(contact=contact, outcome=outcome)) if outcome not in NO_ATTEMPT:
                self._attempts[contact] += 1
            case _:
                pass

    def _begun(self, log: str, event: CallRequested) -> Iterator[str]:
        settings, contact = self._settings[log], self._contacts[event.contact]
        assert contact.person.details is not None
        number = contact.person.details.numbers[event.number]
        asked = self._asked.pop(event.call, None)
        if asked is None:
            yield f"6: nobody asked for call {event.call}"
            return
        decided_s, clocks = asked.at_s, [asked.wall_ms]
        if event.call in self._waiting:
            if event.agent_leg not in self._answered:
                yield f"2: call {event.call} was begun before its agent's phone answered"
            decided_s = max(decided_s, self._answered.get(event.agent_leg, decided_s))
            clocks.append(event.at)
        for name in (EVERYBODY, log):
            since_s = self._listed.get((name, number))
            if since_s is not None and since_s < decided_s:
                yield f"6: call {event.call} is to a number that is on the list {name!r} since {since_s:.3f} s"
        for wall_ms in clocks:
            yield from _by_clock(settings, contact, event.call, wall_ms)
        before = self._dialled_ms.setdefault(number, [])
        today = sum(one > event.at - A_DAY_MS for one in before)
        if 0 < settings.number_attempts_per_day <= today:
            yield f"6: call {event.call} is to a number that was dialled {today} times within a day"
        before.append(event.at)
        if 0 < settings.attempts_per_contact <= self._attempts[event.contact]:
            yield f"6: call {event.call} is to a contact with {self._attempts[event.contact]} attempts"

    def left(self) -> Iterator[str]:
        yield from ()


def _by_clock(settings: Settings, contact: NewContact, call: str, wall_ms: int) -> Iterator[str]:
    if not settings.windows:
        return
    there = datetime.fromtimestamp(wall_ms / 1_000, UTC).astimezone(ZoneInfo(contact.zone))
    day, clock = there.strftime("%a").lower(), there.strftime("%H:%M")
    if not any(day in one.days and one.start <= clock < one.end for one in settings.windows):
        yield f"6: call {call} was asked for on {day} {clock} in {contact.zone}, outside the windows"
