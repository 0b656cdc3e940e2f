"""Tokens that are refused before their end: one by its id, or all that a subject was given up to a time.

No token lives longer than `LONGEST_TOKEN_S`: what is older than that needs no remembering.
"""

from collections.abc import Iterator
from typing import Any, assert_never

import msgspec

from engine.core.refusal import against_rule

LONGEST_TOKEN_S = 90 * 86_400
KEPT_MS = (LONGEST_TOKEN_S + 86_400) * 1_000
"""A day more than any token may live, for clocks that differ."""
MAX_REVOKED = 10_000
"""Of tokens and of subjects, each."""


class TokenRevoked(msgspec.Struct, frozen=True, kw_only=True, tag="token.revoked.v1"):
    at: int
    jti: str
    by: str
    expires_at: int = 0
    """Epoch ms; 0 where nobody said when."""

    @property
    def until(self) -> int:
        """From when on it needs no remembering."""
        return self.expires_at or self.at + KEPT_MS


class SubjectRevoked(msgspec.Struct, frozen=True, kw_only=True, tag="token.subject_revoked.v1"):
    """Whatever tokens the subject had been given, in any role. Those given later are good."""

    at: int
    subject: str
    by: str

    @property
    def until(self) -> int:
        return self.at + KEPT_MS


class RevokeToken(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    by: str
    jti: str
    expires_at: int = 0


class RevokeSubject(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    by: str
    subject: str


RevocationEvent = TokenRevoked | SubjectRevoked
RevocationCommand = RevokeToken | RevokeSubject


class Revocations:
    def __init__(self) -> None:
        self._tokens: dict[str, TokenRevoked] = {}
        self._subjects: dict[str, SubjectRevoked] = {}

    def apply(self, event: RevocationEvent) -> None:
        """Also forgets those that no living token can be under."""
        self._tokens = {key: one for key, one in self._tokens.items() if one.until > event.at}
        self._subjects = {key: one for key, one in self._subjects.items() if one.until > event.at}
        match event:
            case TokenRevoked():
                self._tokens[event.jti] = event
            case SubjectRevoked():
                self._subjects.pop(event.subject, None)  # the newest goes to the end
                self._subjects[event.subject] = event
            case _:
                assert_never(event)

    def covers(self, jti: str, subject: str, issued_at: int) -> bool:
        """Whether a token is refused; `issued_at` in epoch ms."""
        whole = self._subjects.get(subject)
        return jti in self._tokens or (whole is not None and issued_at <= whole.at)

    def __iter__(self) -> Iterator[RevocationEvent]:
        """In the order in which they were revoked, tokens first."""
        yield from self._tokens.values()
        yield from self._subjects.values()

    def decide(self, command: RevocationCommand) -> tuple[list[RevocationEvent], Any]:
        match command:
            case RevokeToken():
                if command.jti in self._tokens:
                    return [], None
                _check(self._tokens, command.at)
                event = TokenRevoked(at=command.at, jti=command.jti, by=command.by, expires_at=command.expires_at)
                return [event], None
            case RevokeSubject():
                if command.subject not in self._subjects:
                    _check(self._subjects, command.at)
                return [SubjectRevoked(at=command.at, subject=command.subject, by=command.by)], None
            case _:
                assert_never(command)


def _check(known: dict[str, Any], at: int) -> None:
    if sum(one.until > at for one in known.values()) >= MAX_REVOKED:
        raise against_rule("too-many-revoked", f"{MAX_REVOKED} are revoked already: exchange the key instead")
