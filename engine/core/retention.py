"""What is kept, and how long: a campaign that ran and has been stopped ever since is cleaned by itself after a time,
and the log of one that was deleted leaves the store for an archive, where the operator wants that.

Cleaning is deleting: the campaign's ref and its contacts' stay used for ever, its log stays. A campaign that never ran is
being prepared, and one that isn't stopped is at work: neither is ever cleaned, however old.
"""

import msgspec

from engine.core.archive import Archives
from engine.core.campaign import Campaign, Clean, Status

CLEANER = "dialer:retention"
"""Who deletes and archives where nobody asked: the `by` of the event."""
DAY_MS = 86_400_000


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's rule. `clean_after_days` counts from when a campaign last ran; 0 cleans nothing.

    `archive_after_days` counts from when it was deleted, or its log put back; 0 archives nothing.
    """

    clean_after_days: int = 7
    archive_after_days: int = 0

    @property
    def named(self) -> str:
        """The rule, as events and lists tell it."""
        return f"clean_after_days={self.clean_after_days}"

    @property
    def archives(self) -> str:
        """The rule by which logs are archived."""
        return f"archive_after_days={self.archive_after_days}"


class Outlook(msgspec.Struct, frozen=True):
    """`due_at` is when it may be done, epoch ms, 0 where it will not be as it stands; `why` says so."""

    due_at: int
    why: str


def outlook(rule: Retention, campaign: Campaign) -> Outlook:
    if not rule.clean_after_days:
        return Outlook(0, "cleaning is switched off")
    if not campaign.last_run_at:
        return Outlook(0, "it never ran")
    if campaign.status is not Status.STOPPED:
        return Outlook(0, f"it is {campaign.status}")
    clean_at = campaign.last_run_at + rule.clean_after_days * DAY_MS
    return Outlook(clean_at, f"it ran, and is cleaned {rule.clean_after_days} days after it last did")


def cleaning(rule: Retention, campaign: Campaign, at: int) -> Clean | None:
    """What to tell a campaign that looks due. It judges itself: it may have been started meanwhile."""
    due = outlook(rule, campaign).due_at
    if not due or at < due:
        return None
    return Clean(at=at, by=CLEANER, after_ms=rule.clean_after_days * DAY_MS, reason=rule.named)


def archiving(rule: Retention, archives: Archives, ref: str, deleted_at: int) -> Outlook:
    """What is ahead of a deleted campaign's log: `due_at` is when it may leave the store."""
    if ref in archives.archived:
        return Outlook(0, f"its log is archived in {archives.archived[ref].file}")
    if not rule.archive_after_days:
        return Outlook(0, "archiving is switched off")
    restored_at = archives.restored.get(ref, 0)
    at = max(deleted_at, restored_at) + rule.archive_after_days * DAY_MS
    since = "its log was put back" if restored_at else "it was deleted"
    return Outlook(at, f"its log is archived {rule.archive_after_days} days after {since}")
