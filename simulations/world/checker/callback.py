"""8: a callback that was promised is neither made before its time, nor given to another while the one who promised it is at
work, nor lost.

Times are those of the engine's wall clock, which is what it was promised by. Who clicks to call a contact calls when they like,
and who skips a callback has decided against it.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from engine.core.agent import AgentAbsent, AgentLeaving, AgentPresent, AgentRemoved
from engine.core.call import CallAwaitingAgent, CallRequested
from engine.core.contact import ANYBODY, ContactCancelled, ContactExhausted
from engine.core.reservation import ContactDisposed, ContactReleased, ContactReserved, Release
from simulations.world.checker.step import Durable, Promised, Step


class Promise(msgspec.Struct, frozen=True):
    log: str
    due_at: int
    """Epoch ms."""
    agent: str
    """"*" for any."""


class Callbacks:
    watches = (
        AgentAbsent,
        AgentLeaving,
        AgentPresent,
        AgentRemoved,
        CallAwaitingAgent,
        CallRequested,
        ContactCancelled,
        ContactDisposed,
        ContactExhausted,
        ContactReleased,
        ContactReserved,
        Promised,
    )

    def __init__(self) -> None:
        self.open: dict[str, Promise] = {}
        """By contact, of those that weren't called since."""
        self._at_work: set[tuple[str, str]] = set()
        """By log: agents whose phone is there."""
        self._written: dict[str, int] = {}
        """When callbacks are due, by the reservation in which they were promised."""
        self._doubted: dict[str, tuple[str, str]] = {}
        """By log: a reservation that is wrong unless a click begins its call next, and what is wrong."""

    def see(self, step: Step) -> Iterator[str]:
        match step:
            case Promised(reservation=name, due_at=due_at):
                if self._written.pop(name, 0) != due_at:
                    yield f"8: a callback was promised in reservation {name}, and the log has none, or another"
            case Durable(log=log, event=AgentPresent(agent=agent)):
                self._at_work.add((log, agent))
            case Durable(
                log=log, event=AgentLeaving(agent=agent) | AgentAbsent(agent=agent) | AgentRemoved(agent=agent)
            ):
                self._at_work.discard((log, agent))
            case Durable(log=log, event=event):
                yield from self._doubts(log, event)
                self._note(log, event)
                yield from self._end(event)
            case _:
                pass

    def _doubts(self, log: str, event: Any) -> Iterator[str]:
        name, what = self._doubted.pop(log, ("", ""))
        is_clicked = isinstance(event, CallAwaitingAgent | CallRequested) and event.request
        if name and not (is_clicked and event.reservation == name):
            yield what

    def _note(self, log: str, event: Any) -> None:
        promise = self.open.get(event.contact)
        match event:
            case ContactReserved(contact=contact, agent=agent) if promise is not None:
                what = ""
                if event.at < promise.due_at:
                    what = f"8: the callback to contact {contact} was to be made {promise.due_at - event.at} ms later"
                elif promise.agent not in (ANYBODY, agent) and (log, promise.agent) in self._at_work:
                    what = f"8: agent {agent} was given the callback to contact {contact} that {promise.agent} promised"
                if what:
                    self._doubted[log] = event.reservation, what
            case ContactDisposed(callback=whose) if whose:
                self.open[event.contact] = Promise(log, event.due_at, whose)
                self._written[event.reservation] = event.due_at
            case _:
                pass

    def _end(self, event: Any) -> Iterator[str]:
        match event:
            case ContactDisposed(callback=""):
                self.open.pop(event.contact, None)
            case CallAwaitingAgent() | CallRequested() | ContactCancelled() | ContactExhausted():
                self.open.pop(event.contact, None)
            case ContactReleased(contact=contact, reason=reason):
                promise = self.open.get(contact)
                if promise is not None and (not event.callback or event.due_at != promise.due_at):
                    del self.open[contact]
                    if reason is not Release.SKIPPED:
                        yield f"8: the callback to contact {contact} is lost: it was released, {reason}, as none"
            case _:
                pass

    def left(self) -> Iterator[str]:
        for _, what in self._doubted.values():
            yield what

    def lost(self, kept: Callable[[str, str], tuple[int, str]]) -> Iterator[str]:
        """`kept` says when a contact of a log is to be called back, and by whom, as the engine has it."""
        for contact, promise in self.open.items():
            if kept(promise.log, contact) != (promise.due_at, promise.agent):
                yield f"8: the callback to contact {contact} is lost: nobody will make it"
