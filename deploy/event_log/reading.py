"""Finds records of the log in Kafka: those of an aggregate, or those of a partition from an offset on.

A partition is read in order and nothing of it is kept, so its size does not matter for memory. An id that the API made
tells when (`api.ids`), so that its records are looked for from a minute before on. If the first one that is found is
not the first event of the aggregate, the partition is read from its start after all.
"""

import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Final
from uuid import UUID

from msgspec import Struct

from deploy.errors import EventLogError
from schemas.epochs import header
from schemas.kafka import Kafka, Limits, Place, Reader
from schemas.log_entries import Entry, Judge, Verdict, entry, epoch_of, owner_of
from schemas.records import Record, RecordCodec, read_number
from schemas.settings import KafkaSettings, variable
from schemas.topics import EVENTS, partition_of, topic_name, used_partitions

OnProgress = Callable[[int, int], None]
"""Takes the records read and the records to read."""

TAKE_SECONDS: Final = 0.5
"""How long one look for records takes."""
MAX_RECORDS: Final = 5000
"""Most records of one look, so that progress is shown while large batches are read."""
SILENCE_SECONDS: Final = 30.0
"""Without a record for this long, although some are missing, Kafka counts as away."""
LOOK_BACK: Final = 10_000
"""Records before the first one that are read to know the newest claim. An owner that was superseded writes at most one
turn more, which is smaller than this."""
SLACK_MS: Final = 60 * 1000
"""How far the clocks of API and engines may differ before a partition is read from its start."""
MAX_OWNERS: Final = 1000
"""Claims whose owner is remembered. Engines that push each other out make any number of them."""
TIME_ORDERED: Final = 7
"""The version of UUIDs that begin with a time."""


class Query(Struct, frozen=True, kw_only=True):
    """What is to be shown."""

    id: str | None = None
    """Of an aggregate, canonical. Without it, all records of a partition."""
    partition: int | None = None
    start: int | None = None
    """First offset; if negative, counted from the end. Without it, the oldest."""
    limit: int | None = None
    """Most records; without it, all up to the end as it is now."""
    follow: bool = False
    """Go on beyond the end."""


class Span(Struct, frozen=True):
    """What was chosen to be read."""

    place: Place
    limits: Limits
    start: int


Judged = tuple[Record, Verdict | None]
"""A record, and why it does not count."""


class EventLog:
    """The log, to be looked at.

    Args:
        kafka: where it is.
        settings: its name.
        progress: is called after each look for records.
    """

    def __init__(self, kafka: Kafka, settings: KafkaSettings, progress: OnProgress = lambda done, total: None):
        self._kafka, self._settings = kafka, settings
        self._topic = topic_name(settings, EVENTS)
        self._progress = progress
        self._codec = RecordCodec()

    async def entries(self, query: Query, chosen: Callable[[Span], None] = lambda span: None) -> AsyncIterator[Entry]:
        """What the query asks for, in order.

        Args:
            query: what to show.
            chosen: is told what is read, before the first entry.

        Raises:
            EventLogError: there is no such partition or offset, or nothing of the aggregate, or Kafka sends nothing.
            KafkaFault: Kafka is away or refuses.
        """
        async with self._kafka.reader() as reader, self._kafka.reader() as asker:
            span = await self._span(reader, query)
            chosen(span)
            owners = _Owners(asker, span.place, self._codec)
            count = 0
            async with aclosing(self._found(reader, span, query)) as found:
                async for record, verdict in found:
                    yield entry(span.place.partition, record, verdict, await owners.of(record), self._codec)
                    count += 1
                    if count == query.limit:
                        return
            if query.id is not None and not count:
                raise EventLogError(self._unknown(query.id, span))

    async def _found(self, reader: Reader, span: Span, query: Query) -> AsyncGenerator[Judged, None]:
        """The records that are asked for, with their verdicts."""
        key = None if query.id is None else query.id.encode()
        for start in await _starts(reader, span, query):
            scan, some = _Scan(reader, span.place, start, span.limits, key, self._progress), False
            async for judged in scan.until(span.limits.end):
                if not some and start > span.start and not _is_first(judged[0]):
                    break  # the aggregate is older than its id says
                some = True
                yield judged
            if some:
                break
        if query.follow:
            async for judged in scan.until(None):
                yield judged

    async def _span(self, reader: Reader, query: Query) -> Span:
        partitions = await reader.partitions(self._topic)
        if not partitions:
            raise EventLogError(
                f"topic {self._topic} does not exist: check {variable('topic_prefix')}, or run `orchestration topics"
                " create`"
            )
        partition = query.partition
        if partition is None:
            partition = partition_of((query.id or "").encode(), used_partitions(self._settings, partitions))
        if not 0 <= partition < partitions:
            raise EventLogError(f"topic {self._topic} has the partitions 0 to {partitions - 1}, not {partition}")
        place = Place(self._topic, partition)
        limits = (await reader.limits([place]))[place]
        start = limits.oldest if query.start is None else query.start
        if start < 0:
            start = max(limits.oldest, limits.end + start)
        if start > limits.end:
            raise EventLogError(f"partition {partition} of {self._topic} ends at offset {limits.end}, before {start}")
        return Span(place, limits, max(start, limits.oldest))

    def _unknown(self, id: str, span: Span) -> str:
        number = span.place.partition
        if span.start > span.limits.oldest:
            return f"nothing of {id} in partition {number} of {self._topic} from offset {span.start} on"
        deleted = f"; what was before offset {span.start} is deleted" if span.start else ""
        return f"nothing of {id} in partition {number} of {self._topic}, which it would be in{deleted}"


