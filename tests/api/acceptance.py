"""What schemathesis is taught of this API: keys that stand for one request each, and a check of its own.

The check: what the schema allows is taken, or refused by one of the rules below, which a schema can't say.
"""

import re
from itertools import count
from typing import Any

import schemathesis

REFUSED = (400, 413, 415, 422)
RULES = (
    r"bad-cursor: .*|invalid-request: not a cursor of this feed",
    r"invalid-request: has (a control character|half of a surrogate pair)",
    r"invalid-request: name (a contact, or a number|one: .*|what is to be taken: .*)",
    r"invalid-request: (name 1 to [0-9]+ contacts or calls|up to [0-9]+ columns, separated by commas)",
    r"invalid-request: either a .* is expected",
    r"invalid-request: .* is not a number: digits, with \+ before the country code",
    r"invalid-request: (.* is no time: .*|a time has its distance to UTC: .*)",
    r"invalid-request: an absolute http or https address without user, fragment or blanks is expected",
    r"invalid-request: (there is no notification of type .*|up to 50 types of notifications, separated by commas)",
    r"invalid-request: .* is no region such as CO",
    r"invalid-request: a campaign is not made from itself",
    r"invalid-request: a header or its column is empty",
    r"invalid-request: (not a campaign ref|whsec_ and 24 to 64 bytes in base64 are expected)",
    r"invalid-request: a pause has a reason",
    r"invalid-request: goes with state stopped only",
    r"invalid-request: .* is none of utf-8, latin-1, cp1252",
    r"invalid-request: .* is no column of ours; further data is data\.NAME",
    r"invalid-request: expected `int`, got `float`",  # 1.0 is a whole number to a schema
)
"""The problem's code, and its detail."""
KEY = "Idempotency-Key"
_numbers = count(1)


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    """One key for all examples, as schemathesis has it, would have each but the first refused before it is looked at."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    headers: Any = case.headers
    key = headers.get(KEY) if headers else None
    if key is not None and re.fullmatch(r"[A-Za-z0-9_.:@/+=-]{1,128}", str(key)):
        headers[KEY] = f"{str(key)[:100]}/{next(_numbers)}"


@schemathesis.check
def valid_is_taken(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """Raises AssertionError."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code not in REFUSED:
        return
    body = response.json()
    told = f"{str(body['type']).rpartition('/')[2]}: {body['detail']}"
    assert any(re.fullmatch(one, told) for one in RULES), f"the schema allows it, and it is refused: {told}"
