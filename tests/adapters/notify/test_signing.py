"""Given a signed body, then two independent implementations of Standard Webhooks accept it, and nothing altered."""

import base64
import time

import pytest
from standardwebhooks.webhooks import Webhook as StandardWebhook
from standardwebhooks.webhooks import WebhookVerificationError as StandardRefusal
from svix.webhooks import Webhook as SvixWebhook
from svix.webhooks import WebhookVerificationError as SvixRefusal

from adapters.notify.signing import UnusableSecret, signed_headers

OLD = "whsec_" + base64.b64encode(bytes(range(24))).decode()
NEW = "whsec_" + base64.b64encode(bytes(range(100, 164))).decode()
BODY = '{"name":"Ærøskøbing, & ${x}"}'.encode()
VERIFIERS = [(StandardWebhook, StandardRefusal), (SvixWebhook, SvixRefusal)]


def now() -> int:
    return int(time.time())


@pytest.mark.parametrize(("verifier", "refusal"), VERIFIERS)
@pytest.mark.parametrize("secret", [OLD, NEW])
def test_verifiers_accept_it(verifier: type, refusal: type[Exception], secret: str) -> None:
    headers = signed_headers([secret], "sales:1", now(), BODY)
    verifier(secret).verify(BODY, headers)  # raises what the other tests expect, if it isn't


@pytest.mark.parametrize(("verifier", "refusal"), VERIFIERS)
def test_during_rotation_either_secret_will_do(verifier: type, refusal: type[Exception]) -> None:
    headers = signed_headers([OLD, NEW], "sales:1", now(), BODY)
    for secret in (OLD, NEW):
        verifier(secret).verify(BODY, headers)
    with pytest.raises(refusal):
        verifier("whsec_" + base64.b64encode(b"x" * 24).decode()).verify(BODY, headers)


@pytest.mark.parametrize(("verifier", "refusal"), VERIFIERS)
@pytest.mark.parametrize("altered", ["webhook-id", "webhook-timestamp", "body"])
def test_whatever_is_altered_is_refused(verifier: type, refusal: type[Exception], altered: str) -> None:
    at = now()
    headers = signed_headers([OLD], "sales:1", at, BODY)
    changed = {"webhook-id": "sales:2", "webhook-timestamp": str(at - 1)}
    body = BODY.replace(b"name", b"nama") if altered == "body" else BODY
    with pytest.raises(refusal):
        verifier(OLD).verify(body, {**headers, **({altered: changed[altered]} if altered in changed else {})})


def test_nothing_is_sent_unsigned() -> None:
    with pytest.raises(UnusableSecret):
        signed_headers([], "sales:1", now(), BODY)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64!", "whsec_ÄÖ"])
def test_an_unusable_secret_is_named_but_not_shown(secret: str) -> None:
    with pytest.raises(UnusableSecret) as refused:
        signed_headers([secret], "sales:1", now(), BODY)
    assert len(secret) < 7 or secret[6:] not in str(refused.value)
