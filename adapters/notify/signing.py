"""Standard Webhooks signatures (v1: HMAC-SHA256), made; receivers verify them with any library of that standard."""

import base64
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"


class UnusableSecret(ValueError):
    """A secret that isn't `whsec_` and base64. The message doesn't show it."""


def signed_headers(secrets: Sequence[str], id_: str, at_s: int, body: bytes) -> dict[str, str]:
    """The three headers of one attempt made at `at_s` (epoch s). With two secrets a receiver may hold either.

    Raises UnusableSecret: nothing is ever sent unsigned.
    """
    if not secrets:
        raise UnusableSecret("the webhook has no secret")
    content = b".".join((id_.encode(), str(at_s).encode(), body))
    signatures = (
        base64.b64encode(hmac.digest(_key(secret), content, hashlib.sha256)).decode("ascii") for secret in secrets
    )
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(f"v1,{one}" for one in signatures),
    }


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        raise UnusableSecret("the webhook's secret is not base64") from None
    if not key:
        raise UnusableSecret("the webhook's secret is empty")
    return key
