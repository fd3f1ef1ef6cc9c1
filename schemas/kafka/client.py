"""The connections of our producers, consumers and admin clients.

aiokafka's client is made for brokers that answer or are gone. With one that is silent it loses a timeout after another:
it has one timeout for everything, 40 s by default; it opens one connection at a time; it asks brokers for metadata and
coordinators in random order, one after another, again and again. This one differs in:

- *timeouts by request*: most are answered at once, but to join a group means to wait for its other members. An answer
  that is arriving is waited for.
- *silent brokers* (see `silence`) are asked last, and not at all for a moment.
- connections are opened side by side.
- *a fetch that waits* for records holds up nobody who asks for offsets.
- *the end*: a client that is closed stays so. Nothing opens a connection or waits for metadata any more.
"""

import asyncio
import contextlib
import logging
import random
import socket
import struct
from collections import Counter, defaultdict, deque
from typing import Any, Final

from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.cluster import ClusterMetadata
from aiokafka.conn import AIOKafkaConnection, CloseReason, create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError, NodeNotReadyError, RequestTimedOutError
from aiokafka.protocol.admin import CreateTopicsRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import JoinGroupRequest, SyncGroupRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest

from schemas.kafka.silence import SILENT, Address

logger = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 2.0
"""How long a broker may take for each step of a new connection, and to tell the metadata. A hanging broker still
accepts connections, so without it nobody would notice."""
REQUEST_SECONDS: Final = 3.0
"""How long nothing may come from a broker that was asked something. It must be well under the deadline of a command, so
that a connection that died silently is noticed while there is time for another try."""
SLOW_SECONDS: Final = {
    # Answered when all members have come, or were given up: after the session or the rebalance timeout. Asked again too
    # early, nothing breaks, but the coordinator counts as dead meanwhile.
    JoinGroupRequest: 12.0,
    SyncGroupRequest: 12.0,
    # Waits until all partitions have a leader.
    CreateTopicsRequest: 30.0,
}
"""Requests that take longer, since their answers wait for others."""
PROMPT: Final = (FetchRequest, FindCoordinatorRequest, MetadataRequest, OffsetRequest)
"""Requests that a broker answers by itself, so a broker is silent that does not. The others may wait for a replica or
for another broker that is silent."""
BROKER_PRODUCE_MS: Final = 2000
"""When a leader answers that replicas did not acknowledge in time. Less than `REQUEST_SECONDS`: a leader that waits for
a silent replica must not look silent itself, and its connection stays."""

MAX_READS: Final = 4
READ_PAUSE_SECONDS: Final = 0.1
"""After so many reads of the metadata in a row each waits so long. Without it a partition that has no leader would keep
a processor and a broker busy."""
FAULTS: Final = (KafkaError, OSError, TimeoutError)
"""What goes wrong with a broker."""
BOOTSTRAP: Final = ("bootstrap", ConnectionGroup.DEFAULT)
"""The connection that is kept while a cluster does not tell its brokers yet."""


class ClientEnded(KafkaError):  # type: ignore[misc]
    """The client was closed."""


