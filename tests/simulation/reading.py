"""The log of events as any consumer reads it: with the epoch rule alone, from its beginning."""

from typing import NamedTuple

from schemas.epochs import EpochFilter, header
from schemas.kafka import Place
from schemas.kafka.memory import MemoryCluster
from schemas.records import RecordCodec, Recorded, UndecodableRecord, read_number
from tests.simulation.secrecy import Secrecy


class Admitted(NamedTuple):
    """A record that counts."""

    offset: int
    cause: int
    """Offset of the command that it follows from; -1 without one."""
    recorded: Recorded | None
    """None if it can't be decoded."""


class LogReader:
    """Reads all partitions, and keeps what it has read.

    Args:
        cluster: where the log is.
        topic: its name.
        secrecy: opens what is encrypted.
    """

    def __init__(self, cluster: MemoryCluster, topic: str, secrecy: Secrecy):
        self._cluster, self._topic, self._codec, self._secrecy = cluster, topic, RecordCodec(), secrecy
        count = len(cluster.topics[topic].partitions)
        self.admitted: list[list[Admitted]] = [[] for _ in range(count)]
        self.ends = [0] * count
        """Behind all that was read, by partition."""
        self._filters = [EpochFilter() for _ in range(count)]

    @property
    def partitions(self) -> int:
        """How many there are."""
        return len(self.ends)

    def read(self) -> None:
        """Take in what has come."""
        for partition in range(self.partitions):
            self.read_partition(partition)

    def read_partition(self, partition: int) -> None:
        """Take in what has come in one partition."""
        place = Place(self._topic, partition)
        log = self._cluster.log(place)
        start = self.ends[partition]
        if log.limits().end <= start:
            return
        for batch in log.batches(start, committed_only=False):
            for record in self._secrecy.opened(place, batch.records):
                if record.offset < start or not self._filters[partition].admits(record):
                    continue
                try:
                    recorded = self._codec.decode_event(record)
                except UndecodableRecord:
                    recorded = None
                cause = read_number(header(record.headers, "cause"))
                self.admitted[partition].append(Admitted(record.offset, -1 if cause is None else cause, recorded))
            self.ends[partition] = batch.end
