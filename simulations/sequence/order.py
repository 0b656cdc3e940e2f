"""One sequence of clicks at the production engine: its mailboxes, log, notifications and AMI adapter, at the simulated PBX.

Each click is answered before the next, so that the answer can be held against the state that the campaign had. At the end
everything is removed by the recipe of the integration guide, which waits for notifications and for nothing else.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import Any

import msgspec

from engine.actor import NotOwner
from engine.campaigns import CAMPAIGN_PREFIX, log_of
from engine.core.campaign import Delete, Modify, Stop
from engine.core.contact import NewContact
from engine.core.message import AddContacts, Release
from engine.core.refusal import Refused
from engine.ports import Notification
from eventstore.store import Segment
from simulations.manager import Judge, Row
from simulations.sequence.click import REFS, Click, Kind
from simulations.sequence.law import TAKEN, Laws
from simulations.sequence.request import LINES, Requests
from simulations.world.agent import ANSWER_WITHIN_S
from simulations.world.checker.replay import disagreements
from simulations.world.loop import Stalled, VirtualLoop, in_virtual_time
from simulations.world.scenario import Agents, Callees, Scenario
from simulations.world.world import World

SCENARIO = Scenario(
    name="sequence",
    hours=1,
    contacts=0,
    agents=Agents(count=len(LINES)),
    callees=Callees(answer=0.5, busy=0.2, invalid=0.1, ring_s=(0.1, 0.4, 2), talk_s=1.5),
)
LOOK_EVERY_S = 0.25
REMOVED_WITHIN_S = 600
FORCED_SHARE = 0.3
"""How many sequences are ended by force: in the others contacts hang up in their own time."""
ENDS = "the end"
AFTERWARDS = (Kind.CREATE, Kind.START, Kind.DELETE, Kind.ADD)
"""Clicks on what is gone: refused, and nobody is told anything."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`faults` begin with the line of the requirements that is broken, or with the world's invariant."""

    seed: int
    clicks: int
    notifications: int
    calls: int
    virtual_s: float
    cpu_s: float
    met: dict[str, int]
    """How often each click was answered so."""
    states: dict[str, int]
    """How often each state was told."""
    faults: list[str]


