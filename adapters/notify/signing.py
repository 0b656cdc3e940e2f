"""Standard Webhooks signatures, made; receivers verify them with any library of that standard.

`v1` is HMAC-SHA256 with a secret that the receiver shares, `v1a` Ed25519 with a key of which it needs the public half only.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from functools import lru_cache

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from engine.core.webhook import WebhookPut, secrets_in

SECRET_PREFIX, PRIVATE_PREFIX, PUBLIC_PREFIX = "whsec_", "whsk_", "whpk_"
SECRET_BYTES = SEED_BYTES = 32
MAX_KEYS_KEPT = 4_096
"""Secrets and signing keys that stay ready for use."""


class UnusableSecret(ValueError):
    """A secret that isn't its prefix and base64. The message doesn't show it."""


class Signers(msgspec.Struct, frozen=True, kw_only=True):
    """What signs: secrets and signing keys, the newest first."""

    secrets: Sequence[str]
    keys: Sequence[str] = ()


def signers_of(put: WebhookPut, now: int) -> Signers:
    """The present pair, and the former one as long as it is in use."""
    known = secrets_in(put)
    found = [known.secret]
    keys = [known.signing_key]
    if now < put.former_until:
        found.append(known.former_secret)
        keys.append(known.former_signing_key)
    return Signers(secrets=[one for one in found if one], keys=[one for one in keys if one])


def signed_headers(signers: Signers, id_: str, at_s: int, body: bytes) -> dict[str, str]:
    """The three headers of one attempt made at `at_s` (epoch s). With two secrets a receiver may hold either.

    Raises UnusableSecret: nothing is ever sent unsigned.
    """
    if not signers.secrets:
        raise UnusableSecret("the webhook has no secret")
    content = b".".join((id_.encode(), str(at_s).encode(), body))
    signatures = [f"v1,{_base64(hmac.digest(_key(one), content, hashlib.sha256))}" for one in signers.secrets]
    signatures += [f"v1a,{_base64(_private(one).sign(content))}" for one in signers.keys]
    return {"webhook-id": id_, "webhook-timestamp": str(at_s), "webhook-signature": " ".join(signatures)}


def new_secret() -> str:
    return SECRET_PREFIX + _base64(secrets.token_bytes(SECRET_BYTES))


def new_signing_key() -> str:
    return PRIVATE_PREFIX + _base64(secrets.token_bytes(SEED_BYTES))


@lru_cache(MAX_KEYS_KEPT)
def public_key(signing_key: str) -> str:
    """The half that receivers are told. Raises UnusableSecret."""
    raw = _private(signing_key).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return PUBLIC_PREFIX + _base64(raw)


@lru_cache(MAX_KEYS_KEPT)
def _key(secret: str) -> bytes:
    key = _bytes(secret, SECRET_PREFIX)
    if not key:
        raise UnusableSecret("the webhook's secret is empty")
    return key


@lru_cache(MAX_KEYS_KEPT)
def _private(signing_key: str) -> Ed25519PrivateKey:
    seed = _bytes(signing_key, PRIVATE_PREFIX)
    if len(seed) != SEED_BYTES:
        raise UnusableSecret("the webhook's signing key has not its length")
    return Ed25519PrivateKey.from_private_bytes(seed)


def _bytes(text: str, prefix: str) -> bytes:
    try:
        return base64.b64decode(text.removeprefix(prefix), validate=True)
    except ValueError:
        raise UnusableSecret("the webhook's secret is not base64") from None


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
