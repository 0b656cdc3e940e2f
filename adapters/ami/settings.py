"""What the adapter must be told, and its fixed limits."""

import msgspec


class AmiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One manager login. Use one login per engine, over loopback, a VPN or TLS: AMI is a trusted interface."""

    host: str = "127.0.0.1"
    port: int = 5038
    username: str
    secret: str
    tls: bool = False
    connect_timeout_ms: int = 3_000
    ping_interval_ms: int = 1_000
    dead_after_ms: int = 3_500
    """Without one byte from the PBX for this long the connection is dropped and made anew."""
    reconnect_min_ms: int = 200
    reconnect_max_ms: int = 5_000
    max_originates_per_second: int = 50
    max_pending_actions: int = 500
    """Contacts' originates that wait to be sent; further ones are rejected as `overload`."""
    cel_path: str = ""
    """The CSV that cel_custom writes for us; empty where there is none."""
    recordings_path: str = ""
    """The PBX's folder of our recordings, as it is seen from here; empty where it isn't."""

    def __repr__(self) -> str:
        return f"AmiSettings({self.username!r} at {self.host}:{self.port})"  # never the secret


IN_FLIGHT_MAX_ACTIONS = 64
"""Sent and not yet answered. The PBX works them off one by one, so more would only wait there."""
AGENTS_WAITING_MAX_ORIGINATES = 5_000
"""Agents' originates that wait to be sent: as many as agents may be logged in at one start. Further ones are `overload`."""
URGENT_MAX_ACTIONS = 16_384
"""Waiting bridges, hang-ups and questions. A PBX that lets so many wait is taken for dead."""
ANSWER_TIMEOUT_MS = 10_000
RESYNC_TIMEOUT_MS = 15_000
BOOT_WAIT_MS = 1_000
"""How long FullyBooted is waited for; a login without class `system` never gets it."""
RESYNC_BUFFER_MAX_EVENTS = 200_000
LISTED_MAX_CHANNELS = 100_000
"""Of a list of channels; a longer one is no list, and the connection is made anew."""
UPTIME_MAX_DIGITS = 12
ABSENCE_GRACE_MS = 1_000
"""Answers overtake events: a leg that is gone may have its Hangup still under way."""
HOMECOMING_MAX_MS = 2_000
"""An answered contact waits so long for the agent's leg to be back in the holding bridge: it was seen to take up to 46 ms."""
TRACKED_MAX_LEGS = 100_000
MESSAGE_MAX_BYTES = 1_048_576
HEADER_LINE_MAX_BYTES = 1_022
HEADER_MAX_LINES = 128
CEL_TAIL_MAX_BYTES = 4_194_304
