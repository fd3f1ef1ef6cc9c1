"""An instance with an event that nobody can use: it is set aside, and all others go on as if nothing had been."""

import random
from uuid import UUID

import msgspec
from msgspec import Raw

from schemas import rejections
from schemas.commands import AbortInstance, RunWorkflow, SendEvent
from schemas.events import StageEnded
from schemas.records import NewRecord, RecordCodec
from schemas.topics import partition_of
from tests.simulation.checkers import Observer
from tests.simulation.clients import Clients
from tests.simulation.topics import Topics

FOREVER = Raw(msgspec.json.encode([{"wait_event": {"event": "never"}}]))


class BadRecord:
    """Plants one record into the events of an instance.

    Args:
        rng: decides when and what.
        codec: makes records.
        topics: where it goes.
        observer: which knows of it.
        clients: who send commands to the instance.
    """

    def __init__(self, rng: random.Random, codec: RecordCodec, topics: Topics, observer: Observer, clients: Clients):
        self._rng, self._codec, self._topics, self._observer, self._clients = rng, codec, topics, observer, clients
        self.key = str(UUID(int=rng.getrandbits(128), version=4))
        self._partition = partition_of(self.key.encode(), topics.partitions)
        self._is_planted = False
        observer.bad.add(self.key)

    def begin(self) -> None:
        """Start the instance."""
        self._clients.send(self.key, RunWorkflow(workflow_id=self._clients.new_id(), stages=FOREVER, variables={}))

    def maybe(self, chance: float) -> None:
        """Plant the record with this chance, and send commands to the instance."""
        if self._rng.random() < 0.5:
            self._clients.send(self.key, SendEvent(name="else"))
        claim = self._observer.claims[self._partition].offset
        if self._is_planted or claim < 0 or self._rng.random() >= chance:
            return
        epoch = ("epoch", b"%d" % claim)
        record = NewRecord(self.key.encode(), b"{not json", [("type", b"EventReceived"), epoch], 0)
        if self._rng.random() < 0.5:
            ended = StageEnded(at=self._observer.last_at(self._partition), workflow_id="w", number=7)
            record = self._codec.encode(self.key, ended, timestamp_ms=0, version=9, epoch=claim)
        self._topics.put_event(self._partition, record)
        # It does not count behind a claim that was on its way to the replicas, and that nobody had seen.
        self._is_planted = self.key in self._observer.aside

    def is_known(self) -> bool:
        """Whether whoever sends a command to the instance is told; sends one, so that it will be."""
        if rejections.SET_ASIDE in self._observer.rejected.values():
            return True
        self.maybe(1.0)
        self._clients.send(self.key, AbortInstance() if self._rng.random() < 0.2 else SendEvent(name="never"))
        return False
