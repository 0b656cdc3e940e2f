"""Everything that is known, read from the logs of a service that need not run."""

from engine.app import DIRECTORY
from engine.campaigns import log_of
from engine.core.book import Book
from engine.core.claims import Claims
from engine.core.directory import Directory
from engine.digest import digest_of
from engine.recovery import replay
from eventstore import Store


async def read_all(store: Store) -> tuple[Directory, Claims, dict[str, Book]]:
    """Everything that is known, from the logs alone."""
    directory, claims = Directory(), Claims(max_calls_in_setup=1)
    directory.standing = claims.standing
    claims.standing.digest = digest_of
    async for batch in store.read(DIRECTORY):
        for one in batch:
            directory.apply(one.event)
    claims.pbx_up = True  # offline, nobody knows: it is nothing to wait for
    live = [one for one, deleted in directory.campaigns.items() if not deleted]
    books = {one: await replay(store.read(log_of(one))) for one in live}
    for book in books.values():
        claims.adopt(book)
    return directory, claims, books
