"""A broadcast: whoever waits now is woken by the next beat, in the order in which they came."""

import asyncio


class Pulse:
    def __init__(self) -> None:
        self._waiting: dict[asyncio.Future[None], None] = {}
        """A future for each who waits: a dictionary keeps their order, and lets one go who doesn't wait any more."""

    def beat(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for one in waiting:
            if not one.done():  # cancelled, and not yet gone
                one.set_result(None)

    async def wait(self) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[mine] = None
        try:
            await mine
        finally:
            self._waiting.pop(mine, None)
