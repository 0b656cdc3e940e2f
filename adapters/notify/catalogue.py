"""The catalogue of notifications: every type with its envelope and an example, from the types themselves."""

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

from adapters.notify.content.base import Content, rfc3339
from adapters.notify.content.webhook import WebhookParked, WebhookPing, WebhookResumed
from adapters.notify.cursor import Cursors
from adapters.notify.example import AT, CAMPAIGN, EXAMPLES, SEQ
from engine.ports import Notification, NotificationType


def _typed(example: Content) -> NotificationType:
    kind = type(example)
    envelope = msgspec.defstruct(
        f"{kind.__name__}Notification",
        [("type", Literal[example.TYPE]), ("data", kind)],
        bases=(Notification,),
        frozen=True,
        kw_only=True,
        module=kind.__module__,
    )
    campaign, seq, id_ = CAMPAIGN, SEQ, f"{CAMPAIGN}:{SEQ}"
    if isinstance(example, WebhookPing):
        campaign, seq, id_ = "", 0, "ping_5f0c5e5f0f0b4a5f"
    elif isinstance(example, WebhookParked | WebhookResumed):
        campaign, id_ = "", f"~service:{SEQ}"
    shown = Notification(
        id=id_,
        type=example.TYPE,
        time=rfc3339(AT),
        cursor=Cursors("example").write(seq) if seq else "",
        campaign=campaign,
        seq=seq,
        data=msgspec.to_builtins(example),
    )
    return NotificationType(
        name=example.TYPE, about=inspect.cleandoc(kind.__doc__ or ""), envelope=envelope, content=kind, example=shown
    )


CATALOGUE: Mapping[str, NotificationType] = MappingProxyType({one.TYPE: _typed(one) for one in EXAMPLES})
"""By the type's name."""
