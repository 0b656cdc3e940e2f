"""What was done with a campaign's record as a whole: handed out, taken from the store into an archive, put back.

Nothing here changes what a campaign is. An archived log is read from its file; `campaign.archived` says which one, and is
durable before the first segment leaves the store.
"""

from typing import assert_never

import msgspec


class CampaignExported(msgspec.Struct, frozen=True, kw_only=True, tag="campaign.exported.v1"):
    """Somebody was given everything of it, people's data among it. Durable before the first byte."""

    at: int
    ref: str
    by: str


class CampaignArchived(msgspec.Struct, frozen=True, kw_only=True, tag="campaign.archived.v1"):
    """Its log is in a file of this name and digest, and leaves the store. `reason` is the rule."""

    at: int
    ref: str
    file: str
    sha256: str
    segments: int
    events: int
    by: str
    reason: str


class CampaignRestored(msgspec.Struct, frozen=True, kw_only=True, tag="campaign.restored.v1"):
    """Its log is in the store again. The campaign stays deleted."""

    at: int
    ref: str
    by: str


class ExportCampaign(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    ref: str
    by: str


class ArchiveCampaign(msgspec.Struct, frozen=True, kw_only=True):
    """Its log was written into a file, which was read back."""

    at: int
    ref: str
    file: str
    sha256: str
    segments: int
    events: int
    by: str
    reason: str


class RestoreCampaign(msgspec.Struct, frozen=True, kw_only=True):
    """Its log was put back."""

    at: int
    ref: str
    by: str


ArchiveEvent = CampaignExported | CampaignArchived | CampaignRestored
ArchiveCommand = ExportCampaign | ArchiveCampaign | RestoreCampaign


class Archives:
    """Where deleted campaigns' logs are."""

    def __init__(self) -> None:
        self.archived: dict[str, CampaignArchived] = {}
        """Those whose log is in a file."""
        self.restored: dict[str, int] = {}
        """When those that came back did."""

    def apply(self, event: ArchiveEvent) -> None:
        match event:
            case CampaignExported():
                pass  # a trace of who has it
            case CampaignArchived():
                self.archived[event.ref] = event
                self.restored.pop(event.ref, None)
            case CampaignRestored():
                self.archived.pop(event.ref, None)
                self.restored[event.ref] = event.at
            case _:
                assert_never(event)


def decide(state: Archives, deleted: bool, command: ArchiveCommand) -> list[ArchiveEvent]:
    """`deleted`: whether the campaign is. What was done already, or has no ground, yields nothing."""
    match command:
        case ExportCampaign():
            return [CampaignExported(at=command.at, ref=command.ref, by=command.by)]
        case ArchiveCampaign():
            if not deleted or command.ref in state.archived:
                return []
            return [
                CampaignArchived(
                    at=command.at,
                    ref=command.ref,
                    file=command.file,
                    sha256=command.sha256,
                    segments=command.segments,
                    events=command.events,
                    by=command.by,
                    reason=command.reason,
                )
            ]
        case RestoreCampaign():
            if command.ref not in state.archived:
                return []
            return [CampaignRestored(at=command.at, ref=command.ref, by=command.by)]
        case _:
            assert_never(command)
