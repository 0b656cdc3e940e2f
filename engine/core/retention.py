"""What is kept, and how long: a campaign that ran and has been stopped ever since is cleaned by itself after a time.

Cleaning is deleting: the campaign's ref and its contacts' stay used for ever, its log stays. A campaign that never ran is
being prepared, and one that isn't stopped is at work: neither is ever cleaned, however old.
"""

import msgspec

from engine.core.campaign import Campaign, Clean, Status

CLEANER = "dialer:retention"
"""Who deletes where nobody asked: the `by` of the event."""
DAY_MS = 86_400_000


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's rule. `clean_after_days` counts from when a campaign last ran; 0 cleans nothing."""

    clean_after_days: int = 7

    @property
    def named(self) -> str:
        """The rule, as events and lists tell it."""
        return f"clean_after_days={self.clean_after_days}"


class Outlook(msgspec.Struct, frozen=True):
    """`clean_at` is when a campaign may be cleaned, epoch ms, 0 where it will not be as it stands; `why` says so."""

    clean_at: int
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
    due = outlook(rule, campaign).clean_at
    if not due or at < due:
        return None
    return Clean(at=at, by=CLEANER, after_ms=rule.clean_after_days * DAY_MS, reason=rule.named)
