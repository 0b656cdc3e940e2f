"""How a call ended: the one table from what the PBX says to what we say.

`OriginateResponse` and `DialEnd` don't tell outcomes apart (a rejected, an unknown and an unanswered number look the
same there), so the judgement rests on the contact leg's own hang-up cause and on whether that leg was ever up.
Q.850 causes as Asterisk reports them for PJSIP channels.
"""

from enum import StrEnum


class Outcome(StrEnum):
    """Exactly one per call. Names are storage and public."""

    ANSWERED = "answered"  # contact and agent shared audio
    ABANDONED = "abandoned"  # the contact answered and never got an agent
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    REJECTED = "rejected"
    INVALID = "invalid"  # the number doesn't exist
    UNAVAILABLE = "unavailable"  # it exists and can't be reached now
    CONGESTION = "congestion"  # the carrier had no way through
    CANCELLED = "cancelled"  # hung up by our side while it rang
    AGENT_UNREACHABLE = "agent_unreachable"  # the agent's phone didn't come; the contact was never dialled
    FAILED = "failed"  # proof that no attempt was made
    UNKNOWN = "unknown"  # no proof either way: never dialled again by itself


class Party(StrEnum):
    """Who ended a call, or whose fault its end was."""

    CONTACT = "contact"
    AGENT = "agent"
    DIALER = "dialer"
    CARRIER = "carrier"
    PBX = "pbx"
    UNKNOWN = "unknown"


BY_CAUSE: dict[int, tuple[Outcome, Party]] = {
    1: (Outcome.INVALID, Party.CARRIER),  # unallocated number (404)
    3: (Outcome.UNAVAILABLE, Party.CARRIER),  # no route to destination
    17: (Outcome.BUSY, Party.CONTACT),  # user busy (486)
    18: (Outcome.NO_ANSWER, Party.CONTACT),  # no user responding
    19: (Outcome.NO_ANSWER, Party.CONTACT),  # no answer (480, ring time-out)
    20: (Outcome.UNAVAILABLE, Party.CONTACT),  # subscriber absent
    21: (Outcome.REJECTED, Party.CONTACT),  # call rejected (603)
    27: (Outcome.UNAVAILABLE, Party.CARRIER),  # destination out of order
    28: (Outcome.INVALID, Party.CARRIER),  # invalid number format (484)
    34: (Outcome.CONGESTION, Party.CARRIER),  # no circuit available (503)
    38: (Outcome.CONGESTION, Party.CARRIER),  # network out of order (500)
    42: (Outcome.CONGESTION, Party.CARRIER),  # switching equipment congestion
    44: (Outcome.CONGESTION, Party.CARRIER),  # requested channel not available
}
"""For a leg that was never up. 16 and 26 (normal clearing, answered elsewhere) then mean that our side let go."""


def unanswered(cause: int, ringing: bool, hung_up_by: Party | None) -> tuple[Outcome, Party]:
    """Outcome of a contact leg that was never up. `hung_up_by` is who asked us to hang up, if anyone did."""
    if hung_up_by is not None:
        return Outcome.CANCELLED, hung_up_by
    if cause in BY_CAUSE:
        return BY_CAUSE[cause]
    if cause in (16, 26):
        return Outcome.CANCELLED, Party.DIALER
    if cause == 0 and ringing:
        return Outcome.NO_ANSWER, Party.CONTACT
    return Outcome.UNAVAILABLE, Party.CARRIER


def answered(bridged: bool, far_end: bool, hung_up_by: Party | None) -> tuple[Outcome, Party]:
    """Outcome of a contact leg that was up. With nobody else to blame it ended on our side: the agent's, where they spoke."""
    if far_end:
        by = Party.CONTACT
    elif hung_up_by is not None:
        by = hung_up_by
    else:
        by = Party.AGENT if bridged else Party.DIALER
    return (Outcome.ANSWERED if bridged else Outcome.ABANDONED), by


def agent_reason(cause: int, ringing: bool) -> str:
    """Why an agent's phone didn't come, in the words of the agent notification."""
    outcome, _ = unanswered(cause, ringing, None)
    return {
        Outcome.BUSY: "phone-busy",
        Outcome.REJECTED: "phone-rejected",
        Outcome.NO_ANSWER: "phone-no-answer",
        Outcome.CANCELLED: "phone-cancelled",
    }.get(outcome, "phone-unreachable")
