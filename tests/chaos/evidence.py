"""All that is known when everything is at rest: what clients were answered, the log, what readers show, the books."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import psycopg
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from schemas.kafka.options import client_options
from schemas.records import RecordCodec
from schemas.topics import COMMANDS, EVENTS, PUBLIC
from tests.chaos.answers import Answers
from tests.chaos.clients import SURFACES, Clients
from tests.chaos.fold import Fold, log_record
from tests.chaos.system import PARTITIONS, System
from tests.integration.http_client import Json
from tests.integration.log_checks import decisions
from tests.performance.written_log import WORKFLOW_ID
from tests.simulation.checkers import Observer
from tests.simulation.history import History
from tests.simulation.money import Books

READ_SECONDS: Final = 60.0
MAX_BATCH_BYTES: Final = 8 * 1024 * 1024


class View(NamedTuple):
    """An instance as a reader shows it."""

    ended: bool
    error: str | None


class Old(NamedTuple):
    """How many of the instances that were there before everything are still shown."""

    waiting: int
    ended: int


class Line(NamedTuple):
    """A line in the log of a process that should not be there, with what follows it."""

    process: str
    text: str


@dataclass
class Evidence:
    """What the checks look at."""

    answers: Answers
    fold: Fold
    histories: Mapping[str, History] = field(default_factory=dict)
    """By instance id: the fold of the simulation's checkers, which know the contract's rules."""
    contract: str | None = None
    """The first rule of the contract that the log breaks."""
    books: Books = field(default_factory=Books)
    """Of the stack."""
    views: dict[str, dict[str, View]] = field(default_factory=dict)
    """Instances of some workflows as each reader shows them."""
    viewed: frozenset[str] = frozenset()
    """Those workflows."""
    shown: list[str] = field(default_factory=list)
    """What the API shows of some instances and is not what the log says."""
    old_instances: int = 0
    """How many waited, and how many had ended, before everything."""
    old: dict[str, Old] = field(default_factory=dict)
    """Those that each reader shows, once those that have ended must be deleted."""
    positions: dict[int, int] = field(default_factory=dict)
    """How far Postgres is, by partition."""
    verify: tuple[int, str] = (0, "")
    """Exit status of `orchestration verify`, and what it said."""
    exits: list[str] = field(default_factory=list)
    """What ended by itself, or not as it should."""
    lines: list[Line] = field(default_factory=list)
    unsettled: str | None = None
    """What was still going on although everything had the time to end."""
    recovered: dict[str, dict[int, float | None]] = field(default_factory=dict)
    """Seconds until each partition worked again, by fault; None if it did not."""
    stops: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    """When each API stood still."""
    is_final: bool = False
    """Whether everything had to end."""


class LogReader:
    """Reads on what three topics hold, and keeps the folds of it."""

    def __init__(self, system: System):
        self._system = system
        self.fold = Fold(PARTITIONS, system.first_offsets)
        self.observer = Observer(PARTITIONS, RecordCodec())
        self.contract: str | None = None
        self._next = {TopicPartition(EVENTS, number): at for number, at in enumerate(system.first_offsets)}

    async def read(self) -> None:
        """Read to the present ends. The public topic comes first: all of it must stand in what is read behind it."""
        for partition, records in (await self._new(PUBLIC, "read_committed")).items():
            for record in records:
                self.fold.published(partition, log_record(record))
        for partition, records in (await self._new(EVENTS, "read_uncommitted")).items():
            for record in records:
                self.fold.event(partition, log_record(record))
            self._observe(partition, records)
        for partition, records in (await self._new(COMMANDS, "read_uncommitted")).items():
            for record in records:
                self.fold.command(partition, log_record(record))

    def _observe(self, partition: int, records: Sequence[ConsumerRecord]) -> None:
        if self.contract is None:
            try:
                for batch in decisions(records):
                    self.observer.observe(partition, batch)
            except Exception as error:
                self.contract = f"events/{partition}: {type(error).__name__}: {error}"

    async def _new(self, topic: str, isolation: str) -> dict[int, list[ConsumerRecord]]:
        consumer = AIOKafkaConsumer(
            **client_options(self._system.settings),
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level=isolation,
            max_partition_fetch_bytes=MAX_BATCH_BYTES,
        )
        places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        found: dict[int, list[ConsumerRecord]] = {place.partition: [] for place in places}
        async with asyncio.timeout(READ_SECONDS):
            await consumer.start()
            try:
                consumer.assign(places)
                for place in places:
                    consumer.seek(place, self._next.get(place, 0))
                ends = await consumer.end_offsets(places)
                while behind := [place for place in places if await consumer.position(place) < ends[place]]:
                    for place, records in (await consumer.getmany(*behind, timeout_ms=200)).items():
                        found[place.partition] += records
                for place in places:
                    # What came behind the ends is read again next time.
                    found[place.partition] = [r for r in found[place.partition] if r.offset < ends[place]]
                    self._next[place] = ends[place]
            finally:
                await consumer.stop()
        return found


async def positions(system: System) -> dict[int, int]:
    """How far Postgres is, by partition."""
    return dict(await rows(system, "SELECT partition, next_offset FROM positions"))


async def old_that_ended(system: System) -> int:
    """How many instances Postgres has that had ended before everything."""
    query = "SELECT count(*) FROM instances WHERE workflow_id = %s AND state = 'succeeded'"
    ((count,),) = await rows(system, query, WORKFLOW_ID)
    return int(count)


async def old(system: System, clients: Clients) -> dict[str, Old]:
    """The instances from before everything, as Postgres has them and as each API lists them."""
    query = "SELECT count(*) - count(terminated_at), count(terminated_at) FROM instances WHERE workflow_id = %s"
    found = {"postgres": Old(*(await rows(system, query, WORKFLOW_ID))[0])}
    for api in range(len(system.api_urls)):
        listed = await _paged(clients, api, WORKFLOW_ID)
        ended = sum(row["terminated"] for row in listed)
        found[f"api-{api + 1}"] = Old(len({row["id"] for row in listed}) - ended, ended)
    return found


async def rows(system: System, query: str, *values: Any) -> list[Any]:
    """Rows of the read model, past the network."""
    async with await psycopg.AsyncConnection.connect(system.database_url, connect_timeout=60) as connection:
        await connection.execute(f"SET search_path TO {system.settings.database_schema}".encode())
        cursor = await connection.execute(query.encode(), values)
        return await cursor.fetchall()


async def views(
    system: System, clients: Clients, workflows: Sequence[str], *, whole: bool
) -> dict[str, dict[str, View]]:
    """Instances of some workflows, as Postgres has them and as each API lists them on each surface.

    Args:
        system: whose readers are asked.
        clients: who ask them.
        workflows: whose instances.
        whole: these are all there are, so one list has all instances, unless there were others before.
    """
    alone = whole and not any(system.first_offsets)
    query = "SELECT id::text, terminated_at IS NOT NULL, error FROM instances WHERE workflow_id::text = ANY(%s)"
    found = {"postgres": {id: View(ended, error) for id, ended, error in await rows(system, query, list(workflows))}}
    for api, surface in itertools.product(range(len(system.api_urls)), ("v2",) if alone else SURFACES):
        seen: dict[str, View] = {}
        for workflow in ("",) if alone else workflows:
            for row in await _listed(clients, api, surface, workflow):
                if row["id"] in seen:
                    clients.answers.wrong.append(f"api-{api + 1} lists {row['id']} twice on {surface}")
                seen[row["id"]] = View(row["terminated"], row.get("error"))
        found[f"api-{api + 1} {surface}"] = seen
    return found


async def _listed(clients: Clients, api: int, surface: str, workflow: str) -> list[Json]:
    """The instances of a workflow in a list; all on v2 if it is none."""
    if surface == "v2":
        return await _paged(clients, api, workflow)
    path = f"/flows/{workflow}/runs" if surface == "flows" else f"/instances?workflowID={workflow}"
    reply = await clients.call("list", "GET", path, surface=surface, api=api)
    if reply.outcome != 200:
        clients.answers.wrong.append(f"api-{api + 1}: a list on {surface} was answered {reply}")
        return []
    listed: list[Json] = reply.data["data"]
    return listed


async def _paged(clients: Clients, api: int, workflow: str) -> list[Json]:
    listed: list[Json] = []
    path = f"/v2/instances?pageSize=1000&workflowID={workflow}"
    while True:
        reply = await clients.call("list", "GET", path, surface="v2", api=api)
        if reply.outcome != 200:
            clients.answers.wrong.append(f"api-{api + 1}: a page was answered {reply}")
            return listed
        page = reply.data["cursor"]
        listed += page["data"]
        if not page["hasMore"]:
            return listed
        path = f"/v2/instances?cursor={page['next']}"
