"""What a click asks of the engine, given what there is at that moment."""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from engine.core.agent import DefaultState, Line, Wanted
from engine.core.campaign import Create, Delete, Mode, Modify, RetryRule, Settings, Start, Stop
from engine.core.contact import NewContact
from engine.core.message import (
    Allocate,
    AskAgent,
    CancelContact,
    ClickToCall,
    Command,
    Dial,
    Dispose,
    Extend,
    HangUpCall,
    Next,
    Release,
    Skip,
    Withdraw,
)
from engine.core.outcome import Outcome, Party
from engine.core.personal import Details, Person
from engine.core.reservation import Reservation
from simulations.sequence.click import AGENTS, Click, Kind
from simulations.world.world import World

LINES = dict(zip(AGENTS, (Line.NAILED, Line.NAILED, Line.ON_DEMAND), strict=True))
NUMBERS = tuple(f"3{place:09}" for place in range(6))
"""Few, so that contacts of both campaigns have them in common."""
DISPOSITIONS = ("engaged", "no_contact", "try_later", "callback")
CALLBACK_MS = 2_000
RING_TIMEOUT_S = (15, 120)
WANTED = {Kind.AVAILABLE: Wanted.AVAILABLE, Kind.PAUSE: Wanted.PAUSED, Kind.OFFLINE: Wanted.OFFLINE}
USUALLY = 0.9

T = TypeVar("T")


