"""Reads what has changed, once for all streams of the process, and shows it to those that follow it.

The projections' announcements say what has changed (`projections.queries.changes`). While there are streams, one task
reads those instances, some at a time and with a pause in between: an instance that changes often is read once for all
its changes, and ordinary requests have Postgres and this process for most of the time.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final, Protocol
from uuid import UUID

from api.errors import Unavailable
from api.metrics import StreamMetrics
from api.ports import ReadPositions
from api.streams.followers import Follower, InstanceFollower, ListFollower
from api.streams.messages import State
from projections.queries.errors import ReadModelUnavailable
from projections.queries.followed import FollowedInstance
from projections.read_rows import InstanceRow
from schemas.repeats import Repeats

logger = logging.getLogger(__name__)

MAX_ROWS: Final = 200
"""Instances that are read at once; more would keep the event loop busy for longer."""
MAX_LOOK_UPS: Final = 20_000
"""Instances times keys of one read. If very many lists have a filter for a key, less instances are read at once:
otherwise each read would keep Postgres busy for seconds."""
PAUSE_SECONDS: Final = 0.05
"""Between two reads. Without it an instance with many activities would be read for each of its events."""
RETRY_SECONDS: Final = 1.0
"""Pause before Postgres is asked again; without it an absent one would keep the process busy."""
MISSED_SECONDS: Final = 1.0
"""How often all that is followed is read again at most, when announcements were missed."""
MAX_FAILURES: Final = 16
"""Reads that fail one after the other before streams wait. When an instance can't be read, one of two halves can. When
nothing can be read, to go on would be hundreds of reads in vain."""
MAX_PENDING: Final = 10_000
"""Changes that wait to be read. Past it, lists are told to be read again: that costs less than to go on behind."""


class Reader(Protocol):
    """`projections.queries.followed.FollowedInstances`."""

    async def read(self, ids: Sequence[UUID], keys: Collection[str], /) -> Mapping[UUID, FollowedInstance]:
        """The instances that exist, as they are now, with the keys of these that they have.

        Raises:
            ReadModelUnavailable: Postgres is away or too slow.
        """

    async def close(self) -> None:
        """Disconnect."""


class Hub:
    """All streams of a process.

    Args:
        reader: reads instances.
        positions: tell what has changed.
        render: makes an instance what GET answers.
        metrics: of streams.
        max_streams: how many there may be.
    """

    def __init__(
        self,
        reader: Reader,
        positions: ReadPositions,
        render: Callable[[InstanceRow], object],
        metrics: StreamMetrics,
        max_streams: int,
    ):
        self._reader, self._positions, self._render = reader, positions, render
        self._changes = positions.changes
        self.metrics = metrics
        self._max_streams = max_streams
        # As dicts, which keep their order: so streams are shown what has changed in the order in which they came.
        self._watched: dict[UUID, dict[InstanceFollower, None]] = {}
        self._lists: dict[ListFollower, None] = {}
        self._pending: dict[UUID, set[Follower] | None] = {}
        """What is to be read, and for whom; None for everyone."""
        self._has_missed = False
        self._next_missed = 0.0
        """When announcements that were missed are made up for at the earliest, as time of the event loop."""
        self._is_away = False
        """Whether the read model could not be read."""
        self._repeats = Repeats()
        """Faults of instances. They are met again with each change, and with each heartbeat."""
        self._work = asyncio.Event()
        self.stopping = asyncio.Event()
        """Set when the process is stopping."""
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to read what is followed."""
        self._changes.listen(self)
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._reader.close()

    def stop(self) -> None:
        """End all streams: the process is stopping."""
        self.stopping.set()
        for follower in self._followers():
            follower.stop()

    # Who follows

    def check_room(self) -> None:
        """Whether one more stream may begin.

        Raises:
            Unavailable: it may not.
        """
        if self.stopping.is_set():
            raise Unavailable("the server is stopping")
        if len(self._followers()) >= self._max_streams:
            self.metrics.count_refused()
            raise Unavailable("too many streams are open")

    @contextlib.contextmanager
    def following(self, follower: Follower) -> Iterator[None]:
        """Show a stream what it follows, from what is there now on."""
        self._enter(follower)
        self.metrics.count_open(follower.kind, 1)
        if self.stopping.is_set():
            follower.stop()
        try:
            with self._positions.polling():
                yield
        finally:
            self._leave(follower)
            self.metrics.count_open(follower.kind, -1)
            if not self._watched and not self._lists:
                self._pending.clear()
                self._is_away = False  # nothing is read any more that could tell

    def _enter(self, follower: Follower) -> None:
        if isinstance(follower, InstanceFollower):
            self._watched.setdefault(follower.instance_id, {})[follower] = None
            self.look(follower)
        elif isinstance(follower, ListFollower):
            self._lists[follower] = None
            ids = self._changes.since(follower.seen) if follower.seen else None
            if ids is None or len(ids) + len(self._pending) > MAX_PENDING:
                follower.begin(self._changes.mark)
            else:
                self._ask(ids, follower)

    def _leave(self, follower: Follower) -> None:
        if isinstance(follower, ListFollower):
            self._lists.pop(follower, None)
        elif isinstance(follower, InstanceFollower):
            others = self._watched[follower.instance_id]
            others.pop(follower, None)
            if not others:
                del self._watched[follower.instance_id]

    def look(self, follower: Follower) -> None:
        """See after something for one stream, now and then: announcements can be lost, and so can Postgres."""
        if isinstance(follower, InstanceFollower):
            self._ask((follower.instance_id,), follower)
        elif self._positions.ready and not self._is_away:
            follower.back()
        else:
            follower.away()

    def _ask(self, ids: Collection[UUID], follower: Follower) -> None:
        for id in ids:
            self._want(id, {follower})
        self._work.set()

    def _want(self, id: UUID, wanted: set[Follower] | None) -> None:
        """An instance is to be read for these streams, beside those for which it is already."""
        before = self._pending.setdefault(id, wanted)
        if before is not None:
            self._pending[id] = None if wanted is None else before | wanted

    def _followers(self) -> list[Follower]:
        return [*self._lists, *(one for some in self._watched.values() for one in some)]

    # What is announced

    def changed(self, ids: Sequence[UUID]) -> None:
        """See `changes.Listener`."""
        if self._lists:
            self._pending.update(dict.fromkeys(ids))
        elif self._watched:
            self._pending.update((id, None) for id in ids if id in self._watched)
        if self._pending:
            self._work.set()

    def missed(self) -> None:
        """See `changes.Listener`."""
        if self._lists or self._watched:
            self._has_missed = True
            self._work.set()

    # What is read

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._work.wait()
            self._work.clear()
            pause = PAUSE_SECONDS
            try:
                await self._read_some(loop.time())
            except ReadModelUnavailable as error:
                self._away(error)
                pause = RETRY_SECONDS
            if self._pending or self._has_missed:
                self._work.set()
            await asyncio.sleep(pause)

    async def _read_some(self, now: float) -> None:
        if self._has_missed and now >= self._next_missed:
            self._make_up(now)
        if len(self._pending) > MAX_PENDING:
            self._drop_lists()
        keys = {follower.key for follower in self._lists if follower.key is not None}
        ids = list(self._pending)[: min(MAX_ROWS, max(1, MAX_LOOK_UPS // max(1, len(keys))))]
        mark = self._changes.mark if len(ids) == len(self._pending) else None
        # What a client has missed that comes back during the read is not among what is read.
        lists = list(self._lists)
        if ids:
            await self._show(ids, keys)
        if mark is not None and not self._has_missed:
            for follower in lists:
                follower.moved(mark)

    def _make_up(self, now: float) -> None:
        """All that may have changed unseen is read again, here or by the client."""
        self._has_missed, self._next_missed = False, now + MISSED_SECONDS
        self._pending.update(dict.fromkeys(self._watched))
        for follower in self._lists:
            follower.missed()

    def _drop_lists(self) -> None:
        self._pending = {id: None for id in self._pending if id in self._watched}
        for follower in self._lists:
            follower.missed()

    async def _show(self, ids: Sequence[UUID], keys: Collection[str]) -> None:
        """Read instances and show them. Those that can't be read are found by halves, and passed over.

        Raises:
            ReadModelUnavailable: nothing can be read.
        """
        groups, failures = deque([ids]), 0
        while groups:
            group = groups.popleft()
            taken = {id: self._pending.pop(id) for id in group}
            try:
                read = await self._reader.read(group, keys)
            except (ReadModelUnavailable, asyncio.CancelledError):
                self._want_again(taken)
                raise
            except Exception as error:  # one of them can't be read, however often it is tried; the others must go on
                failures += 1
                if len(group) > 1 or failures >= MAX_FAILURES:
                    self._want_again(taken)
                if failures >= MAX_FAILURES:
                    raise ReadModelUnavailable(f"the read model can't be read: {error!r}") from error
                if len(group) > 1:
                    half = len(group) // 2
                    groups += (group[:half], group[half:])
                else:
                    self._pass_over(group[0], taken[group[0]], error)
            else:
                failures = 0
                self._back()
                self._show_read(group, read, taken)

    def _show_read(
        self,
        ids: Sequence[UUID],
        read: Mapping[UUID, FollowedInstance],
        taken: Mapping[UUID, set[Follower] | None],
    ) -> None:
        for id in ids:
            if id not in read:
                for lost in self._watched.get(id, ()):
                    lost.lost()
        for id, (row, keys_of_row) in read.items():
            try:
                self._show_row(State(row, self._render, keys_of_row), taken[id])
            except Exception as error:  # the others must go on
                self._pass_over(id, taken[id], error)

    def _want_again(self, taken: Mapping[UUID, set[Follower] | None]) -> None:
        for id, wanted in taken.items():
            self._want(id, wanted)

    def _pass_over(self, id: UUID, wanted: set[Follower] | None, error: Exception) -> None:
        """An instance can't be shown. The clients of lists may read it from a process that can."""
        for watching in self._watched.get(id, ()):
            if wanted is None or watching in wanted:
                watching.away()
        for follower in self._lists:
            if wanted is None or follower in wanted:
                follower.missed()
        if self._repeats.met(repr(error)):
            logger.error("streams pass over instance %s, and others with the same fault", id, exc_info=error)

    def _away(self, error: ReadModelUnavailable) -> None:
        if not self._is_away:
            logger.warning("streams wait for the read model: %s", error)
        self._is_away = True
        for follower in self._followers():
            follower.away()

    def _back(self) -> None:
        if self._is_away:
            logger.info("streams read the read model again")
        self._is_away = False
        for follower in self._followers():
            follower.back()

    def _show_row(self, shown: State, wanted: set[Follower] | None) -> None:
        for follower in (*self._watched.get(shown.row.id, ()), *self._lists):
            if wanted is None or follower in wanted:
                follower.show(shown)
