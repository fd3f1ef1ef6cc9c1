"""`ports.Kafka` in memory, as one process sees the cluster."""

import contextlib
from collections.abc import AsyncIterator

from schemas.kafka.errors import KafkaFault, KafkaUnreachable
from schemas.kafka.memory.cluster import MemoryCluster
from schemas.kafka.memory.member import MemoryMember
from schemas.kafka.memory.network import Network
from schemas.kafka.memory.process import Process
from schemas.kafka.memory.producer import MemoryProducer
from schemas.kafka.memory.reader import MemoryReader
from schemas.kafka.memory.topics import MemoryAdmin, MemoryTopicFinder
from schemas.kafka.memory.transactions import MemoryTransactions
from schemas.kafka.ports import Assigned, Begin, Membership, Revoked


class MemoryKafka:
    """A process' Kafka on a cluster in memory.

    Args:
        cluster: shared with other processes; a new one when not given.
        network: what lies between the process and the cluster; loses nothing when not given.
        name: of the process, for the network.
    """

    def __init__(self, cluster: MemoryCluster | None = None, network: Network | None = None, name: str = "process"):
        self.cluster = cluster or MemoryCluster()
        self._process = Process(self.cluster, network or Network(), name)

    async def kill(self) -> None:
        """End all that this process has under way at once; the cluster notices nothing but its silence."""
        await self._process.kill()

    def producer(self, topic: str, *, max_batch_bytes: int, max_request_bytes: int, waits: bool) -> MemoryProducer:
        """See `ports.Kafka.producer`."""
        return MemoryProducer(self._process, topic, max_batch_bytes, waits=waits)

    def member(
        self,
        topic: str,
        membership: Membership,
        *,
        begin: Begin | None = None,
        assigned: Assigned | None = None,
        revoked: Revoked | None = None,
    ) -> MemoryMember:
        """See `ports.Kafka.member`."""
        return MemoryMember(self._process, topic, membership, begin=begin, assigned=assigned, revoked=revoked)

    @contextlib.asynccontextmanager
    async def reader(self, *, committed_only: bool = False) -> AsyncIterator[MemoryReader]:
        """See `ports.Kafka.reader`."""
        await self._process.ask("connect", lambda: None)
        yield MemoryReader(self._process, committed_only=committed_only)

    def transactions(self, name: str, *, open_seconds: float, max_batch_bytes: int) -> MemoryTransactions:
        """See `ports.Kafka.transactions`."""
        return MemoryTransactions(self._process, name, open_seconds=open_seconds)

    @contextlib.asynccontextmanager
    async def admin(self) -> AsyncIterator[MemoryAdmin]:
        """See `ports.Kafka.admin`."""
        try:
            await self._process.ask("connect", lambda: None)
        except KafkaFault as error:
            raise KafkaUnreachable(str(error)) from error
        yield MemoryAdmin(self._process)

    def topic_finder(self) -> MemoryTopicFinder:
        """See `ports.Kafka.topic_finder`."""
        return MemoryTopicFinder(self._process)
