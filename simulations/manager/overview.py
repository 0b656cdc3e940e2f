"""The table that a campaign manager shows. Nothing but notifications changes it: no answer to a command does."""

from typing import Any

import msgspec

Notification = dict[str, Any]


class Row(msgspec.Struct, kw_only=True):
    """One campaign, as told so far. `seq` is that of the last notification, `since` its time when the state came."""

    ref: str
    name: str = ""
    state: str = ""
    reason: str = ""
    since: str = ""
    seq: int = 0
    contacts: int = 0
    agents: dict[str, str] = msgspec.field(default_factory=dict)
    """State by agent."""
    calls: dict[str, str] = msgspec.field(default_factory=dict)
    """Calls that have not ended: requested, ringing, connected or bridged."""
    ended: int = 0


class Overview:
    """All campaigns by ref. `cursor` is where to go on after a restart: keep it with the rows, in one transaction."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.cursor = ""

    def take(self, told: Notification) -> bool:
        """Whether it was news: notifications come at least once, in order within a campaign."""
        self.cursor = told["cursor"] or self.cursor
        ref = told["campaign"]
        if not ref:  # of no campaign: nothing of this table
            return True
        row = self.rows.setdefault(ref, Row(ref=ref))
        if told["seq"] <= row.seq:
            return False
        row.seq = told["seq"]
        _apply(row, told["type"], told["data"], told["time"])
        return True


def _apply(row: Row, kind: str, data: dict[str, Any], time: str) -> None:
    match kind:
        case "campaign.created":
            row.name, row.state, row.since = data["name"], "created", time
        case "campaign.renamed":
            row.name = data["new"]
        case "campaign.status":
            row.state, row.reason, row.since = data["state"], data["reason"] or "", time
        case "campaign.deleted":
            row.state, row.reason, row.since = "deleted", data["reason"] or "", time
            row.agents.clear()
        case "agent.allocated":
            row.agents.setdefault(data["agent"], "offline")
        case "agent.removed":
            row.agents.pop(data["agent"], None)
        case "agent.status":
            row.agents[data["agent"]] = data["state"]
        case "contacts.added":
            row.contacts += data["count"]
        case "call.requested" | "call.ringing" | "call.connected" | "call.bridged":
            row.calls[data["call"]] = kind.removeprefix("call.")
        case "call.ended":
            row.calls.pop(data["call"], None)
            row.ended += 1
        case _:  # more types may come: what isn't known is passed over
            pass
