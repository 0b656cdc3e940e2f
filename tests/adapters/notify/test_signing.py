"""Given a signed body, then three independent implementations of Standard Webhooks accept it, and nothing altered."""

import base64
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook as StandardWebhook
from standardwebhooks.webhooks import WebhookVerificationError as StandardRefusal
from svix.webhooks import Webhook as SvixWebhook
from svix.webhooks import WebhookVerificationError as SvixRefusal

from adapters.notify.signing import Signers, UnusableSecret, new_signing_key, public_key, signed_headers
from tests.adapters.notify.javascript import JavaScriptWebhook, installed

OLD = "whsec_" + base64.b64encode(bytes(range(24))).decode()
NEW = "whsec_" + base64.b64encode(bytes(range(100, 164))).decode()
BODY = '{"name":"Ærøskøbing, & ${x}"}'.encode()
VERIFIERS: list[tuple[type, type[Exception]]] = [(StandardWebhook, StandardRefusal), (SvixWebhook, SvixRefusal)]


def now() -> int:
    return int(time.time())


@pytest.mark.parametrize(("verifier", "refusal"), VERIFIERS)
@pytest.mark.parametrize("secret", [OLD, NEW])
def test_verifiers_accept_it(verifier: type, refusal: type[Exception], secret: str) -> None:
    headers = signed_headers(Signers(secrets=[secret]), "sales:1", now(), BODY)
    verifier(secret).verify(BODY, headers)  # raises what the other tests expect, if it isn't


@pytest.mark.parametrize(("verifier", "refusal"), VERIFIERS)
def test_during_rotation_either_secret_will_do(verifier: type, refusal: type[Exception]) -> None:
    headers = signed_headers(Signers(secrets=[OLD, NEW]), "sales:1", now(), BODY)
    for secret in (OLD, NEW):
        verifier(secret).verify(BODY, headers)
    with pytest.raises(refusal):
        verifier("whsec_" + base64.b64encode(b"x" * 24).decode()).verify(BODY, headers)


@pytest.mark.parametrize(("verifier", "refusal"), VERIFIERS)
@pytest.mark.parametrize("altered", ["webhook-id", "webhook-timestamp", "body"])
def test_whatever_is_altered_is_refused(verifier: type, refusal: type[Exception], altered: str) -> None:
    at = now()
    headers = signed_headers(Signers(secrets=[OLD]), "sales:1", at, BODY)
    changed = {"webhook-id": "sales:2", "webhook-timestamp": str(at - 1)}
    body = BODY.replace(b"name", b"nama") if altered == "body" else BODY
    with pytest.raises(refusal):
        verifier(OLD).verify(body, {**headers, **({altered: changed[altered]} if altered in changed else {})})


def test_nothing_is_sent_unsigned() -> None:
    with pytest.raises(UnusableSecret):
        signed_headers(Signers(secrets=[]), "sales:1", now(), BODY)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64!", "whsec_ÄÖ"])
def test_an_unusable_secret_is_named_but_not_shown(secret: str) -> None:
    with pytest.raises(UnusableSecret) as refused:
        signed_headers(Signers(secrets=[secret]), "sales:1", now(), BODY)
    assert len(secret) < 7 or secret[6:] not in str(refused.value)


# -- v1a: a key of its own, of which a receiver holds the public half ---------------------------------------------------


def verified_by(public: str, headers: dict[str, str], body: bytes) -> bool:
    """As the standard says it, in the few lines that a receiver needs."""
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    known = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    for one in headers["webhook-signature"].split():
        version, _, signature = one.partition(",")
        if version == "v1a":
            try:
                known.verify(base64.b64decode(signature), content)
            except InvalidSignature:
                continue
            return True
    return False


def test_v1a_is_verified_with_the_public_key_alone_the_former_one_too_while_it_lasts() -> None:
    former, present, foreign = (new_signing_key() for _ in range(3))
    headers = signed_headers(Signers(secrets=[NEW, OLD], keys=[present, former]), "sales:1", now(), BODY)
    assert verified_by(public_key(present), headers, BODY)
    assert verified_by(public_key(former), headers, BODY)
    assert not verified_by(public_key(foreign), headers, BODY)
    assert not verified_by(public_key(present), headers, BODY + b" ")
    for verifier, _ in VERIFIERS:  # who only knows v1 passes the others over
        verifier(OLD).verify(BODY, headers)


# -- JavaScript ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packages() -> Path:
    return installed()


def test_a_javascript_verifier_decides_as_the_others_do(
    packages: Path, record_property: Callable[[str, object], None]
) -> None:
    """The bodies and headers of all tests above, in one run of node."""
    key = new_signing_key()
    both = signed_headers(Signers(secrets=[NEW, OLD], keys=[key]), "sales:1", now(), BODY)
    old = signed_headers(Signers(secrets=[OLD]), "sales:1", now(), BODY)
    cases = [
        (OLD, BODY, old, True),
        (OLD, BODY, both, True),
        (NEW, BODY, both, True),
        (NEW, BODY, old, False),
        (OLD, BODY.replace(b"name", b"nama"), old, False),
        (OLD, BODY, {**old, "webhook-id": "sales:2"}, False),
        (OLD, BODY, {**old, "webhook-timestamp": str(now() - 1)}, False),
        (OLD, BODY, signed_headers(Signers(secrets=[OLD]), "sales:1", now() - 3_600, BODY), False),  # a replay
        (OLD, BODY, {**old, "webhook-signature": old["webhook-signature"].replace("v1,", "v1a,")}, False),
    ]
    answers = JavaScriptWebhook(packages).verify([(secret, body, headers) for secret, body, headers, _ in cases])
    assert answers == [good for *_, good in cases]
    for verifier, refusal in VERIFIERS:
        for secret, body, headers, good in cases:
            if good:
                verifier(secret).verify(body, headers)
            else:
                with pytest.raises(refusal):
                    verifier(secret).verify(body, headers)
    counts = f"{len(cases)} signatures each, {answers.count(True)} taken, {answers.count(False)} refused"
    record_property("verifiers standardwebhooks (Python), svix (Python), standardwebhooks (JavaScript)", counts)
