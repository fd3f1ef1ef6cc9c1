"""The comparison, from the first look at the topic to the report. See the package for how it goes."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from projections.rows import ReadPosition
from projections.verification.buckets import Buckets, bucket_of
from projections.verification.counted import COUNTED_TABLES, RowCounts
from projections.verification.differences import Difference, Report, compared, compared_position
from projections.verification.errors import CannotVerify, ReadModelMoved
from projections.verification.folded import FoldedStore
from projections.verification.read_model import PostgresReadModel, ReadModel, Snapshot
from projections.verification.replay import Replay, replaying
from projections.verification.skipped import Skipped
from projections.verification.tables import TABLES, Table, Values
from schemas.kafka import Kafka, clients_of
from schemas.log_integrity import check_identity
from schemas.settings import ProjectionsSettings, variable
from schemas.topics import EVENTS, topic_name

OnProgress = Callable[[int, int, str], None]
"""Takes how much is done, how much there is, and what is done."""

MAX_BYTES: Final = 256 * 1024 * 1024
"""About how much memory rows of things that live may take. With more of them the log is read more than once."""
DEFAULT_LIMIT: Final = 20
"""Differences that are shown."""
MAX_TRIES: Final = 3
"""How often a pass is begun again since the read model was replaced or went back meanwhile."""
NEAR: Final = 20_000
"""Records that may be missing when the snapshot is opened. They are folded while it is open, and for so long Postgres
can't clean up behind its writers."""
MAX_APPROACHES: Final = 10
"""How often it is tried to come so near. Under traffic as fast as this reads it may not be possible."""


async def verify(
    settings: ProjectionsSettings,
    *,
    limit: int = DEFAULT_LIMIT,
    progress: OnProgress = lambda done, total, doing: None,
    kafka: Kafka | None = None,
    read_model: ReadModel | None = None,
    max_bytes: int = MAX_BYTES,
) -> Report:
    """Compare the read model with the log, while both go on. Nothing is changed.

    Args:
        settings: of the projections.
        limit: most differences that are reported.
        progress: is called often.
        kafka: where the log is; as the settings say when not given.
        read_model: what is compared; as the settings say when not given.
        max_bytes: about how much memory rows may take.

    Raises:
        CannotVerify: the log has lost its beginning, or belongs to something else.
        LogFault: the log was cut or created again.
        KafkaFault, StoreAway: a service is away.
    """
    kafka = kafka or clients_of(settings)
    verification = _Verification(kafka, read_model or PostgresReadModel(settings), settings, progress, max_bytes)
    return await verification.run(limit)


class _Looked(Struct):
    """The outcome of one pass."""

    at: datetime
    positions: dict[int, int]
    store: FoldedStore
    """With the buckets that were compared."""
    rows: dict[str, int]
    suspicious: set[int]
    """Buckets that hold a difference."""
    differences: list[Difference]
    """Those that were found, if the rows were compared whole, and in the positions."""
    skipped: bool
    behind: int
    """Records of the log that the read model does not have yet."""
    left_out: Skipped


