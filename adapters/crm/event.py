"""The log `crm`: each attempt to tell a CRM of something that a campaign's log holds. No personal data, no address."""

from enum import StrEnum

import msgspec

from engine.core.interaction import Trigger

CRM_LOG = "crm"
CRM_STREAM = "crm"


class Result(StrEnum):
    DELIVERED = "delivered"
    FAILED = "failed"  # and to be tried again
    PARKED = "parked"  # given up: it is too old
    DROPPED = "dropped"  # the campaign's settings don't want it any more


class InteractionTried(msgspec.Struct, frozen=True, kw_only=True, tag="interaction.tried.v1"):
    """`pos` is the place in the campaign's log of what the CRM is told of; `status` is HTTP's, 0 where no answer came."""

    at: int
    campaign: str
    pos: int
    call: str
    trigger: Trigger
    attempts: int
    result: Result
    status: int
    error: str
    retry_at: int

    @property
    def is_settled(self) -> bool:
        return self.result is not Result.FAILED


CrmEvent = InteractionTried
"""All events of the log `crm`. Their tags are storage: never reuse or rename one."""
