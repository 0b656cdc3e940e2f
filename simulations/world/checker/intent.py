"""2: nothing is dialled without its durable intent, before it, after its end, or twice; every intent has one end."""

from collections.abc import Iterator

from engine.core.call import CallAwaitingAgent, CallEnded, CallRequested
from engine.core.outcome import Outcome
from simulations.world.checker.step import Durable, LegDialled, Step


class Intents:
    watches = (CallAwaitingAgent, CallEnded, CallRequested, LegDialled)

    def __init__(self) -> None:
        self._requests: dict[str, str] = {}
        """The call that each request of another system began."""
        self._open: set[str] = set()
        self._ended: dict[str, tuple[Outcome, float]] = {}
        self._dialled: set[str] = set()

    def see(self, step: Step) -> Iterator[str]:
        match step:
            case Durable(event=CallAwaitingAgent(call=call, request=request)):
                yield from self._ask(call, request)
            case Durable(event=CallRequested(call=call, request=request)):
                yield from self._ask(call, request)
                if call in self._open or call in self._ended:
                    yield f"2: call {call} has a second intent"
                self._open.add(call)
            case Durable(event=CallEnded() as end, at_s=at_s):
                yield from self._end(end, at_s)
            case LegDialled(leg=leg):
                yield from self._dial(leg)
            case _:
                pass

    def _ask(self, call: str, request: str) -> Iterator[str]:
        if self._requests.setdefault(request, call) != call and request:
            yield f"2: {request} began call {call} beside {self._requests[request]}"

    def _end(self, end: CallEnded, at_s: float) -> Iterator[str]:
        if end.call in self._ended:
            yield f"2: call {end.call} ended a second time"
            return
        if end.outcome is Outcome.ANSWERED and end.call not in self._dialled:
            yield f"2: call {end.call} was answered and never dialled"
        if end.outcome is Outcome.FAILED and end.call in self._dialled:
            yield f"2: call {end.call} is told as never made, and was dialled"
        self._open.discard(end.call)
        self._ended[end.call] = end.outcome, at_s

    def _dial(self, leg: str) -> Iterator[str]:
        if leg in self._dialled:
            yield f"2: call {leg} was dialled twice"
        self._dialled.add(leg)
        if leg in self._ended:
            outcome, at_s = self._ended[leg]
            yield f"2: call {leg} was dialled though it had ended as {outcome} at {at_s:.3f} s"
        elif leg not in self._open:
            yield f"2: call {leg} was dialled without a durable intent"

    def left(self) -> Iterator[str]:
        for call in sorted(self._open):
            yield f"liveness: call {call} never ended"
