"""Reads an instance's records in the log, for people who want to see what is really there.

Kafka has no index by instance: the partition is read from the start of the instance to the last that is known of it,
past all that others did meanwhile. So a request reads a part, one at a time in a process, and says where to go on:
other requests must not wait for it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final
from uuid import UUID

from api.errors import Unavailable
from api.ports import LogPlace, LogSlice
from schemas.kafka import Kafka, KafkaFault, KeptReader, Place, Reader
from schemas.log_entries import UNREAD, Entry, Judge, entry
from schemas.records import RecordCodec
from schemas.settings import KafkaSettings
from schemas.topics import EVENTS, partition_of, topic_name, used_partitions

logger = logging.getLogger(__name__)

MAX_READ: Final = 20_000
"""Records that a request reads at most, of whichever instance: a tenth of a second of one core."""
MAX_TAKEN: Final = 500
"""Records that are looked at without a pause. Others wait meanwhile."""
MAX_ENTRIES: Final = 200
MAX_BYTES: Final = 1024 * 1024
"""What an answer holds at most, but for one more record. Definitions and inputs may be large."""
MAX_SECONDS: Final = 3.0
"""How long a request reads. Kafka may be slow, and the next request goes on."""
TAKE_SECONDS: Final = 0.5
DEADLINE_SECONDS: Final = 10.0
"""How long a request waits for its turn and for Kafka, all in all. Without it, requests would pile up while Kafka is
away."""

BEFORE_MS: Final = 5_000
AFTER_MS: Final = 60_000
"""How far times of records may be off, by the clocks of engines and brokers. Late results come after an instance's
end."""


class KafkaLogReader:
    """See `api.ports.LogReader`.

    Args:
        kafka: where the log is.
        settings: its name.
    """

    def __init__(self, kafka: Kafka, settings: KafkaSettings):
        self._reader = KeptReader(kafka)
        self._settings, self._topic = settings, topic_name(settings, EVENTS)
        self._codec = RecordCodec()

    async def open(self) -> None:
        """Nothing to do: it connects when somebody asks."""

    async def close(self) -> None:
        """Close the connections."""
        await self._reader.close()

    async def records(
        self, instance_id: UUID, /, *, since: datetime, until: datetime, after: LogPlace | None
    ) -> LogSlice:
        """The next records of an instance; see `api.ports.LogReader.records`."""
        key = str(instance_id).encode()
        async with self._reading() as reader:
            partitions = await reader.partitions(self._topic)
            if not partitions:
                raise Unavailable("the log of events is not there")
            place = Place(self._topic, partition_of(key, used_partitions(self._settings, partitions)))
            limits = (await reader.limits([place]))[place]
            end = await _first_since(reader, place, _ms(until) + AFTER_MS, limits.end)
            if after is None:
                start = max(limits.oldest, await _first_since(reader, place, _ms(since) - BEFORE_MS, limits.end))
                after = LogPlace(start, start, UNREAD)
            return await self._read(reader, place, key, after, end)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Reader]:
        """The reader, in turn."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS), self._reader.use() as reader:
                yield reader
        except TimeoutError:
            raise Unavailable("the log of events could not be read in time; try again") from None
        except KafkaFault as fault:
            logger.warning("the log of events can't be read: %s", fault)
            raise Unavailable("Kafka is away or refuses, so the log of events can't be read") from None

    async def _read(self, reader: Reader, place: Place, key: bytes, after: LogPlace, end: int) -> LogSlice:
        judge, offset = Judge(after.start, after.epoch), after.offset
        entries: list[Entry] = []
        size, until = 0, asyncio.get_running_loop().time() + MAX_SECONDS
        reader.read_from({place: offset})
        while offset < min(end, after.offset + MAX_READ) and asyncio.get_running_loop().time() < until:
            for record in (await reader.take(TAKE_SECONDS, MAX_TAKEN)).get(place, ()):
                verdict = judge.judge(record)
                offset = record.offset + 1
                if record.key == key:
                    entries.append(entry(place.partition, record, verdict, None, self._codec))
                    size += len(record.value or b"")
                    if len(entries) >= MAX_ENTRIES or size >= MAX_BYTES:
                        return LogSlice(entries, place.partition, LogPlace(after.start, offset, judge.epoch), end)
            # Behind what is not handed over, too.
            offset = max(offset, await reader.position(place))
        return LogSlice(entries, place.partition, LogPlace(after.start, offset, judge.epoch), end)


async def _first_since(reader: Reader, place: Place, timestamp_ms: int, end: int) -> int:
    """The first offset of a time or later; the end of the partition, if there is none."""
    found = (await reader.first_since({place: max(0, timestamp_ms)}))[place]
    return end if found is None else min(found, end)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
