"""Who appends records beside the engines: clients their commands, other services their messages."""

import asyncio
from typing import Final

from schemas.kafka import Place
from schemas.kafka.ports import Outgoing
from tests.simulation.processes import SimulatedProcess

BYTES: Final = 8 * 1024 * 1024
FOREVER_SECONDS: Final = 10_000.0


class Producing:
    """Appends records in the order in which they come.

    Args:
        process: in which it runs.
    """

    def __init__(self, process: "SimulatedProcess[Producing]"):
        self.under_way = 0
        """How many appends are not acknowledged."""
        self._process = process
        self._producer = process.kafka.producer("commands", max_batch_bytes=BYTES, max_request_bytes=BYTES, waits=True)

    async def run(self, stop: asyncio.Event) -> None:
        """See `Program.run`."""
        await stop.wait()

    def append(self, place: Place, record: Outgoing) -> None:
        """Append a record, later."""
        self.under_way += 1
        self._process.life.spawn(self._append(place, record))

    async def _append(self, place: Place, record: Outgoing) -> None:
        deadline = asyncio.get_running_loop().time() + FOREVER_SECONDS
        await self._producer.append(place.topic, place.partition, record, deadline)
        self.under_way -= 1