class Client(AIOKafkaClient):  # type: ignore[misc]
    """See the module. aiokafka's constructors make their clients themselves, so `adopt` changes the class of those."""

    _ended: bool
    _fetching: Counter[Any]
    """How many fetches each broker has not answered."""
    _opening: dict[tuple[Any, ConnectionGroup], asyncio.Lock]
    _read_at: deque[float]
    _sync_task: asyncio.Task[None] | None

    def adopt(self) -> None:
        """What a constructor would do."""
        self._ended = False
        self._fetching = Counter()
        self._opening = defaultdict(asyncio.Lock)
        self._read_at = deque(maxlen=MAX_READS)
        self._request_timeout_ms = int(CONNECT_SECONDS * 1000)

    # Where to ask

    async def bootstrap(self) -> None:
        """Get to know the brokers.

        Raises:
            KafkaConnectionError: no bootstrap server answers.
        """
        hosts = [(host, port) for host, port, _ in self.hosts]
        last: BaseException | None = None
        for address in sorted(hosts, key=SILENT.suspects):
            try:
                connection = await self._open(address)
            except FAULTS as error:
                last = error
                continue
            try:
                metadata = await _answer(connection, MetadataRequest([]), CONNECT_SECONDS)
            except FAULTS as error:
                last = error
                SILENT.noticed(address, error)
                continue
            else:
                SILENT.heard(address)
                self.cluster.update_metadata(metadata)
                if not self.cluster.brokers():  # a cluster without topics may not tell its brokers
                    self._conns[BOOTSTRAP] = connection
            finally:
                if BOOTSTRAP not in self._conns:
                    connection.close()
            if self._sync_task is None:
                self._sync_task = asyncio.create_task(self._md_synchronizer(), name="kafka-metadata")
            return
        raise KafkaConnectionError(f"no broker answers at {self._bootstrap_servers}: {last!r}")

    def get_random_node(self) -> Any:
        """A broker that can be asked what any broker knows; None when none is known."""
        answering = [b.nodeId for b in self.cluster.brokers() if not SILENT.suspects((b.host, b.port))]
        return random.choice(answering) if answering else super().get_random_node()  # noqa: S311

    async def _metadata_update(self, cluster_metadata: ClusterMetadata, topics: Any) -> bool:
        await self._pace()
        request = MetadataRequest(list(topics) if topics else None)
        brokers = list(self.cluster.brokers())
        random.shuffle(brokers)
        brokers.sort(key=lambda broker: SILENT.suspects((broker.host, broker.port)))
        nodes = [broker.nodeId for broker in brokers]
        if BOOTSTRAP in self._conns:
            nodes.append(BOOTSTRAP[0])
        for node in nodes:
            try:
                metadata = await self.send(node, request)
            except KafkaError as error:
                logger.debug("no metadata from broker %s: %r", node, error)
                continue
            if not metadata.brokers:
                return False
            cluster_metadata.update_metadata(metadata)
            if BOOTSTRAP in self._conns and self.cluster.brokers():
                self._conns.pop(BOOTSTRAP).close()
            return True
        cluster_metadata.failed_update(None)
        return False

    async def _pace(self) -> None:
        """Wait if the metadata were read many times just now. A sender does that while a partition has no leader."""
        loop = asyncio.get_running_loop()
        if len(self._read_at) == MAX_READS and loop.time() - self._read_at[0] < MAX_READS * READ_PAUSE_SECONDS:
            await asyncio.sleep(READ_PAUSE_SECONDS)
        self._read_at.append(loop.time())

    # Connections

    async def _get_conn(
        self, node_id: Any, *, group: ConnectionGroup = ConnectionGroup.DEFAULT, no_hint: bool = False
    ) -> Any:
        connection = self._conns.get((node_id, group))
        if connection is not None and connection.connected():
            return connection
        async with self._opening[node_id, group]:
            connection = self._conns.pop((node_id, group), None)
            if connection is None or not connection.connected():
                connection = await self._open_to(node_id)
            if self._ended:
                if connection is not None:
                    abort(connection)
                raise ClientEnded
            if connection is not None:
                self._conns[node_id, group] = connection
            return connection

    async def _open_to(self, node_id: Any) -> Any:
        """A new connection to a broker, or None; then the metadata may be old, so they are read again."""
        broker = self.cluster.broker_metadata(node_id)
        if broker is not None and not SILENT.refuses((broker.host, broker.port)):
            with contextlib.suppress(*FAULTS):
                return await self._open((broker.host, broker.port), self._on_connection_closed)
        self.force_metadata_update()
        return None

    async def _open(self, address: Address, on_close: Any = None) -> AIOKafkaConnection:
        """A new connection.

        Raises:
            KafkaError, OSError, TimeoutError: the broker does not answer, or refuses us.
        """
        try:
            return await connect(
                *address,
                client_id=self._client_id,
                request_timeout_ms=int(CONNECT_SECONDS * 1000),
                ssl_context=self._ssl_context,
                security_protocol=self._security_protocol,
                on_close=on_close,
                max_idle_ms=self._connections_max_idle_ms,
                sasl_mechanism=self._sasl_mechanism,
                sasl_plain_username=self._sasl_plain_username,
                sasl_plain_password=self._sasl_plain_password,
                sasl_kerberos_service_name=self._sasl_kerberos_service_name,
                sasl_kerberos_domain_name=self._sasl_kerberos_domain_name,
                sasl_oauth_token_provider=self._sasl_oauth_token_provider,
            )
        except FAULTS as error:
            SILENT.noticed(address, error)
            raise

    # Requests

    async def send(self, node_id: Any, request: Any, *, group: ConnectionGroup = ConnectionGroup.DEFAULT) -> Any:
        """Ask a broker and return its answer.

        Raises:
            NodeNotReadyError: there is no connection to it.
            RequestTimedOutError: it does not answer.
            KafkaConnectionError: the connection broke.
            ClientEnded: this client was closed.
        """
        if isinstance(request, OffsetRequest) and self._fetching[node_id]:
            # A broker answers the requests of a connection in order, and a fetch when there is something.
            group = ConnectionGroup.COORDINATION
        connection = await self._get_conn(node_id, group=group)
        if connection is None:
            raise NodeNotReadyError(f"no connection to broker {node_id}")
        seconds = SLOW_SECONDS.get(type(request), REQUEST_SECONDS)
        address: Address = (connection.host, connection.port)
        is_fetch = isinstance(request, FetchRequest)
        self._fetching[node_id] += is_fetch
        try:
            answer = await _answer(connection, request, seconds)
        except TimeoutError as error:
            if isinstance(request, PROMPT):
                SILENT.noticed(address, error)
            connection.close(reason=CloseReason.CONNECTION_TIMEOUT)
            raise RequestTimedOutError from error
        finally:
            self._fetching[node_id] -= is_fetch
        SILENT.heard(address)
        return answer

    def force_metadata_update(self) -> Any:
        """Have the metadata read soon; the future tells whether that worked."""
        if self._ended:
            done = self._loop.create_future()
            done.set_result(False)
            return done
        return super().force_metadata_update()

    # The end

    async def close(self) -> None:
        """Drop all connections with what is on its way in them, and wake whoever waits for this client."""
        self._ended = True
        if self._md_update_fut is not None and not self._md_update_fut.done():
            self._md_update_fut.set_result(False)
        for connection in self._conns.values():
            abort(connection)
        if self._sync_task is not None:
            self._sync_task.cancel()
            await asyncio.wait({self._sync_task})
            retrieve(self._sync_task)
            self._sync_task = None


