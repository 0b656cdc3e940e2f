"""A process that appends and tells each number once it is durable, with a log beside that counts them; its test kills it."""

import asyncio
import os
import sys
from collections.abc import Sequence

from engine.ports import ANY, Append, Beside, Recorded
from eventstore import Codec, open_store
from tests.eventstore.events import Counted, TestEvent

APPENDERS = 16
LOG, BESIDE, OWNER = "a", "beside", "writer"


def place(_log: str, events: Sequence[Recorded]) -> Beside:
    return Beside([Append("s", ANY, [Counted(n=events[-1].pos)])], lambda _: None)


async def write(url: str, first: int) -> None:
    store = await open_store(url, Codec(TestEvent), owner=OWNER)
    log = await store.open_log(LOG)
    store.accompany(await store.open_log(BESIDE), place)
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
