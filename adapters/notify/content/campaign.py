"""What is told of a campaign itself."""

from typing import Any, ClassVar, Literal, assert_never

from adapters.notify.content.base import Content, Count, Fact
from engine.core import campaign
from engine.core.campaign import CampaignEvent, Mode, Settings


class CampaignCreated(Content, frozen=True, kw_only=True):
    """There is a new campaign. It is `created`."""

    TYPE: ClassVar[str] = "campaign.created"

    name: str
    mode: Mode
    settings: Settings
    by: str


class CampaignRenamed(Content, frozen=True, kw_only=True):
    """A campaign has another name. Its ref never changes."""

    TYPE: ClassVar[str] = "campaign.renamed"

    old: str
    new: str
    by: str


class CampaignSettingsChanged(Content, frozen=True, kw_only=True):
    """Settings were edited: those that changed, as they were and as they are."""

    TYPE: ClassVar[str] = "campaign.settings_changed"

    old: dict[str, Any]
    new: dict[str, Any]
    by: str


class CampaignStatus(Content, frozen=True, kw_only=True):
    """A campaign is in another state. No answer to a command tells a state: this does."""

    TYPE: ClassVar[str] = "campaign.status"

    state: Literal["starting", "running", "stopping", "stopped"]
    reason: str | None
    """Why it stops or stopped."""
    by: str | None
    """Who asked for it; null where nobody did."""


class CampaignStopForced(Content, frozen=True, kw_only=True):
    """Somebody didn't want to wait for live calls: they are hung up."""

    TYPE: ClassVar[str] = "campaign.stop_forced"

    by: str


class CampaignTargetReached(Content, frozen=True, kw_only=True):
    """As many contacts were engaged as the campaign was meant to. It stops."""

    TYPE: ClassVar[str] = "campaign.target_reached"

    target: Count
    engaged: Count


class CampaignDeleted(Content, frozen=True, kw_only=True):
    """A campaign is gone. Its ref is never used again."""

    TYPE: ClassVar[str] = "campaign.deleted"

    by: str
    reason: str | None
    """The rule that deleted it; null where a person did."""


Told = (
    CampaignCreated
    | CampaignRenamed
    | CampaignSettingsChanged
    | CampaignStatus
    | CampaignStopForced
    | CampaignTargetReached
    | CampaignDeleted
)


def fact(event: CampaignEvent) -> Fact:
    return Fact(at=event.at, data=_data(event))


def _data(event: CampaignEvent) -> Told:
    match event:
        case campaign.CampaignCreated():
            return CampaignCreated(name=event.name, mode=event.mode, settings=event.settings, by=event.by)
        case campaign.CampaignRenamed():
            return CampaignRenamed(old=event.old, new=event.new, by=event.by)
        case campaign.SettingsChanged():
            return CampaignSettingsChanged(old=event.old, new=event.new, by=event.by)
        case campaign.CampaignStarting():
            return CampaignStatus(state="starting", reason=None, by=event.by)
        case campaign.CampaignRunning():
            return CampaignStatus(state="running", reason=None, by=None)
        case campaign.CampaignStopping():
            return CampaignStatus(state="stopping", reason=event.reason, by=event.by)
        case campaign.StopForced():
            return CampaignStopForced(by=event.by)
        case campaign.CampaignStopped():
            return CampaignStatus(state="stopped", reason=event.reason, by=None)
        case campaign.TargetReached():
            return CampaignTargetReached(target=event.target, engaged=event.engaged)
        case campaign.CampaignDeleted():
            return CampaignDeleted(by=event.by, reason=event.reason or None)
        case _:
            assert_never(event)
