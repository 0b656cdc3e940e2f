"""3: stopped means that no call lives, and once stop was taken none is begun."""

from collections.abc import Iterator

from engine.core.call import CallAwaitingAgent, CallEnded, CallRequested
from engine.core.campaign import CampaignRunning, CampaignStarting, CampaignStopped, CampaignStopping
from simulations.world.checker.step import Durable, Step


class Stops:
    watches = (
        CallAwaitingAgent,
        CallEnded,
        CallRequested,
        CampaignRunning,
        CampaignStarting,
        CampaignStopped,
        CampaignStopping,
    )

    def __init__(self) -> None:
        self._live: dict[str, str] = {}
        """Log by live call."""
        self._status: dict[str, str] = {}
        """How each campaign stands, by its log."""

    def see(self, step: Step) -> Iterator[str]:
        if not isinstance(step, Durable):
            return
        match step.event:
            case CampaignStarting() | CampaignRunning():
                self._status[step.log] = "open"
            case CampaignStopping():
                self._status[step.log] = "stopping"
            case CampaignStopped():
                self._status[step.log] = "stopped"
                for call in (one for one, log in self._live.items() if log == step.log):
                    yield f"3: stopped, and call {call} lives"
            case CallAwaitingAgent(call=call) | CallRequested(call=call):
                self._live[call] = step.log
                status = self._status.get(step.log, "new")
                if status != "open":
                    yield f"3: call {call} was begun in a campaign that was {status}"
            case CallEnded(call=call):
                self._live.pop(call, None)
            case _:
                pass

    def left(self) -> Iterator[str]:
        for log, status in self._status.items():
            if status != "stopped":
                yield f"liveness: {log} was to stop, and is {status}"
