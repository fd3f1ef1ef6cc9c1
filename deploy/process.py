"""One process from its start to its orderly stop: logging, event loop, signals and the deadline.

SIGINT or SIGTERM sets the stop event; what runs then has `shutdown_timeout_seconds` to end. A second signal, or the
deadline, ends the process at once.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import uvloop

from deploy import logs
from deploy.errors import DeployError, NotStopped
from deploy.garbage import collect_seldom
from schemas.secret_files import exposed_files
from schemas.settings import ProcessSettings

logger = logging.getLogger(__name__)


def run(settings: ProcessSettings, main: Coroutine[Any, Any, None], **context: object) -> None:
    """Run a process's coroutine on its event loop. The context is that of all log records."""
    logs.configure(settings, **context)
    for exposed in exposed_files(settings):
        logger.warning("%s", exposed)
    collect_seldom()
    uvloop.run(main)


async def until_stopped(name: str, work: Awaitable[None], stop: asyncio.Event, settings: ProcessSettings) -> None:
    """Wait for the work, by the deadline once the stop event is set.

    Args:
        name: of the process, for errors.
        work: ends when the stop event is set.
        stop: see `stop_event`.
        settings: have the deadline.

    Raises:
        NotStopped: the deadline passed.
        DeployError: the work ended though nobody asked it to.
    """
    task = asyncio.ensure_future(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait({task}, timeout=settings.shutdown_timeout_seconds)
        if not task.done():
            raise NotStopped(f"{name} did not stop within {settings.shutdown_timeout_seconds:g} s")
        task.result()
        if not stop.is_set():
            raise DeployError(f"{name} ended unexpectedly")
    finally:
        stopping.cancel()
        task.cancel()


@contextlib.asynccontextmanager
async def stop_event(at_once: Callable[[], None] = lambda: None) -> AsyncIterator[asyncio.Event]:
    """Set by SIGINT and SIGTERM. A second signal ends the process.

    Args:
        at_once: called before a second signal ends it.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    was_signalled = False

    def on_signal(number: int) -> None:
        nonlocal was_signalled
        # Not `stop.is_set()`: the parent of a worker sets that as well, and the signal of the group comes beside it.
        if was_signalled:
            at_once()
            sys.stderr.write("killed by a second signal\n")
            os._exit(128 + number)
        was_signalled = True
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
