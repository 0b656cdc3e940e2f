"""5: of each campaign everything is told, at least once, in the order of `seq`, and what a client then knows is true."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from engine.core.call import CallEnded
from engine.core.campaign import CampaignRunning, CampaignStarting, CampaignStopped, CampaignStopping
from engine.core.reservation import ContactDisposed, ContactReleased, ContactReserved
from simulations.world.checker.step import Durable, Step, Told

STATES: dict[Any, str] = {
    CampaignStarting: "starting",
    CampaignRunning: "running",
    CampaignStopping: "stopping",
    CampaignStopped: "stopped",
}
COUNTED: dict[Any, str] = {
    ContactReserved: "contact.reserved",
    ContactReleased: "contact.released",
    ContactDisposed: "contact.disposed",
}


class Known(msgspec.Struct):
    """What somebody knows of a campaign: from the log, or from what they were told."""

    states: list[str] = []
    outcomes: dict[str, str] = {}
    """By call, of those that ended."""
    counts: Counter[str] = msgspec.field(default_factory=Counter)


class Tellings:
    watches = (CallEnded, *STATES, *COUNTED, Told)

    def __init__(self) -> None:
        self._log: dict[str, Known] = {}
        self._told: dict[str, Known] = {}
        """By the campaign's ref."""
        self._seqs: dict[str, list[tuple[str, str]]] = {}
        """By ref: id and type of each, in order of `seq` from 1."""

    def see(self, step: Step) -> Iterator[str]:
        match step:
            case Durable(log=log, event=event) if log.startswith("campaign/"):
                self._note(self._log.setdefault(log.removeprefix("campaign/"), Known()), event)
            case Told():
                yield from self._hear(step)
            case _:
                pass

    def _note(self, known: Known, event: Any) -> None:
        if type(event) in STATES:
            known.states.append(STATES[type(event)])
        elif isinstance(event, CallEnded):
            known.outcomes[event.call] = str(event.outcome)
        elif type(event) in COUNTED:
            known.counts[COUNTED[type(event)]] += 1

    def _hear(self, told: Told) -> Iterator[str]:
        if not told.campaign:
            return
        seqs = self._seqs.setdefault(told.campaign, [])
        if told.seq > len(seqs) + 1:
            yield f"5: {told.campaign} {told.seq} was told before {len(seqs) + 1}"
        elif told.seq <= len(seqs):
            if seqs[told.seq - 1] != (told.id, told.type):
                yield f"5: {told.campaign} {told.seq} was {seqs[told.seq - 1]}, and is told as {told.id, told.type} now"
            return
        seqs.append((told.id, told.type))
        known = self._told.setdefault(told.campaign, Known())
        if told.type == "campaign.status":
            known.states.append(told.data["state"])
        elif told.type == "call.ended":
            known.outcomes[told.data["call"]] = told.data["outcome"]
        elif told.type in COUNTED.values():
            known.counts[told.type] += 1

    def left(self) -> Iterator[str]:
        for ref, true in self._log.items():
            heard = self._told.get(ref, Known())
            if heard.states != true.states:
                yield f"5: {ref} was {true.states[-3:]} at last, and told as {heard.states[-3:]}"
            missing = true.outcomes.items() - heard.outcomes.items()
            if missing or len(heard.outcomes) != len(true.outcomes):
                yield f"5: of {len(true.outcomes)} calls of {ref} that ended {len(missing)} were told otherwise, or not at all"
            if heard.counts != true.counts:
                yield f"5: {ref} had {dict(true.counts)}, and told {dict(heard.counts)}"
