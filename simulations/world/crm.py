"""The CRM's end of what the service tells it of calls and dispositions: an address that campaigns name."""

import msgspec

from adapters.outward.sender import Outgoing
from engine.core.interaction import ExternalUrl, Format, Method, Trigger

HOST = "crm.example"
KEY = "Idempotency-Key"


class Interaction(msgspec.Struct, frozen=True):
    """What it was told: of which call or contact, under the key by which it knows it when it comes again."""

    key: str
    call: str
    contact: str


def address(trigger: str) -> ExternalUrl:
    return ExternalUrl(
        url=f"https://{HOST}/calls",
        method=Method.POST,
        format=Format.JSON,
        fields={"call": "{call.id}", "contact": "{contact.ref}"},
        trigger=Trigger(trigger),
    )


def interactions(request: Outgoing) -> list[tuple[str, Interaction]]:
    told: dict[str, str] = msgspec.json.decode(request.body)
    key = request.headers[KEY]
    return [(key, Interaction(key, told["call"], told["contact"]))]
