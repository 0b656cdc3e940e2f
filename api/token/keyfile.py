"""The file of an installation's keys: readable by its owner alone, and always whole.

One key signs. Others were published ahead of that, or signed before and still check tokens until the last of them has ended.
"""

import base64
import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyseto
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pyseto import Key
from pyseto.key_interface import KeyInterface

MAX_KEYS = 20
MAX_FILE_BYTES = 64 * 1024
SECRET_BYTES = 32
FOR_SESSIONS = b"ringfold v4.local sessions"
"""This text is storage: what is derived under another is another key."""


class KeyStatus(StrEnum):
    PUBLISHED = "published"
    """Checks tokens; whoever keeps our published keys learns of it before it signs."""
    SIGNING = "signing"
    VERIFYING = "verifying"
    """Has signed; checks tokens until `not_after`."""


class StoredKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As it stands in the file."""

    kid: str
    """The public half's PASERK id."""
    secret: str
    """PASERK."""
    status: KeyStatus
    made_at: int
    """Epoch ms."""
    not_after: int = 0
    """Epoch ms, for a key that only verifies; 0 for the others."""

    def __repr__(self) -> str:
        return f"StoredKey({self.kid!r}, {self.status.value})"  # never the secret: this reaches logs and tracebacks

    def checks(self, at: int) -> bool:
        return self.status is not KeyStatus.VERIFYING or at < self.not_after

    def made_ready(self) -> "ReadyKey":
        """Raises ValueError where the secret doesn't belong to the id."""
        try:
            packed = self.secret.removeprefix("k4.secret.")
            seed = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))[:SECRET_BYTES]
            public = _public(Ed25519PrivateKey.from_private_bytes(seed))
            secret = Key.from_paserk(self.secret)
            derived = HKDF(SHA512(), SECRET_BYTES, salt=None, info=FOR_SESSIONS).derive(seed)
            local = Key.new(version=4, purpose="local", key=derived)
        except (ValueError, TypeError, pyseto.PysetoError):  # not named: its text may hold the key
            raise ValueError(f"the secret of {self.kid} is no key") from None
        if public.to_paserk_id() != self.kid:
            raise ValueError(f"the secret of {self.kid} is another key's")
        return ReadyKey(self, secret, public, local)


class ReadyKey(NamedTuple):
    """A key of the file in each of its uses. `local` encrypts sessions, and is made of the secret: they change together."""

    stored: StoredKey
    secret: KeyInterface
    public: KeyInterface
    local: KeyInterface


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: tuple[StoredKey, ...]

    @property
    def signing(self) -> StoredKey:
        return next(one for one in self.keys if one.status is KeyStatus.SIGNING)

    def named(self, kid: str) -> StoredKey:
        """By its id, or the beginning of one. Raises ValueError."""
        found = [one for one in self.keys if one.kid.startswith(kid)]
        if len(found) != 1:
            raise ValueError(f"{len(found)} keys have an id that begins with {kid!r}")
        return found[0]

    def with_one(self, now: int) -> "KeyFile":
        """With a new key, published and not yet signing. Raises ValueError."""
        if len(self.keys) >= MAX_KEYS:
            raise ValueError(f"there are {MAX_KEYS} keys: retire some first")
        return KeyFile((*self.keys, new_key(KeyStatus.PUBLISHED, now)))

    def promoting(self, kid: str, now: int, longest_ttl_s: int) -> "KeyFile":
        """Another one signs; the one that did checks tokens until the last that it signed has ended. Raises ValueError."""
        chosen = self.named(kid)
        if chosen.status is KeyStatus.VERIFYING:
            raise ValueError(f"{chosen.kid} has signed before: add a new key")
        if chosen.status is KeyStatus.SIGNING:
            return self
        until = now + longest_ttl_s * 1_000
        former = msgspec.structs.replace(self.signing, status=KeyStatus.VERIFYING, not_after=until)
        now_signing = msgspec.structs.replace(chosen, status=KeyStatus.SIGNING)
        changed = {former.kid: former, now_signing.kid: now_signing}
        return KeyFile(tuple(changed.get(one.kid, one) for one in self.keys))

    def without(self, kid: str, now: int, *, at_once: bool) -> "KeyFile":
        """Raises ValueError: the key signs; or tokens of it may live, and `at_once` isn't said."""
        chosen = self.named(kid)
        if chosen.status is KeyStatus.SIGNING:
            raise ValueError(f"{chosen.kid} signs: promote another one first")
        if chosen.status is KeyStatus.VERIFYING and chosen.checks(now) and not at_once:
            raise ValueError(f"tokens that {chosen.kid} signed may not have ended: say so to refuse them from now on")
        return KeyFile(tuple(one for one in self.keys if one is not chosen))


def new_key(status: KeyStatus, now: int) -> StoredKey:
    private = Ed25519PrivateKey.generate()
    raw = private.private_bytes_raw() + private.public_key().public_bytes_raw()
    packed = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    return StoredKey(kid=_public(private).to_paserk_id(), secret=f"k4.secret.{packed}", status=status, made_at=now)


def read(path: Path) -> KeyFile:
    """Raises OSError, also for a file that others may read; ValueError for one that can't be used."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise PermissionError(f"{path}: others may read the signing keys; chmod 600 it, or replace it")
        raw = file.read(MAX_FILE_BYTES + 1)
    try:
        found = msgspec.json.decode(raw, type=KeyFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a file of keys: {error}") from None
    if [one.status for one in found.keys].count(KeyStatus.SIGNING) != 1:
        raise ValueError(f"{path}: exactly one key signs")
    if len({one.kid for one in found.keys}) != len(found.keys) or len(found.keys) > MAX_KEYS:
        raise ValueError(f"{path}: up to {MAX_KEYS} keys, each once")
    for one in found.keys:
        one.made_ready()
    return found


def make_unless_there(path: Path, now: int) -> None:
    """With one key. Another process may want it at the same moment: the first one's holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return
    with _draft(path, KeyFile((new_key(KeyStatus.SIGNING, now),))) as draft, contextlib.suppress(FileExistsError):
        os.link(draft, path)


def edit(path: Path, change: Callable[[KeyFile], KeyFile]) -> KeyFile:
    """One after the other, whole or not at all: a crash leaves the old file or the new one. Raises as `read` and `change`."""
    with _alone(path.parent):
        changed = change(read(path))
        with _draft(path, changed) as draft:
            draft.replace(path)
        _sync(path.parent)
    return changed


@contextmanager
def _draft(path: Path, content: KeyFile) -> Iterator[Path]:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _public(private: Ed25519PrivateKey) -> KeyInterface:
    return Key.from_asymmetric_key_params(4, x=private.public_key().public_bytes_raw())
