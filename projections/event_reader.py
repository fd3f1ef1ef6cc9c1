"""From records to a batch: which records count, what they say, and how far they move their partitions. No IO."""

import logging
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from projections.fold import Batch, BatchFull
from projections.metrics import Metrics
from projections.rows import Advance, ReadPosition
from schemas.encryption_marks import KeyMissing
from schemas.epochs import EpochFilter, header
from schemas.log_integrity import LogFault, unreadable_here
from schemas.records import Record, RecordCodec, UndecodableRecord, UnknownMessage, read_number

logger = logging.getLogger(__name__)

Records = Mapping[int, Sequence[Record]]
"""Records by partition, each in order and without a gap to what was read before."""


class Reading(Struct, frozen=True):
    """A batch, and where its partitions are once it is written."""

    batch: Batch
    positions: dict[int, ReadPosition]
    events: int
    faults: dict[int, LogFault]
    """By partition: why its records were read up to one of them, and no further."""
    left: dict[int, Sequence[Record]]
    """By partition: records that belong into a batch behind this one."""


class EventReader:
    """Folds records.

    Args:
        metrics: counts what can't be read.
        finds_keys: whether instances are to be found by keys.
    """

    def __init__(self, metrics: Metrics, *, finds_keys: bool = True):
        self._metrics = metrics
        self._finds_keys = finds_keys
        self._codec = RecordCodec()

    def read(
        self,
        records: Records,
        positions: Mapping[int, ReadPosition],
        repaired: Mapping[int, int] | None = None,
        *,
        skip: bool = False,
    ) -> Reading:
        """Fold records into a batch.

        Args:
            records: what follows on `positions`.
            positions: where the partitions are.
            repaired: before which offset records need no claim, by partition (see `schemas.epochs`).
            skip: leave the events out and only move the positions over them.
        """
        batch, reached, count = Batch(self._finds_keys), {}, 0
        faults: dict[int, LogFault] = {}
        left: dict[int, Sequence[Record]] = {}
        for partition, some in records.items():
            if not some:
                continue
            before = positions[partition]
            epochs = EpochFilter(before.epoch, partition, (repaired or {}).get(partition, 0))
            next_offset, cause = some[-1].offset + 1, before.cause
            for number, record in enumerate(some):
                try:
                    if not epochs.admits(record):
                        continue
                    if not skip:
                        self._fold(batch, partition, record)
                except LogFault as fault:
                    faults[partition] = fault
                    next_offset = record.offset
                    break
                except BatchFull:
                    next_offset, left[partition] = record.offset, some[number:]
                    break
                count += 1
                # Whoever waits for a command waits for its cause, also when the outcome can't be shown.
                cause = max(cause, _cause(record))
            if next_offset == before.next_offset:
                continue
            after = ReadPosition(next_offset, epochs.epoch, cause, before.topic_id)
            reached[partition] = after
            batch.advances.append(Advance(partition, before.next_offset, after.next_offset, after.epoch, after.cause))
        return Reading(batch, reached, count, faults, left)

    def _fold(self, batch: Batch, partition: int, record: Record) -> None:
        """Take over an event; one that is damaged is left out.

        Raises:
            LogFault: it can't be read here, and is not damaged. If it were left out, the read model would lack it for
                ever.
            BatchFull: it belongs into another batch.
        """
        try:
            batch.add(partition, self._codec.decode_event(record))
        except (UnknownMessage, KeyMissing) as error:
            raise unreadable_here(partition, record, error) from error
        except UndecodableRecord as error:
            self._metrics.undecodable.inc()
            logger.error("event record %s/%s is skipped: %s", partition, record.offset, error)


def chunks(records: Records, max_events: int) -> Iterator[Records]:
    """The records in parts of about `max_events`, to be read one after the other.

    What one command caused is never cut: whoever waits for the command expects to see all of it.
    """
    chunk: dict[int, Sequence[Record]] = {}
    room = max_events
    for partition, some in records.items():
        start = 0
        while start < len(some):
            end = min(start + room, len(some))
            while end < len(some) and _cause(some[end]) == _cause(some[end - 1]) >= 0:
                end += 1
            chunk[partition] = some[start:end]
            room -= end - start
            start = end
            if room <= 0:
                yield chunk
                chunk, room = {}, max_events
    if chunk:
        yield chunk


def halves(records: Records) -> tuple[Records, Records]:
    """The records in two parts of about the same size, to be read one after the other."""
    left: dict[int, Sequence[Record]] = {}
    right: dict[int, Sequence[Record]] = {}
    room = sum(map(len, records.values())) // 2
    for partition, some in records.items():
        left[partition], right[partition] = some[:room], some[room:]
        room = max(0, room - len(some))
    return left, right


def _cause(record: Record) -> int:
    cause = read_number(header(record.headers, "cause"))
    return -1 if cause is None else cause