class _Scan:
    """Reads a partition once, from an offset on.

    Args:
        reader: of Kafka.
        place: the partition.
        start: the first record that is shown.
        limits: of the partition.
        key: of the records that are shown; None shows all.
        progress: is called after each look.
    """

    def __init__(
        self, reader: Reader, place: Place, start: int, limits: Limits, key: bytes | None, progress: OnProgress
    ):
        self._reader, self._place, self._start, self._key = reader, place, start, key
        self._progress = progress
        self._first = self._position = max(limits.oldest, start - LOOK_BACK)
        self._judge = Judge(self._first)
        reader.read_from({place: self._first})

    async def until(self, stop: int | None) -> AsyncIterator[Judged]:
        """The records up to an offset, or without an end."""
        heard_at = time.monotonic()
        while stop is None or self._position < stop:
            records = (await self._reader.take(TAKE_SECONDS, MAX_RECORDS)).get(self._place, ())
            judge, key = self._judge.judge, self._key
            for record in records:
                if stop is not None and record.offset >= stop:
                    break
                verdict = judge(record)
                if (key is None or record.key == key) and record.offset >= self._start:
                    yield record, verdict
            # Behind markers of transactions too, which are not handed over.
            position = await self._reader.position(self._place)
            if position != self._position:
                self._position, heard_at = position, time.monotonic()
            elif stop is not None and time.monotonic() - heard_at > SILENCE_SECONDS:
                raise EventLogError(f"Kafka sends nothing of {self._place.topic} from offset {position} on; try again")
            end = position if stop is None else stop
            self._progress(min(position, end) - self._first, end - self._first)


class _Owners:
    """Who made the claims of a partition.

    Args:
        reader: for claims that lie before what is shown; not used for anything else.
        place: the partition.
        codec: reads claims.
    """

    def __init__(self, reader: Reader, place: Place, codec: RecordCodec):
        self._reader, self._place, self._codec = reader, place, codec
        self._known: OrderedDict[int, str | None] = OrderedDict()

    async def of(self, record: Record) -> str | None:
        """Who made the claim under which a record was written; None if that claim is not there."""
        epoch = epoch_of(record)
        if epoch is None:
            return None
        if epoch == record.offset:
            self._note(epoch, owner_of(record, self._codec))
        elif epoch not in self._known:
            self._note(epoch, await self._read(epoch))
        return self._known[epoch]

    def _note(self, epoch: int, owner: str | None) -> None:
        self._known[epoch] = owner
        if len(self._known) > MAX_OWNERS:
            self._known.popitem(last=False)

    async def _read(self, epoch: int) -> str | None:
        limits = (await self._reader.limits([self._place]))[self._place]
        if not limits.oldest <= epoch < limits.end:
            return None
        self._reader.read_from({self._place: epoch})
        until = time.monotonic() + SILENCE_SECONDS
        while time.monotonic() < until:
            for record in (await self._reader.take(TAKE_SECONDS, 1)).get(self._place, ()):
                return owner_of(record, self._codec) if record.offset == epoch else None
        return None


async def _starts(reader: Reader, span: Span, query: Query) -> list[int]:
    """Where to begin, and where to begin again if that was too late."""
    if query.id is None or query.start is not None or (made_ms := _made_ms(query.id)) is None:
        return [span.start]
    found = (await reader.first_since({span.place: max(0, made_ms - SLACK_MS)}))[span.place]
    start = span.limits.end if found is None else max(span.start, min(found, span.limits.end))
    return sorted({start, span.start}, reverse=True)


def _made_ms(id: str) -> int | None:
    """When an id was made, in milliseconds since 1970; None if it does not tell."""
    made = UUID(id)
    return made.int >> 80 if made.version == TIME_ORDERED else None


def _is_first(record: Record) -> bool:
    """Whether it is the first event of its aggregate."""
    return read_number(header(record.headers, "version")) == 1
