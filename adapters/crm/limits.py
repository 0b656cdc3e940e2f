"""Every bound of the calls to CRMs, in one place."""

import msgspec

S = 1_000
MIN = 60 * S
HOUR = 60 * MIN


class CrmLimits(msgspec.Struct, frozen=True, kw_only=True):
    request_timeout_ms: int = 10 * S
    """From the first look-up of the name to the end of the answer's head."""
    response_bytes: int = 4_096
    """Read of an answer's body, so that the connection can be used again; the connection of a longer one is closed."""
    max_requests: int = 32
    """Under way at once, all campaigns together."""
    max_requests_per_campaign: int = 8
    """So that one CRM that doesn't answer keeps no other campaign's waiting."""
    max_waiting: int = 100_000
    """Interactions not yet settled; beyond it the logs are read no further until some are."""
    pending_events: int = 20_000
    """Handed over by the engine and not yet looked at; beyond it they are read back from the store."""
    retry_first_ms: int = 1 * S
    retry_max_ms: int = 15 * MIN
    """The pause doubles from the first to this one."""
    retry_jitter: float = 0.2
    max_retry_after_ms: int = 1 * HOUR
    """The longest pause that a CRM may ask for."""
    give_up_after_ms: int = 24 * HOUR
    """Counted from what it was to be told of; what is older is parked, and named in the operator's log."""
    sweep_ms: int = 5 * S
    """How often the logs of open campaigns are looked at without having been told of news."""
    save_every_ms: int = 1 * S
    stop_grace_ms: int = 1 * S
    """How long a stop waits for answers that are under way."""
