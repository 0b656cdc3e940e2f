"""What all contents have in common, and the moment as clients read it."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, ClassVar

import msgspec

from engine.core.interaction import Opened

Moment = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
"""RFC 3339 in UTC with three digits of a second."""
MAX_SECONDS_KEPT = 256
"""Written once for all that happens in them."""
Count = Annotated[int, msgspec.Meta(ge=0)]


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """The `data` of one type of notification."""

    TYPE: ClassVar[str] = ""
    """The type's name."""


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """A notification's content as far as its event alone tells it. None marks what the campaign's book may fill in.

    `contact`, `number` (its index) and `call` say where the book is to be asked, `noted` what was noted down, `opens`
    what the agent's client opens.
    """

    at: int
    data: Content
    contact: str = ""
    number: int = 0
    call: str = ""
    noted: dict[str, Any] = {}
    opens: Opened | None = None

    @property
    def type(self) -> str:
        return self.data.TYPE


def rfc3339(at: int) -> str:
    """Epoch ms as clients read it."""
    seconds, ms = divmod(at, 1_000)
    return f"{_second(seconds)}.{ms:03d}Z"


@lru_cache(MAX_SECONDS_KEPT)
def _second(at_s: int) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%S}"
