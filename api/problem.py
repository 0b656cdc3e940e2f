"""What went wrong, as RFC 9457 problems: every one in one table, with cause and cure."""

import sys
from typing import NamedTuple

import msgspec
from aiohttp import web

from engine.core.refusal import Fault, Refused

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
MAX_DETAIL_CHARS = 500
UNREADABLE = ("bad-request", "body-too-slow")
"""After these nobody knows where the next request on the connection would begin: it is closed."""


class FieldFault(msgspec.Struct, kw_only=True):
    field: str
    reason: str


class ProblemBody(msgspec.Struct, kw_only=True):
    """RFC 9457."""

    type: str
    """An address that tells cause and cure."""
    title: str
    status: int
    detail: str
    """What happened this time."""
    trace_id: str
    """Finds the request in the operator's log."""
    errors: list[FieldFault] | msgspec.UnsetType = msgspec.UNSET
    """The fields that are to blame."""


class Problem(Exception):
    """Answered instead of a result."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        field: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.field, self.detail = status, code, quoted(field), quoted(detail)
        self.headers = headers or {}

    def response(self, trace_id: str) -> web.Response:
        entry = CATALOGUE.get(self.code)
        body = ProblemBody(
            type=f"/problems/{self.code}",
            title=entry.title if entry else self.code.replace("-", " "),
            status=self.status,
            detail=self.detail,
            trace_id=trace_id,
            errors=[FieldFault(field=self.field, reason=self.detail)] if self.field else msgspec.UNSET,
        )
        headers = {"Retry-After": str(RETRY_AFTER_S), **self.headers} if self.status == 503 else self.headers
        response = web.Response(
            body=msgspec.json.encode(body), status=self.status, headers=headers, content_type=MEDIA_TYPE
        )
        if self.code in UNREADABLE:
            response.force_close()
        return response


def quoted(text: str, most: int = MAX_DETAIL_CHARS) -> str:
    """What was sent, fit to be sent back: it may be megabytes, or hold what no UTF-8 can (halves of surrogate pairs)."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= most else text[:most] + "…"


class Entry(NamedTuple):
    status: int
    title: str
    cure: str