class Requests:
    """Commands as clicks ask for them. `by` is a name of the click's own, by which what it leads to is found in the log."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.bodies: dict[str, Create] = {}
        """What each campaign was created with."""
        self.let_go: dict[str, Reservation] = {}
        """By campaign: one that somebody held, and doesn't any more."""
        self.clicked: dict[str, ClickToCall] = {}

    def create(self, click: Click, by: str, is_new: bool) -> Create:
        """The same body whenever it is asked for again; or another one."""
        settings = Settings(
            max_lines=self._world.lines,
            dispose_without_attempt=True,
            stop_when_completed=click.roll < 0.5,
            announce_upcoming=click.roll < 0.3,
            retries=(RetryRule(outcome=Outcome.BUSY, after_s=1),),
        )
        made = Create(at=self._world.now_ms(), by=by, ref=click.ref, name=by, mode=Mode.PREVIEW, settings=settings)
        if is_new:
            self.bodies[click.ref] = made
        if click.kind is Kind.CREATE_OTHERWISE:
            return made
        return msgspec.structs.replace(self.bodies.get(click.ref, made), at=made.at, by=by)

    def contacts(self, click: Click, first: int) -> tuple[NewContact, ...]:
        """Three, with one or two numbers each."""
        made = []
        for place in range(first, first + 3):
            numbers = (NUMBERS[place % len(NUMBERS)], NUMBERS[(place * 2 + 1) % len(NUMBERS)])[: 1 + place % 2]
            name = f"{click.ref}:{place}"
            made.append(NewContact(name, Person(name, Details(numbers=tuple(dict.fromkeys(numbers))))))
        return tuple(made)

    def managers(self, click: Click, by: str, contacts: Sequence[str]) -> Command | None:
        """A campaign manager's; None where there is nothing to click on."""
        asked: dict[str, Any] = {"at": self._world.now_ms(), "by": by}
        match click.kind:
            case Kind.START:
                return Start(**asked)
            case Kind.STOP | Kind.FORCE:
                return Stop(**asked, force=click.kind is Kind.FORCE)
            case Kind.DELETE:
                return Delete(**asked)
            case Kind.RENAME:
                return Modify(**asked, name=by)
            case Kind.EDIT:
                least, most = RING_TIMEOUT_S
                return Modify(**asked, settings={"ring_timeout_s": least + round(click.roll * (most - least))})
            case Kind.EDIT_LATE:
                return Modify(**asked, name=by, if_revision=self.revision(click.ref) - 1)
            case Kind.ALLOCATE | Kind.ALLOCATE_OFFLINE:
                return Allocate(
                    **asked,
                    agent=click.agent,
                    phone=click.agent,
                    line=LINES[click.agent],
                    default_state=DefaultState.AVAILABLE if click.kind is Kind.ALLOCATE else DefaultState.OFFLINE,
                    weight=1,
                )
            case Kind.WITHDRAW:
                return Withdraw(**asked, agent=click.agent)
            case Kind.CANCEL:
                contact = _one_of(contacts, click.roll)
                return CancelContact(**asked, contact=contact, reason="asked to") if contact else None
            case _:
                return None

    def revision(self, ref: str) -> int:
        """As a client reads it from the ETag."""
        running = self._world.engine.campaigns.get(ref)
        return running.book.campaign.revision if running else 0

    def agents(self, click: Click, by: str) -> Command | None:
        """An agent's, or a supervisor's; None where there is nothing to click on."""
        world, at = self._world, self._world.now_ms()
        agent = self._somebody(click)
        match click.kind:
            case Kind.AVAILABLE | Kind.PAUSE | Kind.OFFLINE:
                return AskAgent(at=at, by=by, agent=agent, wanted=WANTED[click.kind], reason="break")
            case Kind.NEXT:
                ahead = click.roll < 0.1
                return Next(at=at, agent=agent, reservation=world.new_id(), token=world.new_id(), ahead=ahead)
            case Kind.HANG_UP:
                call = _one_of(sorted(self._live(click.ref)), click.roll)
                return HangUpCall(at=at, by=by, party=Party.AGENT, call=call) if call else None
            case Kind.DIAL_LATE:
                gone = self.let_go.get(click.ref)
                return Dial(**_hand(gone, at), number=None, call=world.new_id(), leg=world.new_id()) if gone else None
            case _:
                held = _one_of(list(self.held(click.ref).values()), click.roll)
                return self._hands(click, by, held, at) if held else None

    def _hands(self, click: Click, by: str, held: Reservation, at: int) -> Command | None:
        """With a contact in hand."""
        hand = _hand(held, at)
        match click.kind:
            case Kind.DIAL:
                return Dial(**hand, number=None, call=self._world.new_id(), leg=self._world.new_id())
            case Kind.SKIP:
                return Skip(**hand, reason="not now")
            case Kind.EXTEND:
                return Extend(**hand)
            case Kind.RELEASE:
                return Release(**{**hand, "token": None}, by=by, reason="any")
            case Kind.DISPOSE:
                how = DISPOSITIONS[int(click.roll * 1_000) % len(DISPOSITIONS)]
                callback_at = at + CALLBACK_MS if how == "callback" else None
                return Dispose(**hand, disposition=how, callback_at=callback_at)
            case _:
                return None

    def click(self, click: Click, by: str, contacts: Sequence[str]) -> ClickToCall | None:
        """By a CRM; again: as it was asked before, with other ids, as whoever asks again has them."""
        world, known = self._world, self.clicked.get(click.ref)
        ids = {name: world.new_id() for name in ("reservation", "token", "call", "leg")}
        if click.kind is Kind.CLICK_AGAIN:
            return msgspec.structs.replace(known, at=world.now_ms(), **ids) if known else None
        contact = _one_of(contacts, click.roll)
        if contact is None:
            return None
        asked: dict[str, Any] = {"at": world.now_ms(), "by": by, "request": by, **ids}
        return ClickToCall(**asked, agent=self._somebody(click), contact=contact, number=None)

    def _somebody(self, click: Click) -> str:
        """Mostly one whom the campaign has: that others are refused is soon seen."""
        running = self._world.engine.campaigns.get(click.ref)
        known = list(running.book.agents) if running else []
        return _one_of(known, click.roll / USUALLY) or click.agent if click.roll < USUALLY else click.agent

    def held(self, ref: str) -> dict[str, Reservation]:
        running = self._world.engine.campaigns.get(ref)
        return dict(running.book.reservations) if running else {}

    def _live(self, ref: str) -> list[str]:
        running = self._world.engine.campaigns.get(ref)
        return list(running.book.live) if running else []


def _hand(held: Reservation, at: int) -> dict[str, Any]:
    return {"at": at, "agent": held.agent, "reservation": held.id, "token": held.token}


def _one_of(some: Sequence[T], roll: float) -> T | None:
    return some[int(roll * len(some))] if some else None
