"""Examples in the published schema: a part of an address for each name, and bodies that a fresh service takes."""

from typing import Any, NamedTuple

HEX = "^[0-9a-f]{32}$"
NAME = "^[A-Za-z0-9_.-]{1,64}$"
REF = "^[A-Za-z0-9_.:@-]{1,100}$"
TEXT = r"^[^\x00-\x1f\x7f-\x9f/]{1,100}$"
ID = "5f0c5e5f0f0b4a5f9d7a1c2b3d4e5f60"


class Part(NamedTuple):
    """A part of an address. One of another form names nothing: 404."""

    pattern: str
    description: str
    example: str


PARTS = {
    "ref": Part(REF, "The campaign's ref.", "spring"),
    "agent": Part(NAME, "The agent's id.", "anna"),
    "contact": Part(REF, "The contact's ref.", "spring:1"),
    "reservation": Part(HEX, "The reservation's id.", ID),
    "call": Part(HEX, "The call's id.", ID),
    "webhook": Part(NAME, "The webhook's id.", "crm"),
    "system": Part(NAME, "The external system.", "suite"),
    "kind": Part("^(campaign|agent)$", "What the id is of.", "agent"),
    "id": Part(TEXT, "The external system's own id.", "U1"),
    "import": Part(HEX, "The import's id.", ID),
    "mapping": Part(NAME, "The column mapping's name.", "crm"),
    "tag": Part(r"^[^\x00-\x20\x7f-\xa0,/]{1,64}$", "The tag.", "vip"),
}

BODIES: dict[str, Any] = {
    "PUT /v1/campaigns/{ref}": {"name": "Spring renewals", "mode": "preview", "settings": {"max_lines": 20}},
    "PATCH /v1/campaigns/{ref}": {"state": "running"},
    "PUT /v1/campaigns/{ref}/agents/{agent}": {"default_state": "available", "weight": 1, "line": "nailed"},
    "POST /v1/campaigns/{ref}/contacts": [
        {"ref": "spring:1", "numbers": ["+573105822141"], "name": "Bo", "data": {"plan": "gold"}}
    ],
    "POST /v1/campaigns/{ref}/contacts/{contact}/cancel": {"reason": "asked not to be called"},
    "POST /v1/campaigns/{ref}/from-outcomes": {
        "name": "Second round",
        "source": ["spring"],
        "select": {"uncalled": True, "outcomes": ["no_answer"]},
    },
    "PUT /v1/agents/{agent}": {"name": "Anna", "phone": "anna"},
    "PATCH /v1/agents/{agent}": {"state": "paused", "reason": "lunch"},
    "POST /v1/agents/{agent}/next": {},
    "POST /v1/reservations/{reservation}/dial": {"token": ID},
    "POST /v1/reservations/{reservation}/extend": {"token": ID},
    "POST /v1/reservations/{reservation}/skip": {"token": ID, "reason": "later"},
    "POST /v1/reservations/{reservation}/release": {"token": ID},
    "POST /v1/reservations/{reservation}/disposition": {"token": ID, "disposition": "engaged"},
    "POST /v1/calls": {"request_id": "click-1", "campaign": "spring", "agent": "anna", "contact": "spring:1"},
    "POST /v1/calls/{call}/disposition": {"disposition": "engaged"},
    "POST /v1/dnc": {"numbers": ["+573105822141"]},
    "DELETE /v1/dnc": {"numbers": ["+573105822141"]},
    "POST /v1/campaigns/{ref}/dnc": {"numbers": ["+573105822141"], "until": "2030-01-01T00:00:00Z"},
    "DELETE /v1/campaigns/{ref}/dnc": {"numbers": ["+573105822141"]},
    "PUT /v1/external/{system}/{kind}/{id}": {"ref": "anna"},
    "PUT /v1/mappings/{mapping}": {"columns": {"Phone": "number1"}},
    "POST /v1/imports/{import}/confirm": {"accept_errors": False},
}
