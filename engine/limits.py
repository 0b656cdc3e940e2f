"""How much of everything one engine takes."""

import msgspec


class Limits(msgspec.Struct, kw_only=True):
    """What is asked again and again may be changed while the engine runs: when a snapshot is due, how long a bridge waits."""

    max_calls_in_setup: int = 50
    mailbox_messages: int = 10_000
    announce_timeout_ms: int = 250
    """How long a bridge waits, at most, for the call-connected notification to be on its way."""
    linger_ms: int = 10
    """How long, at most, what nobody waits for goes unwritten, so as to share a commit; 0 is not at all."""
    snapshot_every_events: int = 10_000
    snapshot_every_contacts: float = 0.01
    """And no sooner than after this many events a contact: what a snapshot costs grows with the contacts."""
    keep_every_refs: int = 10_000
    """Of contacts, and no sooner than a tenth of all are new."""
    trunk_lines: dict[str, int] = {}
    """The trunks there are, in order, each with its most calls at a time over all campaigns; 0 is no limit."""

    def snapshot_every(self, contacts: int) -> float:
        return max(self.snapshot_every_events, contacts * self.snapshot_every_contacts)
