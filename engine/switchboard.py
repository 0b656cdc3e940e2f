"""The one door to the PBX: what it says goes to the campaign whose leg it is, and only an owner's wishes go out."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from engine.campaigns import Running, log_of
from engine.core.claims import Claims
from engine.core.message import Resync
from engine.core.telephony import (
    BridgeLegs,
    HangUp,
    LegCreated,
    LegObservation,
    LegReady,
    PbxDown,
    PbxObservation,
    PbxUp,
)
from engine.limits import Limits
from engine.ports import Announcer, Telephony
from engine.tasks import Tasks

STRANGER_LOOK_MS, STRANGER_LOOKS = 200, 50
"""How often, and how many times, a leg that nobody knows is judged again while it isn't sure that all logs are ours."""

log = structlog.get_logger(__name__)


class Switchboard:
    """`holds_all`: whether this process is sure to own every log that it has."""

    def __init__(
        self,
        telephony: Telephony,
        campaigns: Mapping[str, Running],
        claims: Claims,
        holds_all: Callable[[], bool],
        limits: Limits,
        tasks: Tasks,
    ) -> None:
        self.pbx_reason = "not connected yet"
        self.announcer: Announcer | None = None
        self._heard_until = 0
        """When the PBX was lost last, 0 where this process never had it."""
        self._telephony, self._campaigns, self._claims = telephony, campaigns, claims
        self._holds_all, self._limits, self._tasks = holds_all, limits, tasks

    def hear(self, seen: LegObservation | PbxObservation) -> None:
        """Synchronous, never blocks, never raises."""
        if isinstance(seen, PbxUp):
            self._pbx_up(seen)
        elif isinstance(seen, PbxDown):
            if self._claims.pbx_up:
                self._heard_until = seen.at
            self._claims.pbx_up, self.pbx_reason = False, seen.reason
            log.warning("pbx down", reason=seen.reason)
        else:
            self._hear_leg(seen)

    def may_act(self, leg: str) -> bool:
        """Who was frozen on the way from a commit to the PBX must not do what its successor has settled meanwhile."""
        running = self._campaigns.get(self._claims.legs.get(leg, ""))
        return self._holds_all() if running is None else running.actor.lost is None and running.actor.log.holds

    def bridge(self, ref: str, pos: int, bridges: Sequence[BridgeLegs]) -> None:
        """Audio follows the call-connected notifications, which stand before a position of the log."""
        if self.announcer is None or self.announcer.is_announced(log_of(ref), pos):
            for effect in bridges:
                self._telephony.perform(effect)
        else:
            self._tasks.spawn(self._announce_then(self.announcer, ref, pos, bridges), f"bridge {ref} {pos}")

    async def _announce_then(self, announcer: Announcer, ref: str, pos: int, bridges: Sequence[BridgeLegs]) -> None:
        """A receiver that dawdles doesn't keep the contacts waiting."""
        try:
            async with asyncio.timeout(self._limits.announce_timeout_ms / 1_000):
                await announcer.announced(log_of(ref), pos)
        except TimeoutError:
            log.warning("bridged before the notification was sent", campaign=ref, pos=pos)
        for effect in bridges:
            self._telephony.perform(effect)

    def _hear_leg(self, seen: LegObservation) -> None:
        running = self._campaigns.get(self._claims.legs.get(seen.leg, ""))
        if running is not None:
            running.actor.post(seen)
        elif isinstance(seen, LegCreated | LegReady):
            self._hang_up_stranger(seen.leg)

    def _pbx_up(self, up: PbxUp) -> None:
        self._claims.pbx_up, self.pbx_reason = True, ""
        log.info("pbx up", legs=len(up.legs), restarted=up.restarted)
        by_campaign: dict[str, dict[str, Any]] = {ref: {} for ref in self._campaigns}
        for leg in up.legs:
            owner = self._claims.legs.get(leg.leg)
            if owner in by_campaign:
                by_campaign[owner][leg.leg] = leg
            else:
                self._hang_up_stranger(leg.leg)
        for ref, legs in by_campaign.items():
            resync = Resync(at=up.at, legs=legs, restarted=up.restarted, heard_until=self._heard_until)
            self._campaigns[ref].actor.post(resync)

    def _hang_up_stranger(self, leg: str) -> None:
        """A leg of our making that no log knows. Whoever lost a log can't tell it from its new owner's: it lets it be."""
        if self._holds_all():
            log.warning("a leg that nobody knows", leg=leg, hung_up=True)
            self._telephony.perform(HangUp(leg=leg))
        else:
            self._tasks.spawn(self._look_again(leg), f"stranger {leg}")

    async def _look_again(self, leg: str) -> None:
        """Who was frozen hears the PBX before it hears that its lease ran out, and maybe that nobody took it."""
        for _ in range(STRANGER_LOOKS):
            await asyncio.sleep(STRANGER_LOOK_MS / 1_000)
            if self._holds_all():
                self._hang_up_stranger(leg)
                return
        log.warning("a leg that nobody knows", leg=leg, hung_up=False)
