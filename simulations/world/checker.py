"""What must hold, judged from the log and from what the PBX really dialled; shares no code with what it judges."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from engine.core.book import Book
from engine.core.call import CallEnded, CallRequested
from engine.core.campaign import CampaignRunning, CampaignStarting, CampaignStopped, CampaignStopping
from engine.core.outcome import Outcome
from simulations.pbx import Dialled


def violations(
    events: Sequence[Any], durable_at_s: Sequence[float], dialled: Sequence[Dialled], book: Book
) -> list[str]:
    """One line each; none where all is well.

    `events` is the campaign's whole log, `durable_at_s` when each of them became so, `book` what the engine made of it.
    """
    return [
        *_in_time(events, durable_at_s, dialled),
        *_intents(events, [one for one in dialled if one.number]),
        *_one_at_a_time(events),
        *_stopped(events),
        *_replay(events, book),
    ]


def _intents(events: Sequence[Any], dialled: Sequence[Dialled]) -> Iterable[str]:
    """2: nothing is dialled without its durable intent, or twice; every intent has exactly one end."""
    intents = Counter(one.call for one in events if isinstance(one, CallRequested))
    ends = Counter(one.call for one in events if isinstance(one, CallEnded))
    outcomes = {one.call: one.outcome for one in events if isinstance(one, CallEnded)}
    for leg, times in Counter(one.leg for one in dialled).items():
        if times > 1:
            yield f"2: call {leg} was dialled {times} times"
        if leg not in intents:
            yield f"2: call {leg} was dialled without an intent"
    for call in intents:
        if ends[call] != 1:
            yield f"2: call {call} has {ends[call]} ends"
    reached = {one.leg for one in dialled}
    for call, outcome in outcomes.items():
        if outcome is Outcome.ANSWERED and call not in reached:
            yield f"2: call {call} was answered and never dialled"


def _in_time(events: Sequence[Any], durable_at_s: Sequence[float], dialled: Sequence[Dialled]) -> Iterable[str]:
    """2: nothing is dialled before its intent is durable, or after its end is."""
    if len(events) != len(durable_at_s):
        yield f"2: {len(events)} events in the log, {len(durable_at_s)} became durable"
    begun = {one.call: at for one, at in zip(events, durable_at_s, strict=False) if isinstance(one, CallRequested)}
    ended = {one.call: at for one, at in zip(events, durable_at_s, strict=False) if isinstance(one, CallEnded)}
    for one in dialled:
        begun_s, ended_s = begun.get(one.leg, 0.0), ended.get(one.leg, one.at)
        if one.number and not begun_s <= one.at <= ended_s:
            yield f"2: call {one.leg} was dialled at {one.at:.3f} s, and live from {begun_s:.3f} to {ended_s:.3f} s"


def _one_at_a_time(events: Sequence[Any]) -> Iterable[str]:
    """1: a contact, and an agent, is in one unresolved call at most."""
    live: dict[str, CallRequested] = {}
    for one in events:
        if isinstance(one, CallRequested):
            for other in live.values():
                if other.contact == one.contact or other.agent == one.agent:
                    yield f"1: calls {other.call} and {one.call} at once"
            live[one.call] = one
        elif isinstance(one, CallEnded):
            live.pop(one.call, None)


def _stopped(events: Sequence[Any]) -> Iterable[str]:
    """3: stopped means that no call lives, and once stop was taken none is begun."""
    live: set[str] = set()
    is_open = False
    for one in events:
        match one:
            case CampaignStarting() | CampaignRunning():
                is_open = True
            case CampaignStopping():
                is_open = False
            case CampaignStopped() if live:
                yield f"3: stopped with {len(live)} live calls"
            case CallRequested():
                live.add(one.call)
                if not is_open:
                    yield f"3: call {one.call} was begun though the campaign was to stop"
            case CallEnded():
                live.discard(one.call)
            case _:
                pass


def _replay(events: Sequence[Any], book: Book) -> Iterable[str]:
    """4: the log makes the live state again."""
    again = Book()
    for one in events:
        again.apply(one)
    if again.canonical() != book.canonical():
        yield "4: the log replayed isn't the live state"
