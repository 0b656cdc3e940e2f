"""Random orders of commands, as a campaign manager gives them, in virtual time: the core, an unkind PBX, crashes.

What clients are told is judged by the reference campaign manager, which knows the requirements and nothing of the core. A
failure names its seed; `RINGFOLD_ORDERS` is how many orders are tried, `RINGFOLD_ORDER_STEPS` how long each is.
"""

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from adapters.notify.notification import completed, fact_of
from engine.core.agent import DefaultState, Wanted
from engine.core.campaign import Delete, Modify, Start, Status, Stop
from engine.core.message import Allocate, AskAgent, Message, Withdraw
from simulations.manager import Judge
from tests.engine.test_random_walk import AGENTS, REFS, Walk

ORDERS = int(os.environ.get("RINGFOLD_ORDERS", "200"))
STEPS = int(os.environ.get("RINGFOLD_ORDER_STEPS", "150"))
COMMANDS = 0.4
"""Share of the steps that are a campaign manager's; the others are agents', callees', the PBX's and time's."""
MET_AT_LEAST = 200
"""Orders among which everything is met that they are meant to meet."""


class Order(Walk):
    """A walk whose every notification is judged, with a manager who clicks on everything."""

    def __init__(self, seed: int) -> None:
        self.judge = Judge()
        self.seqs: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self.clicks = 0
        super().__init__(seed)

    def say(self, ref: str, message: Message, crash: bool = False) -> None:
        super().say(ref, message, crash)
        for other in REFS:
            for event in self.logs[other][self.told[other] :]:
                self.told[other] += 1
                self.tell(other, event)
        assert not self.judge.faults, (type(message).__name__, self.judge.faults, self.logs[ref][-6:])

    def tell(self, ref: str, event: Any) -> None:
        fact = fact_of(ref, event)
        if fact is None:
            return
        self.seqs[ref] += 1
        seq = self.seqs[ref]
        self.judge.take(
            {
                "id": f"{ref}:{seq}",
                "type": fact.type,
                "version": 1,
                "time": str(self.at),
                "cursor": str(self.judge.news + 1),
                "campaign": ref,
                "seq": seq,
                "data": completed(fact, None),
            }
        )

    def step(self) -> None:
        if self.chance.random() >= COMMANDS:
            super().step()
            return
        self.at += self.chance.choice((0, 1, 50, 2_000))
        self.click_something(self.chance.choice(REFS))

    def click_something(self, ref: str) -> None:
        at, agent = self.at, self.chance.choice(list(AGENTS))
        wanted = self.chance.choice(list(Wanted))
        clicks: list[Callable[[], Message]] = [
            lambda: Start(at=at, by="m"),
            lambda: Start(at=at, by="m"),
            lambda: Stop(at=at, by="m"),
            lambda: Stop(at=at, by="m", force=True),
            lambda: Delete(at=at, by="m"),
            lambda: Modify(at=at, by="m", settings={"max_lines": self.chance.choice((1, 3))}),
            lambda: Modify(at=at, by="m", name=self.new_id()),
            lambda: Withdraw(at=at, by="m", agent=agent),
            lambda: AskAgent(at=at, by=agent, agent=agent, wanted=wanted, reason=""),
            lambda: self.allocation(agent),
        ]
        click = self.chance.choice(clicks)()
        self.clicks += 1
        if isinstance(click, Delete) and self.books[ref].campaign.status in (Status.CREATED, Status.STOPPED):
            return  # it would be the end of the story: that is tried last
        self.say(ref, click, crash=self.chance.random() < 0.01)

    def allocation(self, agent: str) -> Allocate:
        default = self.chance.choice(list(DefaultState))
        return Allocate(
            at=self.at, by="m", agent=agent, phone=agent, line=AGENTS[agent], default_state=default, weight=1
        )

    def end(self) -> None:
        """The remove recipe, and clicks on what is gone: refused, and nobody is told anything."""
        self.calm(force=self.chance.random() < 0.5)
        for ref in REFS:
            self.say(ref, Delete(at=self.at, by="m"))
        told = self.seqs.copy()
        for ref in REFS * 5:
            self.click_something(ref)
        assert self.seqs == told


def test_TF_05_to_TF_16_TF_21_TF_22_whatever_is_clicked_in_whatever_order_every_promise_is_kept(
    record_property: Callable[[str, object], None],
) -> None:
    states: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    commands = 0
    for seed in range(ORDERS):
        order = Order(seed)
        for _ in range(STEPS):
            order.step()
        order.end()
        rows = order.judge.overview.rows
        assert {ref: row.state for ref, row in rows.items()} == dict.fromkeys(REFS, "deleted"), seed
        assert all(row.seq == order.seqs[ref] for ref, row in rows.items())
        assert all(not row.calls for row in rows.values())
        states += order.judge.states
        refused += Counter({name: count for name, count in order.met.items() if name.startswith("refused ")})
        commands += order.clicks
    record_property("orders of commands", f"{ORDERS}, commands {commands}, states told {dict(states)}, {dict(refused)}")
    if ORDERS >= MET_AT_LEAST:
        for state in ("starting", "running", "stopping", "stopped", "deleted"):
            assert states[state] >= ORDERS, state
        assert all(refused[f"refused {name}"] for name in ("Start", "Delete", "Withdraw", "AskAgent"))