class Order(World):
    """A world without habits and storms of its own: what happens in it is clicked."""

    def __init__(self, clicks: Sequence[Click], seed: int, loop: VirtualLoop) -> None:
        super().__init__(SCENARIO, seed, loop)
        self.clicks, self.refs = clicks, ()
        self.laws, self.judge, self.requests = Laws(), Judge(), Requests(self)
        self._added: dict[str, list[NewContact]] = {ref: [] for ref in REFS}
        self._count = 0

    # -- what is seen -------------------------------------------------------------------------------------------------

    async def _durable(self, log: str, segment: Segment) -> None:
        known = len(self.logged.get(log, ()))
        await super()._durable(log, segment)
        if log.startswith(CAMPAIGN_PREFIX):
            for event in self.logged[log][known:]:
                self.laws.durable(log.removeprefix(CAMPAIGN_PREFIX), event)
            self.refs = tuple(self.laws.living)

    def _taken(self, one: Notification) -> None:
        super()._taken(one)
        self.judge.take(msgspec.to_builtins(one))

    # -- clicks -------------------------------------------------------------------------------------------------------

    async def happen(self) -> Verdict:
        began_s = time.process_time()
        await self.pbx.start()
        self.pbx.exchange.witness = self._witness
        await self.boot()
        for click in self.clicks:
            await asyncio.sleep(click.pause_ms / 1_000)
            await self._click(click)
        await self._remove_all()
        await self.loop.bury()
        return Verdict(
            seed=self.seed,
            clicks=self._count,
            notifications=self.judge.news,
            calls=sum(bool(one.number) for one in self.pbx.originates),
            virtual_s=self.loop.time(),
            cpu_s=time.process_time() - began_s,
            met=dict(self.laws.met),
            states=dict(self.judge.states),
            faults=[*self.laws.faults, *self.judge.faults, *self.checkers.violations],
        )

    async def _click(self, click: Click) -> None:
        self._count += 1
        by = f"click {self._count}"
        self.laws.clicks[by] = click.kind
        match click.kind:
            case Kind.WAIT:
                return
            case Kind.KILL:
                self.loop.kill(self.lives)
                await self.revive()
            case Kind.CUT:
                self.pbx.cut()
            case Kind.CREATE | Kind.CREATE_OTHERWISE:
                create = self.requests.create(click, by, self.laws.state(click.ref) == "absent")
                await self._asked(click, self.inside(self.engine.create(create)))
            case Kind.EDIT_TWICE:
                await self._edit_at_once(click, by)
            case Kind.ADD | Kind.ADD_AGAIN | Kind.ADD_ANOTHERS:
                await self._add(click, by)
            case Kind.CLICK | Kind.CLICK_AGAIN:
                await self._click_to_call(click, by)
            case _:
                command = self.requests.managers(click, by, self._contacts(click.ref)) or self.requests.agents(
                    click, by
                )
                if command is not None:
                    await self._command(click, command)

    async def _command(self, click: Click, command: Any) -> None:
        before = self.requests.held(click.ref)
        code, _ = await self._asked(click, self.submit(command, click.ref))
        gone = before.keys() - self.requests.held(click.ref).keys()
        self.requests.let_go.update((click.ref, before[one]) for one in gone)
        if click.kind is Kind.DIAL_LATE and code == TAKEN:
            self.laws.tell(f"OM-07: {command.reservation} was let go of, and is dialled")

    async def _asked(self, click: Click, work: Coroutine[Any, Any, Any]) -> tuple[str | None, Any]:
        """The refusal's code, or TAKEN, with the reply. None: nobody was answered."""
        since = len(self.laws.of(click.ref).states)
        code, reply = await self._answer(work)
        if code is not None:
            self.laws.answered(click.kind, click.ref, since, code)
        return code, reply

    async def _answer(self, work: Coroutine[Any, Any, Any]) -> tuple[str | None, Any]:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return TAKEN, await work
        except Refused as no:
            return no.code, None
        except (NotOwner, TimeoutError):
            return None, None

    async def _edit_at_once(self, click: Click, by: str) -> None:
        """TF-19: two who read the same revision."""
        if self.laws.state(click.ref) not in ("absent", "deleted"):
            revision, at = self.requests.revision(click.ref), self.now_ms()
            edits = [Modify(at=at, by=by, name=f"{by} {place}", if_revision=revision) for place in range(2)]
            found = await asyncio.gather(*(self._answer(self.submit(one, click.ref)) for one in edits))
            codes = [code for code, _ in found if code is not None]
            if len(codes) == len(edits):
                self.laws.edited_at_once(codes)

    async def _add(self, click: Click, by: str) -> None:
        mine = self._added[click.ref]
        new = self.requests.contacts(click, len(mine))
        if click.kind is Kind.ADD_AGAIN:
            new = tuple(mine[-3:])
        elif click.kind is Kind.ADD_ANOTHERS:
            (other,) = (ref for ref in REFS if ref != click.ref)
            new = (*self._added[other][-2:], *new[:1])
        if not new:
            return
        add = AddContacts(at=self.now_ms(), by=by, contacts=new)
        code, reply = await self._asked(click, self.engine.add_contacts(click.ref, add))
        if code == TAKEN:
            added, clashes = reply
            self.laws.added(click.ref, [one.ref for one in new], added.new, clashes)
            if click.kind is Kind.ADD_AGAIN and added.new:
                self.laws.tell(f"TF-31: {click.ref} was sent a batch again, and {sorted(added.new)} are added")
            mine += [one for one in new if one.ref in added.new]

    async def _click_to_call(self, click: Click, by: str) -> None:
        command = self.requests.click(click, by, self._contacts(click.ref))
        if command is None:
            return
        code, call = await self._asked(click, self.submit(command, click.ref))
        if code == TAKEN:
            before = self.requests.clicked.setdefault(click.ref, msgspec.structs.replace(command, call=call))
            if click.kind is Kind.CLICK_AGAIN and call != before.call:
                self.laws.tell(f"EX-09: request {command.request} was call {before.call}, and is {call} now")
            self.requests.clicked[click.ref] = msgspec.structs.replace(command, call=call)

    def _contacts(self, ref: str) -> list[str]:
        return [one.ref for one in self._added[ref]]

    # -- the remove recipe --------------------------------------------------------------------------------------------

    async def _remove_all(self) -> None:
        """TF-16, and what is left: nothing is, and nobody is told of what is gone."""
        await self.storm.calm()
        force = Random(f"{self.seed}/end").random() < FORCED_SHARE
        for ref in self.refs:
            await self._stop(ref, force)
        for found in [await self._replayed(ref) for ref in self.refs]:
            self.laws.faults += found
        for ref in self.refs:
            code, _ = await self._answer(self.submit(Delete(at=self.now_ms(), by=ENDS), ref))
            if code != TAKEN:
                self.laws.tell(f"TF-16: {ref} is told to be stopped, and its deletion is refused: {code}")
        await self._demand(lambda: all(row.state == "deleted" for row in self._rows), "TF-16: not all is deleted")
        await self._demand(self._is_all_told, "TF-38: not all is told")
        told = self.judge.news
        for ref in REFS if self.judge.news else ():
            for kind in AFTERWARDS:
                if self.laws.state(ref) == "deleted":
                    await self._click(Click(kind, ref, next(iter(LINES)), 0.5, 0))
        if self.judge.news != told:
            self.laws.tell("TF-02: clicks on what is deleted were told of")
        if self.pbx.live:
            self.laws.tell(f"TF-12: at the PBX live {[one.name for one in self.pbx.live]}")
        self.checkers.end()

    async def _stop(self, ref: str, force: bool) -> None:
        """Until it is told that it is; then what is in hand is let go of."""
        self.laws.clicks[ENDS] = Kind.FORCE if force else Kind.STOP
        known = self._row(ref).seq
        code, _ = await self._answer(self.submit(Stop(at=self.now_ms(), by=ENDS, force=force), ref))
        if code == TAKEN:  # it was started once: what was told before may be that it had stopped earlier
            already = self.laws.state(ref) == "stopped"
            await self._demand(lambda: self._is_stopped(ref, 0 if already else known), f"TF-16: {ref} doesn't stop")
        for one in list(self.engine.campaigns[ref].book.reservations.values()):
            at = self.now_ms()
            release = Release(at=at, by=ENDS, agent=one.agent, reservation=one.id, token=None, reason="over")
            await self._answer(self.submit(release, ref))

    def _is_stopped(self, ref: str, behind: int) -> bool:
        row = self._row(ref)
        return row.state == "stopped" and row.seq > behind

    async def _replayed(self, ref: str) -> list[str]:
        running = self.engine.campaigns[ref]
        await running.actor.settled()
        log = log_of(ref)
        live, read = running.book.canonical(), await self.read(log)
        return list(await disagreements(self.engine.store, log, self.logged[log], read, live))

    @property
    def _rows(self) -> list[Row]:
        return list(self.judge.overview.rows.values())

    def _row(self, ref: str) -> Row:
        return self.judge.overview.rows.get(ref) or Row(ref=ref)

    async def _demand(self, true: Callable[[], bool], fault: str) -> None:
        until_s = self.loop.time() + REMOVED_WITHIN_S
        while not true():
            if self.loop.time() > until_s:
                self.laws.tell(fault)
                return
            await asyncio.sleep(LOOK_EVERY_S)


def judged(clicks: Sequence[Click], seed: int) -> Verdict:
    """The same clicks and seed give the same verdict, whatever the machine."""
    try:
        return in_virtual_time(lambda loop: Order(clicks, seed, loop).happen(), seed)
    except Stalled:
        raise AssertionError(f"seed {seed}: everybody waits for somebody else") from None
