"""The telephone exchange behind the AMI: its legs, bridges and far ends, and the record of what was really dialled."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from simulations.pbx.bridge import CONVERSATION, Bridge, holding
from simulations.pbx.cel import Cel
from simulations.pbx.leg import Leg
from simulations.pbx.originate import Originate
from simulations.pbx.recording import Recordings
from simulations.pbx.script import Script

MAX_ORIGINATES_KEPT = 1_000_000
EPOCH_S = 1_800_000_000
"""Where the simulated wall clock stands when the loop's clock is 0: ids and dates must not depend on the day."""


Witness = Callable[[Leg, str], None]
"""Told of each leg what happens to it, at that instant: `CHAN_START`, `ANSWER`, `HANGUP`, or `LOST` with the PBX."""


class Dialled(msgspec.Struct, frozen=True):
    """One attempt that reached a far end. `phone` is an agent's phone, else `number` and `trunk` are set.

    `at` is the loop's time in seconds, not scaled.
    """

    leg: str
    phone: str
    number: str
    trunk: str
    at: float


class Exchange:
    def __init__(
        self,
        script: Script,
        seed: int,
        time_scale: float,
        publish: Callable[[str, Callable[[], bytes]], None],
        version: int,
        cel: Cel,
        monitor: Path | None = None,
        return_ms: tuple[float, float] = (0, 0),
    ) -> None:
        self.script = script
        self.chance = random.Random(seed)
        self.publish = publish
        self.time_scale = time_scale
        self.return_ms = return_ms
        self.tells_sip_code = version >= 22
        self.tells_cause_of_ring_out = version >= 22
        self.originates: deque[Dialled] = deque(maxlen=MAX_ORIGINATES_KEPT)
        self.dialled = 0
        self.peak_channels = 0
        self.function_writes: list[tuple[str, str, str]] = []
        self.failing = 0
        self.witness: Witness | None = None
        self._seed = seed
        self._cel = cel
        self._loop = asyncio.get_running_loop()
        self.recordings = Recordings(monitor, lambda: self._loop.time() / self.time_scale)
        self._attempts: Counter[str] = Counter()
        self._names = self._uids = 0
        self._legs: dict[str, Leg] = {}
        self._by_name: dict[str, Leg] = {}
        self._uid_lengths: Counter[int] = Counter()
        self.started_at = self._loop.time()

    # -- what legs need -----------------------------------------------------------------------------------------------

    def later(self, delay_ms: float, act: Callable[[], None]) -> asyncio.TimerHandle:
        return self._loop.call_later(delay_ms * self.time_scale / 1000, act)

    def find(self, name_or_uid: str) -> Leg | None:
        return self._by_name.get(name_or_uid) or self._legs.get(name_or_uid.lower())

    def holding(self, name: str) -> Bridge:
        """A bridge for one to wait in; left for good it is gone, and the next time there is a new one of that name."""
        return Bridge(self._bridge_uid(), holding(name), self.publish, self.record)

    def new_bridge(self) -> Bridge:
        return Bridge(self._bridge_uid(), CONVERSATION, self.publish, self.record)

    def record(self, leg: Leg, event: str, /, **extra: str | int) -> None:
        self._cel.write(leg.uid, event, self.now_s(), leg.name, **extra)
        self._tell_witness(leg, event)

    def _tell_witness(self, leg: Leg, event: str) -> None:
        if self.witness is not None:
            self.witness(leg, event)

    def gone(self, leg: Leg) -> None:
        self.recordings.stop(leg.uid)
        self._legs.pop(leg.uid.lower(), None)
        self._by_name.pop(leg.name, None)
        self._uid_lengths[len(leg.uid)] -= 1

    # -- what actions need --------------------------------------------------------------------------------------------

    @property
    def legs(self) -> tuple[Leg, ...]:
        return tuple(self._legs.values())

    def now_s(self) -> float:
        """The simulated wall clock, epoch seconds."""
        return EPOCH_S + self._loop.time()

    @property
    def started_s(self) -> float:
        """When the PBX started, epoch seconds: the same however often it is asked."""
        return EPOCH_S + self.started_at

    def uptime_s(self) -> int:
        return int(self._loop.time() - self.started_at)

    def seconds(self, leg: Leg) -> int:
        return int(self._loop.time() - leg.created_at)

    def originate(self, request: Originate) -> None:
        """Dial, or tell at once that nothing was dialled: unknown endpoint, taken id, no resources."""
        tech, _, address = request.channel.partition("/")
        number, _, trunk = address.rpartition("@")
        known = self.script.has_trunk(trunk) if number else self.script.has_phone(address)
        if self.failing:
            self.failing -= 1
        elif tech.upper() == "PJSIP" and known and not self._taken(request.uid):
            self._dial(request, number, trunk if number else address)
            return
        request.answered(False, 0, None)

    def restart(self) -> None:
        """The process died and is back: nothing of what was lives, and nobody was told."""
        for leg in self.legs:
            leg.vanish()
            self._tell_witness(leg, "LOST")
        self.recordings.lose()
        self._legs.clear()
        self._by_name.clear()
        self._uid_lengths.clear()
        self._names = 0
        self.started_at = self._loop.time()

    def _dial(self, request: Originate, number: str, endpoint: str) -> None:
        target = number or endpoint
        attempt = self._attempts[target]
        self._attempts[target] += 1
        outcome = self.script.number(number, attempt, self._seed) if number else self.script.phone(endpoint, attempt)
        if not request.uid:
            request = msgspec.structs.replace(request, uid=f"pbx-{int(self.now_s())}.{self._uids}")
            self._uids += 1
        name = f"PJSIP/{endpoint}-{self._names:08x}"
        self._names += 1
        leg = Leg(self, name, self._loop.time(), endpoint, request, outcome)
        self._legs[leg.uid.lower()] = self._by_name[name] = leg
        self._uid_lengths[len(leg.uid)] += 1
        self.peak_channels = max(self.peak_channels, len(self._legs))
        self.dialled += 1
        dialled = Dialled(leg.uid, "", number, endpoint, leg.created_at)
        if not number:
            dialled = Dialled(leg.uid, endpoint, "", "", leg.created_at)
        self.originates.append(dialled)
        self.function_writes += [(leg.uid, n, v) for n, v in request.variables if "(" in n]
        leg.dial()

    def _taken(self, uid: str) -> bool:
        """Whether a living channel's id begins with this one, in any case: so crude is the real one's test."""
        if not uid:
            return False
        wanted = uid.lower()
        if wanted in self._legs:
            return True
        # Ids of one fixed length can't be each other's prefixes: the scan is only for those who break that rule.
        longer = any(count > 0 and length > len(uid) for length, count in self._uid_lengths.items())
        return longer and any(other.startswith(wanted) for other in self._legs)

    def _bridge_uid(self) -> str:
        digits = f"{self.chance.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
