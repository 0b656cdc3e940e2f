"""A PBX with everybody it talks to: a carrier and agents' phones."""

from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from simulations.asterisk.far_end import Carrier, Handset, Phones
from simulations.asterisk.installation import Installation, install
from simulations.asterisk.pbx import Asterisk


class Site:
    """Use as `async with`. `work` is a folder of its own: configuration, logs, CEL and the PBX's data go there.

    Phones `agent1` … `agentN`, those of `Phones.BEHAVING`, `Phones.ABSENT`, and `Handset.name` (the only one that has
    to be started by who needs it: `handset`). Raises NotInstallable, NotBooted, NotListening.
    """

    def __init__(self, work: Path, *, agents: int = 8, installation: Installation | None = None) -> None:
        installation = installation or install(say=lambda _: None)
        self.carrier = Carrier(work / "carrier", installation)
        self.phones = Phones(work / "phones", installation, agents)
        self.handset = Handset()
        self.asterisk = Asterisk(
            work / "pbx",
            carrier_port=self.carrier.port,
            phones={**self.phones.ports(), Handset.name: self.handset.port},
            installation=installation,
        )
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        async with AsyncExitStack() as stack:
            for part in (self.carrier, self.phones, self.asterisk):
                await part.start()
                stack.push_async_callback(part.stop)
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        await self._stack.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