CATALOGUE: dict[str, Entry] = {
    "malformed-json": Entry(400, "The body is not JSON", "Send one JSON document in UTF-8, each key once."),
    "bad-request": Entry(400, "The request can't be read", "Check its framing, its encoding and its headers."),
    "invalid-request": Entry(422, "A value is missing, unknown or out of range", "Mend the field that `errors` names."),
    "unauthenticated": Entry(
        401, "No valid token", "Send `Authorization: Bearer` with a token that `ringfold token` made."
    ),
    "forbidden": Entry(403, "The token's role may not do this", "Use a token of a role that may."),
    "not-found": Entry(404, "There is no such address", "Check the path."),
    "method-not-allowed": Entry(405, "The address doesn't know the method", "Use one that `Allow` names."),
    "body-too-slow": Entry(408, "The body didn't come in time", "Send it again, in smaller requests."),
    "body-too-large": Entry(413, "The body is too large", "Send it in several requests."),
    "unsupported-media-type": Entry(
        415, "The body's type isn't known here", "Send application/json, or NDJSON for contacts."
    ),
    "too-many-requests": Entry(
        429,
        "The token asks more than its share",
        "Wait for as long as Retry-After says; `RateLimit` tells what is left.",
    ),
    "too-many-in-flight": Entry(
        429, "The token has too many requests under way", "Wait for some to end; close streams that nobody reads."
    ),
    "overloaded": Entry(
        503,
        "More requests are under way than the service can answer soon",
        "Nothing was done: try again after the time that Retry-After names, with fewer at once.",
    ),
    "bad-cursor": Entry(
        400, "The cursor is none of this list's", "Send `next` of the page before as it is; or begin without `after`."
    ),
    "bad-idempotency-key": Entry(
        400, "The Idempotency-Key isn't one", "Send 1 to 128 letters, digits and _ . : @ / + = -, such as a UUID."
    ),
    "request-under-way": Entry(
        409, "The first request under this key is not answered yet", "Wait a moment, then ask again under the same key."
    ),
    "idempotency-key-reused": Entry(
        422, "The Idempotency-Key stands for another request", "Choose a new key for each request."
    ),
    "internal": Entry(500, "Something failed here", "Tell the operator the `trace_id`: the log has the rest."),
    "unavailable": Entry(
        503, "The campaign is not served at the moment", "Try again after the time that Retry-After names."
    ),
    "unknown-campaign": Entry(404, "There is no such campaign", "Check the ref; create it first."),
    "unknown-agent": Entry(404, "There is no such agent", "Register the agent with PUT /v1/agents/{id}."),
    "unknown-allocation": Entry(404, "The agent is not allocated to the campaign", "Allocate the agent to it first."),
    "unknown-contact": Entry(404, "There is no such contact in the campaign", "Check the ref."),
    "unknown-person": Entry(
        404, "Nobody is known so", "Check the ref, the number or the id; who was erased is not found."
    ),
    "import-under-way": Entry(409, "A contact file is being taken in", "Wait until that import is over, or cancel it."),
    "unknown-call": Entry(404, "There is no such call", "Check the id; calls of deleted campaigns are gone."),
    "no-recording": Entry(
        404, "The call has no recording", "The detail says why; just after the call's end it may take a moment."
    ),
    "range-not-satisfiable": Entry(416, "The recording isn't that long", "`Content-Range` tells its length."),
    "unknown-reservation": Entry(404, "There is no such reservation", "It lapsed, was released or disposed of."),
    "unknown-webhook": Entry(404, "There is no such webhook", "Check the id."),
    "campaign-deleted": Entry(409, "The campaign is deleted", "Its ref is used up: create another under a new one."),
    "campaign-ref-used": Entry(409, "The campaign ref was used before", "Choose a ref that was never used."),
    "campaign-stopping": Entry(409, "The campaign is stopping", "Start it when the notification says stopped."),
    "campaign-not-stopped": Entry(409, "The campaign is not stopped", "Stop it, wait for stopped, then delete it."),
    "campaign-not-started": Entry(
        409, "The campaign was never started", "There is nothing to stop; delete it if unwanted."
    ),
    "campaign-not-running": Entry(409, "The campaign is not running", "Start it and wait for running."),
    "revision-mismatch": Entry(412, "Somebody else changed it first", "Read it again and repeat with the new ETag."),
    "already-there": Entry(412, "There is one already", "Look at it; leave `If-None-Match` out to replace it."),
    "contact-immutable": Entry(409, "Contacts can't be edited or moved", "Cancel it, and add another under a new ref."),
    "contact-final": Entry(409, "The contact is disposed of", "Nothing is left to do with it."),
    "contact-in-call": Entry(
        409, "The contact is in a call or its wrap-up", "Hang up and dispose, or release it first."
    ),
    "contact-answered": Entry(409, "The contact was talked to", "Send the disposition; then ask for the next."),
    "contact-erased": Entry(409, "The contact's data was erased", "It can't be dialled any more: dispose of it."),
    "no-number-left": Entry(
        409, "No number may be dialled by itself", "Name the number to dial, or dispose of the contact."
    ),
    "number-invalid": Entry(409, "The number does not exist", "Dial another one."),
    "number-not-open": Entry(
        409, "The dialer chooses the number in this campaign", "Dial without a number; or allow agents_choose_number."
    ),
    "dial-forbidden": Entry(
        409,
        "A rule forbids to dial this number now",
        "The detail begins with the rule: dnc, consent, zone, holiday, window, attempts-contact, attempts-number, "
        "cap-number, cap-person. `GET /v1/explain` has the whole story.",
    ),
    "agent-not-in-campaign": Entry(409, "The agent is not in the campaign", "Allocate the agent to it first."),
    "agent-holds-another": Entry(409, "The agent has another contact in hand", "Dispose of that one first."),
    "contact-not-in-campaign": Entry(409, "The contact is not in the campaign", "Check the ref and the campaign."),
    "contact-held": Entry(409, "Another agent has the contact in hand", "Wait until it is disposed of or released."),
    "contact-closed": Entry(409, "The contact is final or cancelled", "Nothing is left to do with it."),
    "unknown-external-system": Entry(404, "There is no such external system", "Bind its ids with PUT /v1/external/…."),
    "unknown-external-id": Entry(
        404, "The external id is bound to nothing", "Bind it with PUT; or check its kind: campaign or agent."
    ),
    "adhoc-not-allowed": Entry(
        409, "The campaign calls its contacts only", "Add the number as a contact; or allow adhoc_numbers."
    ),
    "request-id-used": Entry(
        409, "The request id was used for another call", "Choose a new id for each call that is asked for."
    ),
    "external-id-used": Entry(
        409, "The external id is bound to something else", "Unbind it first, or choose another id."
    ),
    "agent-in-call": Entry(409, "The agent is in another call", "Wait for its call.ended."),
    "bulk-not-open": Entry(
        403,
        "Agents of this campaign close contacts one by one",
        "Dispose of each by its reservation; or let agents_dispose_in_bulk.",
    ),
    "contact-not-yours": Entry(
        403, "The contact is not the agent's", "An agent closes contacts in their hand, and their own."
    ),
    "reservation-ahead": Entry(
        409,
        "The agent has another contact in hand before this one",
        "Dispose of the first one; then this one is in hand.",
    ),
    "number-in-call": Entry(409, "Another call to this number is not over", "Wait for it to end."),
    "no-attempt": Entry(
        409, "The contact was not dialled", "Dial or skip it; or allow dispositions without an attempt."
    ),
    "call-not-begun": Entry(
        409,
        "It is not yet the time to look ahead",
        "Dial first; ahead goes while the present contact is called or closed.",
    ),
    "call-in-progress": Entry(409, "A call of this contact is not over", "Wait for its call.ended, or hang it up."),
    "reservation-lost": Entry(409, "The reservation is not yours any more", "Ask for the next contact."),
    "reservation-in-call": Entry(409, "The contact is in a call", "Hang up first."),
    "agent-not-available": Entry(
        409, "The agent is not available", "Set the agent available and wait for the notification."
    ),
    "agent-phone-down": Entry(
        409, "The agent's phone is not connected", "Set the agent available again: the phone rings."
    ),
    "agent-active-elsewhere": Entry(409, "The agent is active in another campaign", "Set them offline there first."),
    "agent-present": Entry(409, "The agent is on the line", "Set the agent offline first."),
    "agent-ambiguous": Entry(409, "The agent could be meant in several campaigns", "Name the campaign."),
    "agent-not-active": Entry(409, "No running campaign has this agent", "Start one that the agent is allocated to."),
    "unknown-import": Entry(404, "There is no such import", "Check the id; imports are forgotten after some days."),
    "unknown-mapping": Entry(404, "There is no such column mapping", "Save it with PUT /v1/mappings/{name}."),
    "unknown-tag": Entry(404, "There is no such tag", "Make it with PUT /v1/tags/{tag}."),
    "import-not-ready": Entry(
        409, "The import is not waiting for its confirmation", "Wait until it is valid or invalid; else upload again."
    ),
    "import-unreadable": Entry(409, "Nothing of the file can be imported", "Mend the file and upload it again."),
    "import-has-errors": Entry(
        409, "Rows of the file have errors", "Mend the file and upload it again, or confirm with accept_errors."
    ),
    "import-removal-unconfirmed": Entry(
        409,
        "A full sync cancels the contacts that the file doesn't name",
        "Look at how many, then confirm with confirm_removal.",
    ),
    "too-many-revoked": Entry(
        409, "As many tokens are revoked as may be", "Revoke subjects, or exchange the key: `ringfold key`."
    ),
    "too-many-webhooks": Entry(409, "There are as many webhooks as there may be", "Remove some first."),
    "too-many-tags": Entry(409, "There are as many tags as there may be", "Remove some first."),
    "too-many-mappings": Entry(409, "There are as many column mappings as there may be", "Remove some first."),
    "phone-taken": Entry(409, "The phone is another agent's", "Give each agent a phone of their own."),
    "agent-logging-out": Entry(503, "The agent is logging out", "Ask again when they are offline."),
    "agent-phone-closing": Entry(503, "The agent's phone is closing", "Try again in a moment."),
    "pbx-down": Entry(503, "The PBX is not connected", "Wait, or look at the PBX: nothing was dialled."),
    "lines-in-use": Entry(
        503, "All lines of the campaign are in use", "Try again when a call has ended, or raise max_lines."
    ),
    "trunk-lines-in-use": Entry(
        503,
        "No trunk of the campaign has a free line",
        "Try again when a call has ended; add further_trunks, or let the campaign use others.",
    ),
    "setup-limit": Entry(503, "Too many calls are being set up", "Try again in a moment."),
    "mailbox-full": Entry(503, "Too many commands are waiting", "Slow down and try again."),
    "draining": Entry(503, "The dialer is shutting down", "Try again in a moment: it takes no new calls."),
    "too-many-imports": Entry(503, "As many imports are remembered as may be", "Delete some that are over."),
    "too-many-uploads": Entry(503, "Too many files are being uploaded", "Try again when one has come."),
    "no-space": Entry(
        503, "The file can't be kept at the moment", "Tell the operator: the imports' folder is full or away."
    ),
    "too-many-exports": Entry(503, "Too many exports are under way", "Try again when one is over."),
    "feed-gap": Entry(
        410,
        "What comes next in the feed was archived",
        "Go on with the cursor in the header Ringfold-Cursor, and see what the list of campaigns says now.",
    ),
    "feed-restored": Entry(
        410,
        "A restore of the service has undone what was told before this cursor",
        "Forget what you were told, read the feed anew from its beginning, or go on with the cursor in the header"
        " Ringfold-Cursor where you can forget a part: what was told behind that.",
    ),
    "too-many-streams": Entry(503, "Too many event streams are open", "Close some, or try again later."),
}
"""Problems by their code: what the status is, what it means, what to do about it."""

