"""Who appends records beside the engines: clients their commands, other services their messages."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from schemas.kafka import Place
from schemas.kafka.ports import Outgoing, Transactions
from tests.simulation.processes import SimulatedProcess

BYTES: Final = 8 * 1024 * 1024
FOREVER_SECONDS: Final = 10_000.0


class Transaction(NamedTuple):
    """What a service appends at once."""

    name: str
    """Of the writer; no other one has it."""
    records: Mapping[Place, Sequence[Outgoing]]
    is_committed: bool
    """Whether it is committed in the end, or aborted."""


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

    def append_in_transactions(self, transactions: Sequence[Transaction], seconds: float) -> None:
        """Append each in a transaction of its own, later. When all are open they stay so for a while, and end at once.

        Args:
            transactions: to be appended.
            seconds: how long they are open.
        """
        self.under_way += len(transactions)
        self._process.life.spawn(self._append_in_transactions(transactions, seconds))

    async def _append_in_transactions(self, transactions: Sequence[Transaction], seconds: float) -> None:
        writers = [self._writer(transaction) for transaction in transactions]
        for writer, transaction in zip(writers, transactions, strict=True):
            await writer.open()
            await writer.append(transaction.records)
        await asyncio.sleep(seconds)
        await asyncio.gather(*map(self._end, writers, transactions))
        self.under_way -= len(transactions)

    async def _end(self, writer: Transactions, transaction: Transaction) -> None:
        if transaction.is_committed:
            await writer.commit()
        else:
            await self._writer(transaction).open()

    def _writer(self, transaction: Transaction) -> Transactions:
        return self._process.kafka.transactions(transaction.name, open_seconds=FOREVER_SECONDS, max_batch_bytes=BYTES)
