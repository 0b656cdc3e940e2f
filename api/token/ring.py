"""The keys of an installation, and the tokens made and checked with them."""

import base64
import contextlib
import json
import os
import re
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

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

from api.token.claim import AUDIENCE, MAX_TTL_S, SUBJECT, Principal, Role, TokenRefused, parsed, read

MAX_TOKEN_CHARS = 4_096
MAX_FOOTER_CHARS = 512
FORM = re.compile(r"v4\.public\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
MALFORMED = "not a v4.public token with a footer"


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
        if self._kid(token) != self.kid:
            raise TokenRefused("no such key")
        try:
            payload = pyseto.decode(self._public, token).payload
        except (ValueError, TypeError, pyseto.VerifyError, pyseto.DecryptError) as error:
            raise TokenRefused("signature doesn't hold") from error
        assert isinstance(payload, bytes)  # no deserializer was given
        return read(payload, self.issuer, datetime.now(UTC))

    @staticmethod
    def _kid(token: str) -> str:
        """Which key the footer names, in a token that can be written in one way only."""
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
