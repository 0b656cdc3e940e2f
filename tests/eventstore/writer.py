"""A process that appends and tells each number once it is durable; its test kills it."""

import asyncio
import os
import sys

from engine.ports import ANY, Append
from eventstore import Codec, open_store
from tests.eventstore.events import Counted, TestEvent

APPENDERS = 16
LOG, OWNER = "a", "writer"


async def write(url: str, first: int) -> None:
    store = await open_store(url, Codec(TestEvent), owner=OWNER)
    log = await store.open_log(LOG)
    numbers = iter(range(first, sys.maxsize))

    async def appender(stream: str) -> None:
        while True:
            # Two events of two streams: half of it must never be found.
            number = next(numbers)
            await log.append([Append(stream, ANY, [Counted(n=number)]), Append("all", ANY, [Counted(n=number)])])
            os.write(1, b"%d\n" % number)  # acknowledged: in the pipe, whatever happens to this process now

    await asyncio.gather(*(appender(f"s{n}") for n in range(APPENDERS)))


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], int(sys.argv[2])))
