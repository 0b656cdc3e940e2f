"""`ringfold export`: everything of a campaign as lines of JSON, from the logs; of a deleted or archived one too."""

import sys
from collections.abc import AsyncIterator, Sequence

from api.export import blocks
from engine.app import DIRECTORY
from engine.campaigns import log_of
from engine.command.terminal import Config, print_until_closed, settings_at
from engine.core import campaign as campaigns
from engine.core.book import Book
from engine.core.campaign import CampaignDeleted
from engine.core.directory import Directory
from engine.ports import Recorded
from engine.service import SystemClock, open_log_store


def export_campaign(campaign: str, *, config: Config = None) -> None:
    """Print everything of a campaign, people's data among it, as lines of JSON: what `GET …/export` answers.

    It is read from the logs, whether the service runs or not, and stands as they do at this moment.
    """

    async def run() -> None:
        store = await open_log_store(settings_at(config))
        try:
            directory = Directory()
            async for batch in store.read(DIRECTORY):
                for one in batch:
                    directory.apply(one.event)
            if campaign not in directory.campaigns:
                print(f"ringfold: there is no campaign {campaign!r}", file=sys.stderr)
                sys.exit(1)
            book, until = await _whole(store.read(log_of(campaign)))
            rest = _up_to(until, store.read(log_of(campaign)))
            made = blocks(book, lambda: until, rest, SystemClock().now_ms())
            async for block in made:
                sys.stdout.buffer.write(block)
            sys.stdout.flush()
        finally:
            await store.close()

    print_until_closed(run())


async def _whole(read: AsyncIterator[Sequence[Recorded]]) -> tuple[Book, int]:
    """The book and its position. A deleted campaign's forgets everything: this one is as it was just before."""
    book, pos = Book(), 0
    async for batch in read:
        for one in batch:
            pos = one.pos
            if isinstance(one.event, CampaignDeleted):
                book.campaign = campaigns.evolve(book.campaign, one.event)
            else:
                book.apply(one.event)
    return book, pos


async def _up_to(pos: int, read: AsyncIterator[Sequence[Recorded]]) -> AsyncIterator[Sequence[Recorded]]:
    """What a running service adds meanwhile is not of this export."""
    async for batch in read:
        yield [one for one in batch if one.pos <= pos]
