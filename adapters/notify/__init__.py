"""Notifications that follow the log: the feed, and signed webhooks in per-campaign order."""

from adapters.notify.event import FeedEvent, FeedMerged, FeedRestored
from adapters.notify.limits import NotifyLimits
from adapters.notify.notice import NoticeEvent
from adapters.notify.notifier import Notifier
from adapters.outward.target import Targets

__all__ = ["FeedEvent", "FeedMerged", "FeedRestored", "NoticeEvent", "Notifier", "NotifyLimits", "Targets"]
