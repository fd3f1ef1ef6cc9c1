"""Reading partitions in memory: what a reader and a member of a group have in common, and the reader."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from schemas.kafka.memory.log import StoredRecord, visible
from schemas.kafka.memory.network import RequestLost
from schemas.kafka.memory.process import RETRY_SECONDS, Process
from schemas.kafka.ports import Limits, Place
from schemas.records import Record


class OutOfRange(Exception):
    """The cluster does not have the offset that a partition is to be read from."""

    def __init__(self, place: Place):
        super().__init__(place)
        self.place = place


class Positions:
    """Where partitions are read, and what comes next there.

    Args:
        process: whose it is.
        committed_only: whether records of transactions are left out that were not committed.
    """

    def __init__(self, process: Process, *, committed_only: bool):
        self._process = process
        self._committed_only = committed_only
        self.offsets: dict[Place, int] = {}
        self.highwater: dict[Place, int] = {}

    async def take(
        self, places: Callable[[], Sequence[Place]], timeout_seconds: float, max_records: int | None
    ) -> dict[Place, Sequence[Record]]:
        """Records of these partitions, as soon as there are any, and move the positions behind them.

        Args:
            places: asked again whenever something has changed.
            timeout_seconds: how long to wait.
            max_records: most of them.

        Raises:
            OutOfRange: there is no such offset.
            KafkaFault: the cluster refuses.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_seconds
        while True:
            try:
                async with asyncio.timeout_at(until):
                    await self._process.network.request("fetch", self._process.name)
                    await self._process.network.answer("fetch", self._process.name)
            except RequestLost:
                if loop.time() >= until:
                    return {}
                await asyncio.sleep(min(RETRY_SECONDS, until - loop.time()))
                continue
            except TimeoutError:
                return {}
            if found := self._next(places(), max_records):
                return found
            try:
                async with asyncio.timeout_at(until):
                    await self._process.cluster.news()
            except TimeoutError:
                return {}

    def _next(self, places: Sequence[Place], max_records: int | None) -> dict[Place, Sequence[Record]]:
        found: dict[Place, Sequence[Record]] = {}
        room = max_records
        for place in places:
            if room == 0:
                break
            try:
                some = self._next_of(place, room)
            except OutOfRange:
                if found:
                    break  # it is told by the next one
                raise
            if some:
                found[place] = some
                room = None if room is None else room - len(some)
        return found

    def _next_of(self, place: Place, room: int | None) -> Sequence[StoredRecord]:
        log, offset = self._process.cluster.log(place), self.offsets[place]
        limits = log.limits()
        self.highwater[place] = limits.end
        if not limits.oldest <= offset <= limits.end:
            raise OutOfRange(place)
        batches = log.batches(offset, committed_only=self._committed_only)
        count = self._process.network.batches_fetched(len(batches)) if batches else 0
        records: list[StoredRecord] = []
        for batch in batches[:count]:
            records += visible(batch, offset, committed_only=self._committed_only)
            self.offsets[place] = batch.end
            if room is not None and len(records) >= room:
                if len(records) > room or records[-1].offset + 1 < batch.end:
                    self.offsets[place] = records[room - 1].offset + 1
                return records[:room]
        return records

    def forget(self, place: Place) -> None:
        """The partition is not read any more."""
        self.offsets.pop(place, None)
        self.highwater.pop(place, None)

    async def limits(self, places: Collection[Place]) -> dict[Place, Limits]:
        """What partitions hold now."""
        cluster = self._process.cluster
        return await self._process.ask(
            "offsets",
            lambda: {place: cluster.log(place).limits(committed_only=self._committed_only) for place in places},
        )


class MemoryReader:
    """`ports.Reader` in memory.

    Args:
        process: whose it is.
        committed_only: whether records of transactions are left out that were not committed.
    """

    def __init__(self, process: Process, *, committed_only: bool):
        self._process = process
        self._positions = Positions(process, committed_only=committed_only)

    async def partitions(self, topic: str) -> int:
        """See `ports.Reader.partitions`."""
        return await self._process.ask("topics", lambda: sum(1 for _ in self._process.cluster.places(topic)))

    async def limits(self, places: Collection[Place]) -> dict[Place, Limits]:
        """See `ports.Reader.limits`."""
        return await self._positions.limits(places)

    async def ends(self, places: Collection[Place]) -> dict[Place, int]:
        """See `ports.Reader.ends`."""
        return {place: limits.end for place, limits in (await self.limits(places)).items()}

    async def first_since(self, timestamps_ms: Mapping[Place, int]) -> dict[Place, int | None]:
        """See `ports.Reader.first_since`."""
        cluster = self._process.cluster
        return await self._process.ask(
            "offsets", lambda: {place: cluster.log(place).first_since(time) for place, time in timestamps_ms.items()}
        )

    def read_from(self, offsets: Mapping[Place, int]) -> None:
        """See `ports.Reader.read_from`."""
        self._positions.offsets = dict(offsets)

    async def take(self, timeout_seconds: float, max_records: int | None = None) -> dict[Place, Sequence[Record]]:
        """See `ports.Reader.take`."""
        while True:
            try:
                return await self._positions.take(lambda: list(self._positions.offsets), timeout_seconds, max_records)
            except OutOfRange as error:
                oldest = self._process.cluster.log(error.place).limits().oldest
                self._positions.offsets[error.place] = oldest

    async def position(self, place: Place) -> int:
        """See `ports.Reader.position`."""
        return self._positions.offsets[place]
