"""Receivers of notifications: where, what of it, and the secrets that they verify it with.

The secrets are sealed as a person's data is: their key stands beside the log and in no copy of it. There are two pairs while
they are rotated: what is sent is signed with both until the former one ends.
"""

from collections.abc import Mapping

import msgspec

from engine.core.personal import Details, Person
from engine.core.refusal import absent, against_rule

MAX_WEBHOOKS = 1_000
"""Each has its lanes, and is shown in one list with the others."""


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """`secret` is shared with the receiver (`whsec_…`); `signing_key` is ours alone (`whsk_…`), its public half is published.

    The former ones are empty where there were none.
    """

    secret: str = ""
    signing_key: str = ""
    former_secret: str = ""
    former_signing_key: str = ""

    def __repr__(self) -> str:
        return "Secrets(…)"  # this reaches logs and tracebacks


class WebhookPut(msgspec.Struct, frozen=True, kw_only=True, tag="webhook.put.v1"):
    """`types` and `campaigns` filter; empty means all. `since` is the feed position from which it is served.

    `former_until` (epoch ms, 0 for none) is until when the former secrets are used too. With `batch_items` over 1 it is sent
    so many at once, and the first of them waits for the others up to `batch_wait_ms`. `secret` is of a time before they were
    sealed.
    """

    at: int
    id: str
    url: str
    secret: str = ""
    types: tuple[str, ...]
    campaigns: tuple[str, ...]
    since: int
    by: str
    sealed_secrets: Person | None = None
    former_until: int = 0
    batch_items: int = 0
    batch_wait_ms: int = 0


class WebhookRemoved(msgspec.Struct, frozen=True, kw_only=True, tag="webhook.removed.v1"):
    at: int
    id: str
    by: str


WebhookEvent = WebhookPut | WebhookRemoved


def secrets_in(put: WebhookPut) -> Secrets:
    """Empty ones where their key is gone: then nothing can be signed, and so nothing is sent."""
    if put.sealed_secrets is None:
        return Secrets(secret=put.secret)
    details = put.sealed_secrets.details
    return msgspec.convert(details.data, Secrets) if details is not None else Secrets()


def sealed(id_: str, secrets: Secrets) -> Person:
    data: dict[str, str] = msgspec.to_builtins(secrets)
    return Person(f"webhook/{id_}", Details(numbers=(), data=data))


# -- commands -------------------------------------------------------------------------------------------------------


class PutWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """`secret` is the receiver's to choose; empty keeps the one that there is. A webhook that is new, and has none, is given
    `new_secret`, and one without a signing key `new_signing_key`. Reply: whether it was given `new_secret`.
    """

    at: int
    by: str
    id: str
    url: str
    secret: str
    new_secret: str
    new_signing_key: str
    types: tuple[str, ...]
    campaigns: tuple[str, ...]
    since: int
    batch_items: int = 0
    batch_wait_ms: int = 0


class RotateWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """Sign with other secrets from now on, and with the present ones too until `former_until` (epoch ms). With the present
    secret again it is no news."""

    at: int
    by: str
    id: str
    secret: str
    signing_key: str
    former_until: int


class RemoveWebhook(msgspec.Struct, frozen=True, kw_only=True):
    at: int
    by: str
    id: str


WebhookCommand = PutWebhook | RotateWebhook | RemoveWebhook


def put(webhooks: Mapping[str, WebhookPut], command: PutWebhook) -> tuple[list[WebhookEvent], bool]:
    """Put again as it is, it is no news. Another secret takes the place of all that there are."""
    known = webhooks.get(command.id)
    if known is None and len(webhooks) >= MAX_WEBHOOKS:
        raise against_rule("too-many-webhooks", f"{MAX_WEBHOOKS} webhooks are there: remove some first")
    had = secrets_in(known) if known is not None else Secrets()
    given = not command.secret and not had.secret
    secret = command.secret or had.secret or command.new_secret
    kept = secret == had.secret
    secrets = Secrets(
        secret=secret,
        signing_key=had.signing_key or command.new_signing_key,
        former_secret=had.former_secret if kept else "",
        former_signing_key=had.former_signing_key if kept else "",
    )
    event = WebhookPut(
        at=command.at,
        id=command.id,
        url=command.url,
        types=command.types,
        campaigns=command.campaigns,
        since=known.since if known else command.since,
        by=command.by,
        sealed_secrets=sealed(command.id, secrets),
        former_until=known.former_until if known and kept else 0,
        batch_items=command.batch_items,
        batch_wait_ms=command.batch_wait_ms,
    )
    same = known is not None and msgspec.structs.replace(known, at=event.at, by=event.by) == event
    return ([] if same else [event]), given


def rotate(known: WebhookPut | None, command: RotateWebhook) -> list[WebhookEvent]:
    if known is None:
        raise absent("webhook", command.id)
    had = secrets_in(known)
    if command.secret == had.secret:
        return []  # asked again: what was in use before stays in use
    secrets = Secrets(
        secret=command.secret,
        signing_key=command.signing_key,
        former_secret=had.secret,
        former_signing_key=had.signing_key,
    )
    sealed_secrets = sealed(command.id, secrets)
    return [
        msgspec.structs.replace(
            known,
            at=command.at,
            by=command.by,
            secret="",
            sealed_secrets=sealed_secrets,
            former_until=command.former_until,
        )
    ]


def remove(known: WebhookPut | None, command: RemoveWebhook) -> list[WebhookEvent]:
    if known is None:
        raise absent("webhook", command.id)
    return [WebhookRemoved(at=command.at, id=command.id, by=command.by)]