BY_FAULT = {Fault.INVALID: 422, Fault.ABSENT: 404, Fault.RULE: 409, Fault.STALE: 409, Fault.BUSY: 503}


def of_refusal(refused: Refused, method: str) -> Problem:
    """A deleted campaign is an illegal transition to who commands it, and gone to who reads it."""
    entry = CATALOGUE.get(refused.code)
    status = entry.status if entry else BY_FAULT[refused.fault]
    if refused.code == "campaign-deleted" and method in ("GET", "HEAD"):
        status = 410
    return Problem(status, refused.code, refused.detail, refused.field)


def invalid(field: str, reason: str) -> Problem:
    return Problem(422, "invalid-request", reason, field)


def catalogue_page() -> str:
    """docs/problems.md."""
    rows = "\n".join(
        f"| `{code}` | {one.status} | {one.title} | {one.cure} |" for code, one in sorted(CATALOGUE.items())
    )
    return (
        "# Problems\n\n"
        "Every refusal is an RFC 9457 body: `type` ends with the code below, `detail` says what happened this time, `errors`\n"
        "names the field where one is to blame. A refused request changed nothing.\n\n"
        f"| code | status | what it means | what to do |\n|---|---|---|---|\n{rows}\n"
    )


if __name__ == "__main__":
    sys.stdout.write(catalogue_page())
