"""What is told of receivers themselves. It is told under no campaign, in a sequence of its own."""

from typing import ClassVar, Literal

from adapters.notify.content.base import Content, Moment

Reason = Literal["gone", "failing", "archived"]
"""`gone`: it answered 410; `failing`: it failed for as long as is tried; `archived`: what comes next left the store."""


class WebhookParked(Content, frozen=True, kw_only=True):
    """Nothing more is sent to a receiver, or nothing more of one campaign, until somebody resumes it. Nothing is skipped."""

    TYPE: ClassVar[str] = "webhook.parked"

    webhook: str
    campaign: str | None
    """Null: all campaigns."""
    reason: Reason
    """`gone`: it answered 410; `failing`: it failed for as long as is tried; `archived`: what comes next left the store."""
    error: str
    """What the last attempt met."""
    failing_since: Moment | None


class WebhookResumed(Content, frozen=True, kw_only=True):
    """A receiver is sent everything that it missed, in order."""

    TYPE: ClassVar[str] = "webhook.resumed"

    webhook: str


class WebhookPing(Content, frozen=True, kw_only=True):
    """Somebody asks whether a receiver takes what it is sent. It is in no feed and never repeated."""

    TYPE: ClassVar[str] = "webhook.ping"

    webhook: str
    by: str