def adopt(client: AIOKafkaClient) -> None:
    """Make the client that a constructor of aiokafka has made one of ours, before it is used."""
    client.__class__ = Client
    client.adopt()


def abort(connection: AIOKafkaConnection) -> None:
    """Close a connection and take back what the broker has not received yet."""
    writer = connection._writer  # noqa: SLF001
    if writer is not None:
        # Else the system would go on to send it for minutes: until the network is back, for instance.
        end = writer.get_extra_info("socket")  # None once the broker has reset it
        with contextlib.suppress(OSError):
            if end is not None:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    connection.close(reason=CloseReason.SHUTDOWN)


async def _answer(connection: AIOKafkaConnection, request: Any, seconds: float) -> Any:
    """Send a request and wait for its answer, while anything comes from the broker.

    Raises:
        TimeoutError: nothing came for so many seconds.
        KafkaConnectionError: the connection broke.
    """
    send(connection, request).close()  # it has its own timeout, which ends in the middle of a large answer
    future: asyncio.Future[Any] = connection._requests[-1][2]  # noqa: SLF001
    # By hand: `asyncio.wait` takes another round of the event loop for each answer, on the way of every record.
    timer = _Silence(connection, future, seconds)
    try:
        return await future
    finally:
        timer.cancel()
        future.cancel()
        retrieve(future)  # if this was cancelled


async def connect(host: str, port: int, **options: Any) -> AIOKafkaConnection:
    """A new connection; see `send`.

    Raises:
        KafkaError, OSError, TimeoutError: the broker does not answer, or refuses us.
    """
    try:
        return await create_conn(host, port, **options)
    except KafkaError:  # which is a RuntimeError, too: it says why the broker refuses us
        raise
    except RuntimeError as error:
        raise _broken(error) from error


def send(connection: AIOKafkaConnection, request: Any) -> Any:
    """Send a request; what awaits its answer.

    By a `RuntimeError`, uvloop tells that a connection has just been reset. Here it is an error of Kafka: by any other
    one, tasks of aiokafka end for good, and a consumer would wait for its records for ever.

    Raises:
        KafkaConnectionError: the connection broke.
    """
    try:
        return connection.send(request)
    except KafkaError:
        raise
    except RuntimeError as error:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise _broken(error) from error


def _broken(error: RuntimeError) -> KafkaConnectionError:
    return KafkaConnectionError(f"the connection broke: {error}")


class _Silence:
    """Ends a request of whose connection nothing has come for some seconds."""

    __slots__ = ("_arrived", "_connection", "_future", "_seconds", "_timer")

    def __init__(self, connection: AIOKafkaConnection, future: "asyncio.Future[Any]", seconds: float):
        self._connection, self._future, self._seconds = connection, future, seconds
        self._arrived = _arrived(connection)
        self._timer = future.get_loop().call_later(seconds, self._check)

    def cancel(self) -> None:
        self._timer.cancel()

    def _check(self) -> None:
        before, self._arrived = self._arrived, _arrived(self._connection)
        if self._future.done():
            return
        if self._arrived == before:
            self._future.set_exception(TimeoutError())
        else:
            self._timer = self._future.get_loop().call_later(self._seconds, self._check)


def retrieve(future: asyncio.Future[Any]) -> None:
    """Look at the error of a future, if it has one. asyncio complains about errors that nobody has looked at."""
    if future.done():
        ending(future)


def ending(future: asyncio.Future[Any]) -> BaseException | None:
    """The error that a future which is done has ended with."""
    return None if future.cancelled() else future.exception()


def _arrived(connection: AIOKafkaConnection) -> int:
    """Bytes of the answer that is arriving."""
    reader = connection._reader  # noqa: SLF001
    return len(reader._buffer) if reader is not None else 0  # noqa: SLF001
