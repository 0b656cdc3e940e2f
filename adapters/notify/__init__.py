"""Notifications that follow the log: the feed, and signed webhooks in per-campaign order."""
