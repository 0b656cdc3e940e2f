"""Who calls: PASETO v4.public tokens, signed with a key of this installation.

Only tokens that were made for this service are taken: one key is chosen by the `kid` of the footer, before anything else is
read; the audience must be ours, and there must be an end. Whatever is wrong with a token, the answer is the same.
"""

import base64
import contextlib
import json
import os
import re
import secrets
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
import pyseto
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from pyseto import Key

AUDIENCE = "ringfold"
MAX_TOKEN_CHARS = 4_096
MAX_FOOTER_CHARS = 512
MAX_TTL_S = 90 * 86_400
SUBJECT = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
CLOCK_LEEWAY_S = 5


class Role(StrEnum):
    ADMINISTRATOR = "administrator"
    SUPERVISOR = "supervisor"
    AGENT = "agent"
    CAMPAIGN_MANAGER = "campaign_manager"
    CRM = "crm"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts. `campaigns` bind it to some, where there are any; a supervisor without acts on those that name them.

    An agent's `subject` is the agent's id.
    """

    role: Role
    subject: str
    jti: str
    expires_at: int
    """Epoch ms."""
    campaigns: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    """Whom it may act for, where there are any."""
    systems: tuple[str, ...] = ()
    """External systems that it may speak as, where there are any."""


class TokenRefused(Exception):
    """Not a token that this service takes. The reason is for our log, never for the caller."""


class _Claims(msgspec.Struct):
    iss: str
    aud: str
    sub: str
    jti: str
    exp: str
    iat: str
    role: Role
    campaigns: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()


class KeyRing:
    """The signing key and its public half. `open` makes one, readable by its owner only, where there is none."""

    def __init__(self, private_pem: bytes, issuer: str) -> None:
        self.issuer = issuer
        private = load_pem_private_key(private_pem, password=None)
        assert isinstance(private, Ed25519PrivateKey)
        public = private.public_key()
        self._secret = Key.new(version=4, purpose="public", key=private_pem)
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self._public = Key.new(version=4, purpose="public", key=pem)
        self.kid = self._public.to_paserk_id()
        self.paserk = self._public.to_paserk()

    @classmethod
    def open(cls, path: Path, issuer: str = "ringfold") -> "KeyRing":
        """Raises OSError: also for a file that others may read."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        if path.stat().st_mode & 0o077:
            raise PermissionError(f"{path}: others may read the signing key; chmod 600 it, or replace it")
        return cls(path.read_bytes(), issuer)

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
        footer = json.dumps({"kid": self.kid}).encode()
        return pyseto.encode(self._secret, msgspec.json.encode(claims), footer=footer).decode()

    def verify(self, token: str) -> Principal:
        """Raises TokenRefused."""
        if len(token) > MAX_TOKEN_CHARS or not token.startswith("v4.public."):
            raise TokenRefused("not a v4.public token of a sensible size")
        if self._kid(token) != self.kid:
            raise TokenRefused("no such key")
        try:
            payload_bytes = pyseto.decode(self._public, token).payload
            assert isinstance(payload_bytes, bytes)  # no deserializer was given
            # Read here, and not by the library: duplicate keys, missing ends and other audiences must not pass.
            payload = json.loads(payload_bytes, object_pairs_hook=_no_duplicates)
            claims = msgspec.convert(payload, _Claims)
            expires, issued = datetime.fromisoformat(claims.exp), datetime.fromisoformat(claims.iat)
        except (ValueError, TypeError, RecursionError, pyseto.VerifyError, pyseto.DecryptError) as error:
            raise TokenRefused(type(error).__name__) from error
        now = datetime.now(UTC)
        if expires.tzinfo is None or issued.tzinfo is None or expires <= now:
            raise TokenRefused("expired")
        if issued > now + timedelta(seconds=CLOCK_LEEWAY_S):
            raise TokenRefused("issued in the future")
        if (claims.aud, claims.iss) != (AUDIENCE, self.issuer):
            raise TokenRefused("made for or by somebody else")
        return Principal(
            role=claims.role,
            subject=claims.sub,
            jti=claims.jti,
            expires_at=int(expires.timestamp() * 1_000),
            campaigns=claims.campaigns,
            agents=claims.agents,
            systems=claims.systems,
        )

    @staticmethod
    def _kid(token: str) -> str:
        parts = token.split(".")
        if len(parts) != 4 or len(parts[3]) > MAX_FOOTER_CHARS:
            raise TokenRefused("no footer")
        try:
            footer = json.loads(
                base64.urlsafe_b64decode(parts[3] + "=" * (-len(parts[3]) % 4)), object_pairs_hook=_no_duplicates
            )
            return str(footer["kid"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise TokenRefused("no key id") from error


def _make(path: Path) -> None:
    """A key file, whole or not at all: another process may want it at the same moment, and a crash leaves no half."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # somebody else was first: theirs holds
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found
