"""`ringfold serve`: the service until it is told to stop."""

import asyncio
import signal
import sys
from typing import Any

import structlog

from adapters.ami.client import AmiLoginRefused
from config import logging as logs
from config import tracing
from config.settings import InvalidSettings
from engine import trace
from engine.command.supervisor import Supervisor
from engine.command.terminal import Config, settings_at
from engine.ports import StoreUnavailable, Unreadable
from engine.service import Service

STOP_WITHIN_S = 10
NEEDS_SOMEBODY = 2
"""The exit status that a supervisor is told not to try again after: a setting or the store has to be put right first."""

log = structlog.get_logger("ringfold")


def serve(*, config: Config = None) -> None:
    """Run the service until SIGTERM: it then lets live calls end. A second signal stops it at once."""
    settings = settings_at(config)
    logs.configure(settings.log.level, settings.log.json)
    try:
        send_traces = tracing.configure(settings.traces)
    except InvalidSettings as error:
        log.error("can't start, nor after a restart", error=str(error))
        sys.exit(NEEDS_SOMEBODY)
    if settings.traces.endpoint:
        trace.switch_on()
    try:
        service = Service(settings)
    except (OSError, ValueError) as error:
        log.error("can't start, nor after a restart", error=f"the token keys in {settings.tokens.key_file}: {error}")
        sys.exit(NEEDS_SOMEBODY)
    status = asyncio.run(_serve(service))
    send_traces()
    sys.exit(status)


async def _serve(service: Service) -> int:
    told: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.put_nowait, number)
    supervisor = Supervisor.of()
    watch = asyncio.ensure_future(supervisor.keep_watch())
    starting, signalled = asyncio.ensure_future(service.start()), asyncio.ensure_future(told.get())
    try:
        await asyncio.wait({starting, signalled}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            log.info("told to stop before serving")
            return 0
        try:
            starting.result()
        except (AmiLoginRefused, OSError, StoreUnavailable) as error:
            log.error("can't start", error=str(error))
            return 1
        except Unreadable as error:
            log.error("can't start, nor after a restart", error=str(error), cure="docs/runbook.md, Won't start")
            return NEEDS_SOMEBODY
        supervisor.tell("READY=1")
        return await _until_told(service, told, signalled)
    finally:
        supervisor.tell("STOPPING=1")
        starting.cancel()
        signalled.cancel()
        await asyncio.gather(starting, signalled, return_exceptions=True)
        await _stop(service)
        watch.cancel()


async def _stop(service: Service) -> None:
    """A store that is away keeps nobody from stopping: what wasn't durable was never answered."""
    try:
        async with asyncio.timeout(STOP_WITHIN_S):
            await service.stop()
        log.info("stopped")
    except TimeoutError:
        log.error("stopped without having written everything: the store did not answer", seconds=STOP_WITHIN_S)


async def _until_told(service: Service, told: asyncio.Queue[int], signalled: asyncio.Future[int]) -> int:
    waited: set[asyncio.Future[Any]] = {signalled, service.engine.failed}
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    if service.engine.failed.done():
        log.error("a part failed for good", error=repr(service.engine.failed.exception()))
        return 1
    log.info("draining", seconds=service.settings.engine.drain_timeout_s)
    draining, again = asyncio.ensure_future(service.drain()), asyncio.ensure_future(told.get())
    tasks: set[asyncio.Future[Any]] = {draining, again}
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        log.warning("told again: stopping at once, live calls are left to the next start")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return 0
