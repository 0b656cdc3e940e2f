"""What is told of agents. The campaign is in the envelope: an agent may work for several."""

from typing import ClassVar

from adapters.notify.content.base import Content, Fact
from engine.core import agent
from engine.core.agent import AgentEvent, AgentStatus, DefaultState, Line


class AgentAllocated(Content, frozen=True, kw_only=True):
    """An agent belongs to the campaign, or does on other terms."""

    TYPE: ClassVar[str] = "agent.allocated"

    agent: str
    phone: str
    line: Line
    default_state: DefaultState
    weight: int
    by: str


class AgentRemoved(Content, frozen=True, kw_only=True):
    """An agent belongs to the campaign no more."""

    TYPE: ClassVar[str] = "agent.removed"

    agent: str


class AgentStateChanged(Content, frozen=True, kw_only=True):
    """An agent's state in the campaign is another."""

    TYPE: ClassVar[str] = "agent.status"

    agent: str
    state: AgentStatus
    reason: str


def fact(event: AgentEvent) -> Fact | None:
    match event:
        case agent.AgentAllocated():
            allocated = AgentAllocated(
                agent=event.agent,
                phone=event.phone,
                line=event.line,
                default_state=event.default_state,
                weight=event.weight,
                by=event.by,
            )
            return Fact(at=event.at, data=allocated)
        case agent.AgentRemoved():
            return Fact(at=event.at, data=AgentRemoved(agent=event.agent))
        case agent.AgentStatusChanged():
            status = AgentStateChanged(agent=event.agent, state=event.status, reason=event.reason)
            return Fact(at=event.at, data=status)
        case _:
            return None  # what a client sees of these is the agent's state, or the removal
