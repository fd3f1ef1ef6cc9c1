"""An event loop in a thread of its own, for work that decisions must not wait behind."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

T = TypeVar("T")


class LoopThread:
    """Runs coroutines in a thread. To be started before the first.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str):
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether it takes coroutines."""
        return self._loop is not None

    def start(self) -> None:
        """Start the thread, with a loop of the same kind as the running one."""
        new_loop = cast(Callable[[], asyncio.AbstractEventLoop], type(asyncio.get_running_loop()))
        self._loop = new_loop()
        # A daemon, so that a process that fails elsewhere does not wait for it.
        self._thread = threading.Thread(target=self._loop.run_forever, name=self._name, daemon=True)
        self._thread.start()

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for its result; a cancelled wait cancels it."""
        assert self._loop is not None  # noqa: S101 - for the type checker
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))

    async def stop(self) -> None:
        """Cancel what still runs there and end the thread."""
        if self._loop is None or self._thread is None:
            return
        await self.run(_cancel_all_others())
        loop, self._loop = self._loop, None
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(self._thread.join)
        loop.close()


async def _cancel_all_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
