"""Reads what has changed, once for all streams of the process, and shows it to those that follow it.

The projections' announcements say what has changed (`projections.queries.changes`). While there are streams, one task
reads those instances, some at a time and with a pause in between: an instance that changes often is read once for all
its changes, and ordinary requests have Postgres and this process for most of the time.
"""

import asyncio
import contextlib
import logging
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
from projections.queries.rows import InstanceRow

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
        elif self._positions.ready:
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
                logger.warning("streams wait for the read model: %s", error)
                for follower in self._followers():
                    follower.away()
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
        taken = {id: self._pending.pop(id) for id in ids}
        try:
            read = await self._read(ids, keys)
        except BaseException:
            self._want_again(taken)
            raise
        if read is None and len(ids) == 1:
            self._pass_over(taken[ids[0]])
            return
        if read is None:
            half = len(ids) // 2
            self._want_again(taken)
            await self._show(ids[:half], keys)
            await self._show(ids[half:], keys)
            return
        for follower in self._followers():
            follower.back()
        for id in ids:
            if id not in read:
                for lost in self._watched.get(id, ()):
                    lost.lost()
        for id, (row, keys_of_row) in read.items():
            try:
                self._show_row(State(row, self._render, keys_of_row), taken[id])
            except Exception:  # the others must go on
                logger.exception("instance %s could not be shown to streams", id)

    async def _read(self, ids: Sequence[UUID], keys: Collection[str]) -> Mapping[UUID, FollowedInstance] | None:
        """See `Reader.read`; None if one of them is what can't be read, however often it is tried."""
        try:
            return await self._reader.read(ids, keys)
        except ReadModelUnavailable:
            raise
        except Exception:  # such as what a newer build has written; the others must go on
            if len(ids) == 1:
                logger.exception("instance %s could not be read for streams", ids[0])
            return None

    def _want_again(self, taken: Mapping[UUID, set[Follower] | None]) -> None:
        for id, wanted in taken.items():
            self._want(id, wanted)

    def _pass_over(self, wanted: set[Follower] | None) -> None:
        """What lists do not show of an instance, their clients may read from a process that can."""
        for follower in self._lists:
            if wanted is None or follower in wanted:
                follower.missed()

    def _show_row(self, shown: State, wanted: set[Follower] | None) -> None:
        for follower in (*self._watched.get(shown.row.id, ()), *self._lists):
            if wanted is None or follower in wanted:
                follower.show(shown)
