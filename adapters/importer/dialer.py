"""What an import needs of the engine."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import structlog

from adapters.importer.limits import RETRY_AFTER_S
from engine.core.book import Book
from engine.core.directory import Directory, UseContactRefs
from engine.core.message import Command
from engine.core.refusal import Fault, Refused
from engine.ports import Chance, Clock

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Engine(Protocol):
    directory: Directory
    clock: Clock
    chance: Chance

    async def use_refs(self, command: UseContactRefs) -> dict[str, str]:
        """As the engine's: the first campaign of each clashing ref."""
        ...

    async def submit(self, ref: str, command: Command) -> Any: ...


BookOf = Callable[[str], Book | None]
"""A campaign's book, None while this process doesn't have it."""


class Gone(Exception):
    """The campaign is not there any more."""


class Answer(NamedTuple, Generic[T]):
    """`is_repeated`: it was asked before without an answer, and that may have been carried out."""

    reply: T
    is_repeated: bool


async def insist(ask: Callable[[], Awaitable[T]], away: tuple[type[Exception], ...]) -> Answer[T]:
    """What was asked, however often it takes: no room and no owner are passing. Raises Gone, and any other refusal."""
    is_repeated = False
    while True:
        try:
            return Answer(await ask(), is_repeated)
        except Refused as refused:
            if refused.code in ("unknown-campaign", "campaign-deleted"):
                raise Gone(refused.detail) from None
            if refused.fault is not Fault.BUSY:
                raise
            log.info("an import waits", reason=refused.code)
        except away as error:
            is_repeated = True
            log.info("an import waits", reason=str(error))
        await asyncio.sleep(RETRY_AFTER_S)
