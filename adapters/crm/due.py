"""What a CRM is to be told of: which events of a campaign's log, and whether the campaign's settings want it."""

import msgspec

from engine.core.call import CallConnected
from engine.core.campaign import Settings
from engine.core.interaction import ExternalUrl, Interaction, Trigger
from engine.core.reservation import ContactDisposed
from engine.ports import Recorded


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """`at` and `pos`: when it happened and where it stands. `call` is empty where a contact was closed undialled."""

    campaign: str
    pos: int
    at: int
    trigger: Trigger
    contact: str
    agent: str
    call: str
    disposition: str = ""


def due_of(campaign: str, recorded: Recorded) -> Due | None:
    match recorded.event:
        case CallConnected() as event:
            trigger, disposition = Trigger.SERVER, ""
        case ContactDisposed() as event:
            trigger, disposition = Trigger.DISPOSITION, event.disposition
        case _:
            return None
    return Due(
        campaign=campaign,
        pos=recorded.pos,
        at=event.at,
        trigger=trigger,
        contact=event.contact,
        agent=event.agent,
        call=event.call,
        disposition=disposition,
    )


def wanted_by(settings: Settings, trigger: Trigger) -> ExternalUrl | None:
    """The address to call for a trigger, if the settings have one."""
    external = settings.external_url
    if settings.interaction is not Interaction.EXTERNAL_URL or external is None or external.trigger is not trigger:
        return None
    return external