class _Verification:
    def __init__(
        self,
        kafka: Kafka,
        read_model: ReadModel,
        settings: ProjectionsSettings,
        progress: OnProgress,
        max_bytes: int,
    ):
        self._kafka, self._read_model, self._progress, self._max_bytes = kafka, read_model, progress, max_bytes
        self._topic = topic_name(settings, EVENTS)
        self._kept = timedelta(seconds=settings.rejections_retention_seconds)
        self._finds_keys = settings.search_keys
        self._passes = 0
        self._counted: list[Difference] | None = None
        """What differs in the counts, once they were compared."""

    async def run(self, limit: int) -> Report:
        """See `verify`."""
        todo, suspicious, doubtful = Buckets.every(), set[int](), set[int]()
        while len(todo):
            looked = await self._pass(todo, whole=False)
            suspicious |= looked.suspicious
            doubtful |= {bucket for bucket in looked.store.doubtful if bucket in looked.store.buckets}
            todo = todo.without(looked.store.buckets)
        differences = looked.differences
        todo = Buckets(suspicious | doubtful)
        while len(todo) and len(differences) <= limit:
            looked = await self._pass(todo, whole=True)
            differences = [*(d for d in differences if d.table != "positions"), *looked.differences]
            todo = todo.without(looked.store.buckets)
        if not COUNTED_TABLES.intersection(difference.table for difference in differences):
            differences = [*differences, *(self._counted or ())]
        return Report(
            at=looked.at,
            positions=looked.positions,
            behind=looked.behind,
            rows=looked.rows,
            differences=differences[:limit],
            more=len(differences) > limit or any(bucket in todo for bucket in suspicious),
            skipped=looked.skipped,
            ended_before=looked.left_out.ended_before,
        )

    async def _pass(self, buckets: Buckets, *, whole: bool) -> _Looked:
        self._passes += 1
        for tries_left in reversed(range(MAX_TRIES)):
            try:
                return await self._look(buckets.copy(), whole=whole)
            except ReadModelMoved:
                if not tries_left:
                    raise
        raise AssertionError("unreachable")

    async def _look(self, buckets: Buckets, *, whole: bool) -> _Looked:
        now, positions, retained = await self._read_model.now()
        skipped = Skipped(retained)
        partitions = await self._partitions(positions)
        since = now - self._kept
        store = FoldedStore(buckets, self._max_bytes, whole=whole, rejected_since=since, skipped=skipped)
        done = 0

        def read(count: int) -> None:
            nonlocal done
            done += count
            self._progress(done, max(done, total), f"pass {self._passes}: records of the log")

        replayed = replaying(self._kafka, self._topic, store, read, finds_keys=self._finds_keys)
        async with replayed as replay:
            await replay.begin(partitions)
            for _ in range(MAX_APPROACHES):
                targets = _targets(positions, partitions)
                total = sum(targets.values())
                await replay.until(targets)
                positions = (await self._read_model.now()).positions
                if sum(_targets(positions, partitions).values()) - done <= NEAR:
                    break
            async with self._read_model.snapshot() as snapshot:
                await self._partitions(snapshot.positions)
                if not skipped.covers(await snapshot.retained()):
                    raise ReadModelMoved("instances were deleted since it was looked at; try again")
                return await self._compare(snapshot, replay, store, partitions, skipped, whole=whole)

    async def _partitions(self, positions: Mapping[int, ReadPosition]) -> int:
        """How many partitions the log has, if it is the one that the positions are of."""
        finder = self._kafka.topic_finder()
        try:
            found = await finder.find(self._topic)
        finally:
            finder.close()
        if found is None:
            raise CannotVerify(
                f"topic {self._topic} does not exist: check {variable('topic_prefix')}, or run `orchestration topics"
                " create`"
            )
        for partition, position in positions.items():
            if partition >= found.partitions:
                raise CannotVerify(
                    f"the read model has a position of partition {partition}, but {self._topic} has {found.partitions}"
                    f" partitions: check {variable('topic_prefix')} and {variable('database_schema')}"
                )
            check_identity(position.topic_id, found.id, partition=partition)
        return found.partitions

    async def _compare(
        self, snapshot: Snapshot, replay: Replay, store: FoldedStore, partitions: int, skipped: Skipped, *, whole: bool
    ) -> _Looked:
        targets = _targets(snapshot.positions, partitions)
        if any(replay.positions[partition].next_offset > target for partition, target in targets.items()):
            raise ReadModelMoved("the read model went back to older data while it was looked at; try again")
        await replay.until(targets)
        looked = _Looked(snapshot.at, targets, store, {}, set(), [], replay.skipped, await replay.behind(), skipped)
        for partition in range(partitions):
            log, postgres = replay.positions[partition], snapshot.positions.get(partition, ReadPosition())
            looked.differences += compared_position(partition, log, postgres)
        since = snapshot.at - self._kept
        if whole:
            for table in TABLES.values():
                looked.differences += await self._differences(snapshot, store, table, since, looked)
        else:
            store.seal(since)
            counts = RowCounts(skipped) if self._counted is None else None
            for table in TABLES.values():
                await self._fingerprint(snapshot, store, table, since, looked, counts)
            if counts is not None:
                self._counted = list(counts.differences(await snapshot.counts(), snapshot.at))
            looked.suspicious = {bucket for bucket in store.fingerprints.different() if bucket in store.buckets}
        return looked

    async def _fingerprint(
        self,
        snapshot: Snapshot,
        store: FoldedStore,
        table: Table,
        since: datetime,
        looked: _Looked,
        counts: RowCounts | None,
    ) -> None:
        looked.rows[table.name] = 0
        async for rows in snapshot.rows(table.name, looked.left_out):
            for values in rows:
                if not _is_old(table, values, since):
                    store.note(table, values)
                if counts is not None:
                    counts.note(table.name, values)
            self._count(table, len(rows), looked.rows)

    async def _differences(
        self, snapshot: Snapshot, store: FoldedStore, table: Table, since: datetime, looked: _Looked
    ) -> list[Difference]:
        postgres: dict[Values, Values] = {}
        looked.rows[table.name] = 0
        async for rows in snapshot.rows(table.name, looked.left_out):
            for values in rows:
                if bucket_of(table.owner(values)) not in store.buckets or _is_old(table, values, since):
                    continue
                if not looked.left_out.leaves_out(table.name, values):
                    postgres[table.key_of(values)] = values
            self._count(table, len(rows), looked.rows)
        log = {table.key_of(values): values for values in store.rows(table.name) if not _is_old(table, values, since)}
        return list(compared(table, log, postgres))

    def _count(self, table: Table, rows: int, counts: dict[str, int]) -> None:
        counts[table.name] += rows
        self._progress(counts[table.name], counts[table.name], f"pass {self._passes}: rows of {table.name}")


def _targets(positions: Mapping[int, ReadPosition], partitions: int) -> dict[int, int]:
    return {number: positions.get(number, ReadPosition()).next_offset for number in range(partitions)}


def _is_old(table: Table, values: Values, since: datetime) -> bool:
    """Whether the projections may have deleted the row, or may do so soon."""
    return table.name == "rejections" and values[table.columns.index("at")] < since
