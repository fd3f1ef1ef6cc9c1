"""Reading partitions in memory: what a reader and a member of a group have in common, and the reader."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from schemas.kafka.memory.log import StoredRecord, visible
from schemas.kafka.memory.network import RequestLost
from schemas.kafka.memory.process import RETRY_SECONDS, NoAnswer, Process
from schemas.kafka.ports import Limits, Place
from schemas.records import Record


class OutOfRange(Exception):
    """The cluster does not have the offset that a partition is to be read from."""

    def __init__(self, place: Place):
        super().__init__(place)
        self.place = place


class _Fetched(NamedTuple):
    """What a fetch has brought from one partition."""

    position: int
    """Where it began."""
    next: int
    """Where the next one begins."""
    records: Sequence[StoredRecord]
    end: int
    """Of the partition."""


class Positions:
    """Where partitions are read, and what comes next there.

    Args:
        process: whose it is.
        committed_only: whether records of transactions are left out that were not committed.
        repeats: whether records may come again, as a group promises nothing else.
    """

    def __init__(self, process: Process, *, committed_only: bool, repeats: bool = False):
        self._process, self._repeats = process, repeats
        self._committed_only = committed_only
        self._answered: dict[Place, int] = {}
        """The positions behind the last fetch."""
        self._waiting: dict[asyncio.Future[None], None] = {}
        self.offsets: dict[Place, int] = {}
        self.highwater: dict[Place, int] = {}

    def wake(self) -> None:
        """Have every `take` that waits look again."""
        for woken in self._waiting:
            _set(woken)

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
        until = asyncio.get_running_loop().time() + timeout_seconds
        while True:
            asked = places()
            if not any(self._has_news(place) for place in asked):
                if not await self._news(asked, until):
                    return {}
                continue
            fetched = await self._fetch({place: self.offsets[place] for place in asked}, max_records, until)
            if fetched is None:
                return {}
            if found := self._take_over(places(), fetched):
                return found

    def _has_news(self, place: Place) -> bool:
        """Whether a fetch would bring something, or there was none for this position yet.

        One that brings nothing would wait at the cluster, and only tell the end.
        """
        if self._answered.get(place) != self.offsets[place]:
            return True
        log = self._process.cluster.log(place)
        self.highwater[place] = log.limits().end
        limits = log.limits(committed_only=self._committed_only)
        return not limits.oldest <= self.offsets[place] or self.offsets[place] != limits.end

    async def _news(self, places: Sequence[Place], until: float) -> bool:
        """Wait until there may be something; False if nothing came in time."""
        loop = asyncio.get_running_loop()
        if loop.time() >= until:
            return False
        woken: asyncio.Future[None] = loop.create_future()
        tell = partial(_set, woken)
        self._waiting[woken] = None
        self._process.cluster.watch(places, tell)
        timer = loop.call_at(until, tell)
        try:
            await woken
        finally:
            timer.cancel()
            del self._waiting[woken]
            self._process.cluster.unwatch(places, tell)
        return loop.time() < until

    async def _fetch(
        self, positions: Mapping[Place, int], max_records: int | None, until: float
    ) -> dict[Place, _Fetched] | None:
        """Ask the cluster once; None if the answer does not come in time.

        Raises:
            OutOfRange: there is no such offset.
            KafkaFault: the cluster refuses.
        """
        while True:
            try:
                return await self._process.ask_until(until, "fetch", lambda: self._read(positions, max_records))
            except RequestLost:
                left = until - asyncio.get_running_loop().time()
                if left <= 0:
                    return None
                await asyncio.sleep(min(RETRY_SECONDS, left))
            except NoAnswer:
                return None

    def _read(self, positions: Mapping[Place, int], max_records: int | None) -> dict[Place, _Fetched]:
        """What the cluster answers."""
        found: dict[Place, _Fetched] = {}
        room = max_records
        for place, offset in positions.items():
            if room == 0:
                break
            try:
                some = self._read_one(place, offset, room)
            except OutOfRange:
                if any(fetched.records for fetched in found.values()):
                    break  # it is told by the next one
                raise
            found[place] = some
            room = None if room is None else room - len(some.records)
        return found

    def _read_one(self, place: Place, offset: int, room: int | None) -> _Fetched:
        log = self._process.cluster.log(place)
        limits = log.limits()
        if not limits.oldest <= offset <= limits.end:
            raise OutOfRange(place)
        repeated = self._process.network.records_again(self._process.name) if self._repeats else 0
        first = max(offset - repeated, limits.oldest)
        batches = log.batches(first, committed_only=self._committed_only)
        count = self._process.network.batches_fetched(len(batches)) if batches else 0
        records: list[StoredRecord] = []
        position = first
        for batch in batches[:count]:
            records += visible(batch, first, committed_only=self._committed_only)
            position = batch.end
            if room is not None and len(records) >= room:
                if len(records) > room or (batch.records and records[-1].offset + 1 < batch.end):
                    position = records[room - 1].offset + 1
                del records[room:]
                break
        return _Fetched(offset, position, records, limits.end)

    def _take_over(self, places: Sequence[Place], fetched: Mapping[Place, _Fetched]) -> dict[Place, Sequence[Record]]:
        """Move behind what was fetched, as far as it is wanted still."""
        found: dict[Place, Sequence[Record]] = {}
        for place in places:
            some = fetched.get(place)
            if some is None or self.offsets.get(place) != some.position:
                continue
            self.offsets[place], self.highwater[place] = some.next, some.end
            self._answered[place] = some.next
            if some.records:
                found[place] = some.records
        return found

    def forget(self, place: Place) -> None:
        """The partition is not read any more."""
        self.offsets.pop(place, None)
        self.highwater.pop(place, None)
        self._answered.pop(place, None)

    async def limits(self, places: Collection[Place]) -> dict[Place, Limits]:
        """What partitions hold now."""
        cluster = self._process.cluster
        return await self._process.ask(
            "offsets",
            lambda: {place: cluster.log(place).limits(committed_only=self._committed_only) for place in places},
        )


def _set(woken: "asyncio.Future[None]") -> None:
    if not woken.done():
        woken.set_result(None)


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

    async def marks(self, place: Place, start: int, stop: int) -> frozenset[int]:
        """See `ports.Reader.marks`."""
        log = self._process.cluster.log(place)
        return await self._process.ask("fetch", lambda: frozenset(log.marks(start, stop)))
