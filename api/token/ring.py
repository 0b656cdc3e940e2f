"""The keys of an installation, and the tokens made and checked with them."""

import base64
import json
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyseto
import structlog
from pyseto.key_interface import KeyInterface

from api.token import keyfile
from api.token.claim import AUDIENCE, MAX_TTL_S, SUBJECT, Principal, Role, TokenRefused, parsed, read
from api.token.keyfile import KeyFile, KeyStatus, StoredKey

MAX_TOKEN_CHARS = 4_096
MAX_FOOTER_CHARS = 512
FORM = re.compile(r"v4\.public\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
MALFORMED = "not a v4.public token with a footer"
log = structlog.get_logger(__name__)


class Ringed(NamedTuple):
    """A key of the file, made ready."""

    stored: StoredKey
    secret: KeyInterface
    public: KeyInterface


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
        self._keys = _ringed(keyfile.read(path))

    @classmethod
    def open(cls, path: Path, issuer: str = "ringfold") -> "KeyRing":
        """Makes the file with one key where there is none. Raises OSError, ValueError: see `keyfile.read`."""
        keyfile.make_unless_there(path, _now_ms())
        return cls(path, issuer)

    @property
    def signing(self) -> Ringed:
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
        now = datetime.now(UTC)
        claims = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": subject,
            "jti": secrets.token_hex(16),
            "iat": now.isoformat(),
            "exp": (now + timedelta(seconds=ttl_s)).isoformat(),
            "role": role.value,
            "campaigns": list(campaigns),
            "agents": list(agents),
            "systems": list(systems),
        }
        key = self.signing
        footer = json.dumps({"kid": key.stored.kid}).encode()
        return pyseto.encode(key.secret, msgspec.json.encode(claims), footer=footer).decode()

    def verify(self, token: str) -> Principal:
        """Raises TokenRefused."""
        kid = _kid(token)
        self._look()
        key = self._keys.get(kid)
        if key is None or not key.stored.checks(_now_ms()):
            raise TokenRefused("no such key")
        try:
            payload = pyseto.decode(key.public, token).payload
        except (ValueError, TypeError, pyseto.VerifyError, pyseto.DecryptError) as error:
            raise TokenRefused("signature doesn't hold") from error
        assert isinstance(payload, bytes)  # no deserializer was given
        return read(payload, self.issuer, datetime.now(UTC))

    def _look(self) -> None:
        """Two microseconds, where the file is as it was."""
        mark = _mark(self._path)
        if mark == self._seen:
            return
        self._seen = mark
        try:
            self._keys = _ringed(keyfile.read(self._path))
        except (OSError, ValueError) as error:
            log.error("the key file can't be used, keys stay as they were", reason=str(error))
        else:
            log.info("the keys have changed", kids=list(self._keys))


def _mark(path: Path) -> tuple[int, ...]:
    """Changes with the file."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _ringed(file: KeyFile) -> dict[str, Ringed]:
    return {one.kid: Ringed(one, *one.pair()) for one in file.keys}


def _kid(token: str) -> str:
    """Which key the footer names, in a token that can be written in one way only. Raises TokenRefused."""
    found = FORM.fullmatch(token) if len(token) <= MAX_TOKEN_CHARS else None
    if found is None or len(found[2]) > MAX_FOOTER_CHARS:
        raise TokenRefused(MALFORMED)
    try:
        _exactly(found[1])
        return str(parsed(_exactly(found[2]))["kid"])
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
