"""When an instance may have changed: as its stream tells, or by and by where there is none.

Servers before streams, gateways that hold back answers, and a server that has too many streams: then it is polled.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

from deploy.client.connection import Api
from deploy.client.server_events import NoStream, ServerEvent
from schemas.stack.errors import CallFailed

Json = dict[str, Any]

FIRST_PAUSE_SECONDS: Final = 0.1
MAX_PAUSE_SECONDS: Final = 1.0
"""Pauses between two looks grow from the first to this while nothing happens: an instance may wait for weeks."""
PAUSE_GROWTH: Final = 1.3
FIRST_MESSAGE_SECONDS: Final = 3.0
"""How long the first message of a stream may take. Without it, one that is held back on its way would show nothing."""
SILENCE_SECONDS: Final = 60.0
"""How long a stream may be silent; servers send something every 15 s unless told otherwise. Without it, a connection
that was cut unnoticed would show nothing for ever."""
BUSY: Final = 503


class News:
    """Waits for news of one instance.

    Args:
        api: where it is.
        instance_id: which one.
        sleep: waits for some seconds.
    """

    def __init__(self, api: Api, instance_id: str, sleep: Callable[[float], Any] = asyncio.sleep):
        self._api, self._instance_id, self._sleep = api, instance_id, sleep
        self._messages: AsyncGenerator[ServerEvent, None] | None = None
        self._last_event_id = ""
        self._has_streams = self._is_first = True
        self._pause = FIRST_PAUSE_SECONDS

    async def next(self, *, changed: bool) -> Json | None:
        """Wait until it is worth looking.

        Args:
            changed: whether there was anything new the last time.

        Returns:
            The instance, if the stream has shown it; else somebody has to look.
        """
        is_first, self._is_first = self._is_first, False
        if self._has_streams:
            try:
                return await self._streamed()
            except NoStream as error:
                self._has_streams = error.status == BUSY
            except TimeoutError:
                self._has_streams = bool(self._last_event_id)  # one that says nothing at all is held back on its way
            except (CallFailed, StopAsyncIteration):
                pass  # it comes back
            await self.close()
        if not is_first:
            self._pause = FIRST_PAUSE_SECONDS if changed else min(self._pause * PAUSE_GROWTH, MAX_PAUSE_SECONDS)
            await self._sleep(self._pause)
        return None

    async def close(self) -> None:
        """End the stream."""
        messages, self._messages = self._messages, None
        if messages is not None:
            await messages.aclose()

    async def _streamed(self) -> Json | None:
        """What the next message about the instance shows; None for its end, when it was shown before."""
        seconds = SILENCE_SECONDS if self._messages is not None else FIRST_MESSAGE_SECONDS
        if self._messages is None:
            path = ("instances", self._instance_id, "stream")
            self._messages = self._api.stream(*path, last_event_id=self._last_event_id)
        while True:
            async with asyncio.timeout(seconds):
                message = await anext(self._messages)
            seconds = SILENCE_SECONDS
            if message.event == "instance" and isinstance(shown := message.json(), dict):
                self._last_event_id = message.id
                return shown
            if message.event == "end":
                return None
