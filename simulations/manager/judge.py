"""What notifications promise, held against those that come: it knows the requirements, and no code of the dialer."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from simulations.manager.overview import Notification, Overview, Row

ENVELOPE = frozenset({"id", "type", "version", "time", "cursor", "campaign", "seq", "data"})
NEXT: dict[str, tuple[str, ...]] = {
    "": ("created",),
    "created": ("starting", "deleted"),
    "starting": ("running", "stopping"),
    "running": ("stopping",),
    "stopping": ("stopped",),
    "stopped": ("starting", "deleted"),
    "deleted": (),
}
"""States of a campaign, and which may follow."""
NEVER_DIALLED = ("agent_unreachable", "cancelled")
"""A call may end so before the contact is dialled: while its agent's own phone rings."""
AT_WORK = ("available", "paused", "previewing", "busy", "wrapup")


class Judge:
    """Takes notifications as a receiver gets them; `faults` says which line of the requirements each broken promise is of."""

    def __init__(self, faults: Iterable[str] = ()) -> None:
        """`faults`: those that were found before."""
        self.overview = Overview()
        self.faults = list(faults)
        self.news = 0
        self.states: Counter[str] = Counter()
        """How often each state of a campaign was told."""
        self._known: dict[str, Notification] = {}
        self._calls: dict[tuple[str, str], str] = {}
        """The last that was told of each call."""
        self._held: dict[tuple[str, str], str] = {}
        """Reservation by contact."""
        self._lines: dict[tuple[str, str], str] = {}
        """By agent: whether their phone is nailed up, or called on demand."""

    def take(self, told: Notification) -> None:
        if set(told) != ENVELOPE:
            self._fault("TF-37", told, f"the envelope has {sorted(told)}")
            return
        known = self._known.get(told["id"])
        if known is not None:
            if known != told:
                self._fault("TF-06", told, f"came again as another: {known} before")
            return
        self._known[told["id"]] = told
        self.news += 1
        if not told["campaign"]:
            if told["type"].startswith("agent."):
                self._fault("TF-25", told, "an agent's notification names no campaign")
            return
        row = self.overview.rows.get(told["campaign"]) or Row(ref=told["campaign"])
        if told["seq"] != row.seq + 1:
            self._fault("TF-38", told, f"follows {row.seq}")
        self._hold(row, told["type"], told["data"], told)
        self.overview.take(told)

    def _hold(self, row: Row, kind: str, data: dict[str, Any], told: Notification) -> None:
        if row.state == "deleted":
            self._fault("TF-02", told, "told of a campaign that is gone")
        elif kind.startswith("campaign."):
            self._campaign(row, kind, data, told)
        elif kind.startswith("agent."):
            self._agent(row, kind, data, told)
        elif kind.startswith("call."):
            self._call(row, kind, data, told)
        elif kind.startswith("contact."):
            self._contact(row, kind, data, told)

    def _campaign(self, row: Row, kind: str, data: dict[str, Any], told: Notification) -> None:
        states = {"campaign.created": "created", "campaign.deleted": "deleted"}
        state = data["state"] if kind == "campaign.status" else states.get(kind, "")
        if not state:
            return
        self.states[state] += 1
        if state == row.state:
            self._fault("TF-08 TF-09", told, f"is told to be {state} again")
        elif state not in NEXT[row.state]:
            self._fault("TF-07", told, f"{row.state or 'nothing'} → {state}")
        if state == "stopped":
            if row.calls:
                self._fault("TF-11", told, f"stopped while calls live: {sorted(row.calls)}")
            there = sorted(agent for agent, was in row.agents.items() if was != "offline")
            if there:
                self._fault("TF-12 TF-22", told, f"stopped while agents are there: {there}")

    def _agent(self, row: Row, kind: str, data: dict[str, Any], told: Notification) -> None:
        agent = data["agent"]
        if kind == "agent.allocated":
            self._lines[row.ref, agent] = data["line"]
        if kind != "agent.status":
            return
        before, state = row.agents.get(agent, "offline"), data["state"]
        nailed = self._lines.get((row.ref, agent)) == "nailed"
        if nailed and before == "offline" and state in AT_WORK:
            self._fault("TF-22", told, f"{agent} is {state} without having logged in")
        if state == "logging_in" and row.state not in ("starting", "running"):
            self._fault("TF-21", told, f"{agent} is called while the campaign is {row.state}")
        if state == before and state != "offline":  # each try to log in has its answer, though it be the same
            self._fault("TF-06", told, f"{agent} is told to be {state} again")

    def _call(self, row: Row, kind: str, data: dict[str, Any], told: Notification) -> None:
        key = (row.ref, data["call"])
        before, now = self._calls.get(key), kind.removeprefix("call.")
        if now == "requested":
            if before is not None:
                self._fault("EX-01", told, "a call is requested twice")
            if row.state != "running":
                self._fault("TF-11", told, f"dialled while the campaign is {row.state}")
        elif before is None and not (now == "ended" and data["outcome"] in NEVER_DIALLED):
            self._fault("TF-35", told, "of a call that nobody was told of")
        elif before == "ended":
            self._fault("TF-35", told, "of a call that has ended")
        elif now == "bridged" and before != "connected":
            self._fault("TF-34", told, "bridged before it was connected")
        self._calls[key] = now

    def _contact(self, row: Row, kind: str, data: dict[str, Any], told: Notification) -> None:
        held = (row.ref, data["contact"])
        if kind == "contact.reserved":
            if held in self._held:
                self._fault("OM-07", told, f"held twice: {self._held[held]} lives")
            self._held[held] = data["reservation"]
        elif kind in ("contact.released", "contact.disposed") and data["reservation"] is not None:
            if self._held.get(held) != data["reservation"]:
                self._fault("OM-07", told, f"let go of what is not held: {self._held.get(held)} is")
            self._held.pop(held, None)

    def _fault(self, line: str, told: Notification, what: str) -> None:
        self.faults.append(f"{line}: {told.get('campaign')} {told.get('seq')} {told.get('type')}: {what}")
