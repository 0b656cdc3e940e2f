"""What a token claims, read once its signature holds: nothing is taken that has two readings."""

import json
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, NoReturn

import msgspec
from msgspec import Meta

from engine.core.revocation import LONGEST_TOKEN_S, Revocations

AUDIENCE = "ringfold"
MAX_TTL_S = LONGEST_TOKEN_S
CLOCK_LEEWAY_S = 5
SUBJECT = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
"""RFC 3339, with its zone. The standard library reads more: weeks, basic formats, dates alone."""


class Role(StrEnum):
    ADMINISTRATOR = "administrator"
    SUPERVISOR = "supervisor"
    AGENT = "agent"
    CAMPAIGN_MANAGER = "campaign_manager"
    CRM = "crm"
    METRICS = "metrics"
    """A monitoring system: figures and health, and nothing of campaigns, people or calls."""


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts. `campaigns` bind it to some, where there are any; a supervisor without acts on those that name them.

    An agent's `subject` is the agent's id.
    """

    role: Role
    subject: str
    jti: str
    issued_at: int
    """Epoch ms, as is `expires_at`."""
    expires_at: int
    campaigns: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    """Whom it may act for, where there are any."""
    systems: tuple[str, ...] = ()
    """External systems that it may speak as, where there are any."""
    session_of: str = ""
    """The `jti` of the token that a session was opened with; "" for a token."""

    @property
    def share(self) -> str:
        """Whose share of requests it uses: sessions have that of their token, or a token had as many as it likes."""
        return self.session_of or self.jti

    def is_under(self, revoked: Revocations) -> bool:
        """Whether it was revoked, or the token that it was opened with, or whatever the subject had by then."""
        subject, at = self.subject, self.issued_at
        return revoked.covers(self.jti, subject, at) or revoked.covers(self.share, subject, at)


class TokenRefused(Exception):
    """Not a token that this service takes. The reason, one of few, is for our log and metrics, never for the caller."""


class Claims(msgspec.Struct, kw_only=True):
    """As the token holds them; times are RFC 3339."""

    iss: str
    aud: str
    sub: Annotated[str, Meta(pattern=rf"^{SUBJECT.pattern}$(?!\n)")]
    jti: Annotated[str, Meta(min_length=1, max_length=64)]
    iat: str
    exp: str
    role: Role
    nbf: str = ""
    campaigns: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    session_of: Annotated[str, Meta(max_length=64)] = ""


def read(payload: bytes, issuer: str, now: datetime) -> Principal:
    """Who acts, by a payload whose signature holds. Raises TokenRefused."""
    try:
        # Never by the library: duplicate keys, missing ends and other audiences must not pass.
        claims = msgspec.convert(parsed(payload), Claims)
        expires, issued, begins = time_of(claims.exp), time_of(claims.iat), time_of(claims.nbf or claims.iat)
    except (ValueError, TypeError, RecursionError) as error:
        raise TokenRefused("claims can't be read") from error
    if (claims.aud, claims.iss) != (AUDIENCE, issuer):
        raise TokenRefused("made for or by somebody else")
    if expires <= now:
        raise TokenRefused("expired")
    if max(issued, begins) > now + timedelta(seconds=CLOCK_LEEWAY_S):
        raise TokenRefused("not valid yet")
    if expires - issued > timedelta(seconds=MAX_TTL_S):
        raise TokenRefused("lives too long")
    return Principal(
        role=claims.role,
        subject=claims.sub,
        jti=claims.jti,
        issued_at=int(issued.timestamp() * 1_000),
        expires_at=int(expires.timestamp() * 1_000),
        campaigns=claims.campaigns,
        agents=claims.agents,
        systems=claims.systems,
        session_of=claims.session_of,
    )


def parsed(raw: bytes) -> Any:
    """JSON in which each key stands once, and every number is one. Raises ValueError, RecursionError."""
    return json.loads(raw.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_constant)


def time_of(text: str) -> datetime:
    if not TIME.fullmatch(text):
        raise ValueError("not an RFC 3339 time with its zone")
    return datetime.fromisoformat(text).astimezone(UTC)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
