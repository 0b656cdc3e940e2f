"""The keys of an installation, and the tokens made and checked with them."""

import base64
import json
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyseto
import structlog

from api.token import keyfile
from api.token.claim import AUDIENCE, MAX_TTL_S, SUBJECT, Principal, Role, TokenRefused, parsed, read
from api.token.keyfile import KeyFile, KeyStatus, ReadyKey

MAX_TOKEN_CHARS = 4_096
MAX_FOOTER_CHARS = 512
FORM = re.compile(r"v4\.(public|local)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
MALFORMED = "not a v4 token with a footer"
MAX_SESSION_S = 12 * 3_600
SESSION = b"ringfold session"
"""Said by no session and bound to each: what else is encrypted under the key is none."""
log = structlog.get_logger(__name__)


class Published(NamedTuple):
    """What everybody may know of a key. `not_after` in epoch ms, 0 where it has no end yet."""

    kid: str
    paserk: str
    status: KeyStatus
    not_after: int


class KeyRing:
    """As the file is now: it is looked at before each use, so that a rotation needs no restart.

    A file that can't be read any more, or is wrong, is told in the log once, and the keys stay those that were read last.
    """

    def __init__(self, path: Path, issuer: str) -> None:
        self.issuer = issuer
        self._path = path
        self._seen = _mark(path)
        self._take(keyfile.read(path))

    @classmethod
    def open(cls, path: Path, issuer: str = "ringfold") -> "KeyRing":
        """Makes the file with one key where there is none. Raises OSError, ValueError: see `keyfile.read`."""
        keyfile.make_unless_there(path, _now_ms())
        return cls(path, issuer)

    @property
    def signing(self) -> ReadyKey:
        self._look()
        return next(one for one in self._keys.values() if one.stored.status is KeyStatus.SIGNING)

    @property
    def kid(self) -> str:
        """Of the key that signs."""
        return self.signing.stored.kid

    def published(self) -> Sequence[Published]:
        """Every key that tokens are checked by."""
        self._look()
        now = _now_ms()
        return [
            Published(kid, one.public.to_paserk(), one.stored.status, one.stored.not_after)
            for kid, one in self._keys.items()
            if one.stored.checks(now)
        ]

    def mint(
        self,
        role: Role,
        subject: str,
        ttl_s: int,
        campaigns: tuple[str, ...] = (),
        agents: tuple[str, ...] = (),
        systems: tuple[str, ...] = (),
    ) -> str:
        """Raises ValueError: no such subject, no such lifetime."""
        if not SUBJECT.fullmatch(subject):
            raise ValueError("a subject is 1 to 64 letters, digits and _ . @ -")
        if not 0 < ttl_s <= MAX_TTL_S:
            raise ValueError(f"a token lives 1 to {MAX_TTL_S} seconds")
        key = self.signing
        claims = self._claims(role, subject, ttl_s, campaigns=campaigns, agents=agents, systems=systems)
        return pyseto.encode(key.secret, msgspec.json.encode(claims), footer=_footer(key.stored.kid)).decode()

    def open_session(self, of: Principal, ttl_s: int) -> tuple[str, Principal]:
        """A v4.local token: who holds it can't read it, and it may do what `of` may, no longer than that.

        Raises ValueError: no such lifetime, or `of` is a session itself.
        """
        if of.session_of:
            raise ValueError("a session opens no other")
        if not 0 < ttl_s <= MAX_SESSION_S:
            raise ValueError(f"a session lives 1 to {MAX_SESSION_S} seconds")
        bound = {"campaigns": of.campaigns, "agents": of.agents, "systems": of.systems}
        claims = self._claims(of.role, of.subject, ttl_s, **bound, session_of=of.jti)
        end = min(datetime.fromisoformat(claims["exp"]), datetime.fromtimestamp(of.expires_at / 1_000, UTC))
        payload = msgspec.json.encode(claims | {"exp": end.isoformat()})
        local = self.signing.local
        token = pyseto.encode(local, payload, footer=_footer(local.to_paserk_id()), implicit_assertion=SESSION)
        return token.decode(), read(payload, self.issuer, datetime.now(UTC))

    def _claims(self, role: Role, subject: str, ttl_s: int, **bound: Any) -> dict[str, Any]:
        now = datetime.now(UTC)
        return {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": subject,
            "jti": secrets.token_hex(16),
            "iat": now.isoformat(),
            "exp": (now + timedelta(seconds=ttl_s)).isoformat(),
            "role": role.value,
            **bound,
        }

    def verify(self, token: str) -> Principal:
        """Of a token or a session. Raises TokenRefused."""
        purpose, kid = _purpose_and_kid(token)
        self._look()
        key = (self._keys if purpose == "public" else self._sessions).get(kid)
        if key is None or not key.stored.checks(_now_ms()):
            raise TokenRefused("no such key")
        try:
            if purpose == "public":
                payload = pyseto.decode(key.public, token).payload
            else:
                payload = pyseto.decode(key.local, token, implicit_assertion=SESSION).payload
        except (ValueError, TypeError, pyseto.VerifyError, pyseto.DecryptError) as error:
            raise TokenRefused("signature doesn't hold") from error
        assert isinstance(payload, bytes)  # no deserializer was given
        found = read(payload, self.issuer, datetime.now(UTC))
        if bool(found.session_of) != (purpose == "local"):
            raise TokenRefused("claims can't be read")
        return found

    def _look(self) -> None:
        """Two microseconds, where the file is as it was."""
        mark = _mark(self._path)
        if mark == self._seen:
            return
        self._seen = mark
        try:
            self._take(keyfile.read(self._path))
        except (OSError, ValueError) as error:
            log.error("the key file can't be used, keys stay as they were", reason=str(error))
        else:
            log.info("the keys have changed", kids=list(self._keys))

    def _take(self, file: KeyFile) -> None:
        self._keys = {one.kid: one.made_ready() for one in file.keys}
        self._sessions = {one.local.to_paserk_id(): one for one in self._keys.values()}
        """By the id of the half that encrypts."""


def _mark(path: Path) -> tuple[int, ...]:
    """Changes with the file."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _footer(kid: str) -> bytes:
    return json.dumps({"kid": kid}).encode()


def _purpose_and_kid(token: str) -> tuple[str, str]:
    """What it is, and which key the footer names, in a token that can be written in one way only. Raises TokenRefused."""
    found = FORM.fullmatch(token) if len(token) <= MAX_TOKEN_CHARS else None
    if found is None or len(found[3]) > MAX_FOOTER_CHARS:
        raise TokenRefused(MALFORMED)
    try:
        _exactly(found[2])
        return found[1], str(parsed(_exactly(found[3]))["kid"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise TokenRefused(MALFORMED) from error


def _exactly(part: str) -> bytes:
    """Base64url without padding. The last character may hold bits that belong to no byte: they must be 0.

    Raises ValueError.
    """
    raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(raw).rstrip(b"=") != part.encode():
        raise ValueError("not the one way to write it")
    return raw


def _now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1_000)
