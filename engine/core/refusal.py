"""Why a command is refused, and whose turn it is to act. Observations are never refused."""

from enum import StrEnum


class Fault(StrEnum):
    """What the caller can do about a refusal."""

    INVALID = "invalid"  # the request itself is wrong: mend it
    ABSENT = "absent"  # what it names doesn't exist
    RULE = "rule"  # right in itself, against the rules in this state
    STALE = "stale"  # based on an older state: read again
    BUSY = "busy"  # no room now: try again later


class Refused(Exception):
    """A command that changed nothing. `code` is stable and documented; `field` names the culprit where there is one."""

    def __init__(self, fault: Fault, code: str, detail: str, field: str = "") -> None:
        super().__init__(detail)
        self.fault, self.code, self.detail, self.field = fault, code, detail, field

    def __repr__(self) -> str:
        return f"Refused({self.code!r}, {self.detail!r})"


def invalid(field: str, detail: str) -> Refused:
    return Refused(Fault.INVALID, "invalid-request", detail, field)


def absent(what: str, ref: str) -> Refused:
    return Refused(Fault.ABSENT, f"unknown-{what}", f"there is no {what} {ref!r}")


def against_rule(code: str, detail: str, field: str = "") -> Refused:
    return Refused(Fault.RULE, code, detail, field)


def stale(code: str, detail: str) -> Refused:
    return Refused(Fault.STALE, code, detail)


def no_room(code: str, detail: str) -> Refused:
    return Refused(Fault.BUSY, code, detail)
