"""What the projections, and the API's queries, need of the read model's database.

| port | used by | on Postgres | in memory, for tests and simulations | one suite of tests for both |
|---|---|---|---|---|
| `Store` | the projections | `store.PostgresStore` | `memory.MemoryStore` | `tests/store_contract.py` |
| `Database` | `queries/` | `database.Postgres` | `memory_queries.MemoryQueries` | `tests/read_model_contract/` |

`Store` is about batches and positions. `Database` is about connections and statements: whatever the queries do about a
connection that is lost, or a notification, they do with both.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from projections.fold import Batch
from projections.read_rows import RowPosition
from projections.rows import ReadPosition
from schemas.resources import InstanceState

Row = tuple[Any, ...]
"""The columns of a row, in the order of the statement."""


class Deletion(NamedTuple):
    """What `Store.delete_ended` did."""

    deleted: int
    """Instances that are gone."""
    reached: RowPosition | None
    """Behind which place it goes on; None if there are no others."""


class Store(Protocol):
    """The read model as the projections write it.

    Every method raises `StoreAway` while it can't be reached. Then it is unknown whether a batch was written;
    the positions tell.
    """

    @property
    def connected(self) -> bool:
        """Whether it answered last time."""

    async def close(self) -> None:
        """Close the connection."""

    async def positions(self, partitions: Collection[int]) -> dict[int, ReadPosition]:
        """How far the partitions are; at the start of the log if nothing was written of one."""

    async def note_topic(self, topic_id: str, partitions: Collection[int]) -> None:
        """Note which topic the positions of these partitions are of, where that is not known yet."""

    async def write(self, batch: Batch) -> None:
        """Write a batch, move the positions and announce it, or do nothing.

        Raises:
            PositionConflict: a position is not where the batch starts.
            BatchRefused: the database can't hold something in the batch.
        """

    async def not_caught_up(self, partitions: Collection[int]) -> set[int]:
        """Which of these partitions have not caught up since the database was started."""

    async def note_caught_up(self, ends: Mapping[int, int], partitions: int) -> set[int]:
        """Note partitions that have passed the end of their log, so that readers can know.

        Args:
            ends: by partition, as they were after `not_caught_up` was asked over the same connection.
            partitions: how many there are altogether.

        Returns:
            Those that have.
        """

    async def prune_rejections(self, retention_seconds: int) -> bool:
        """Delete some rejections that are older than this, by their events and in here; whether there may be more."""

    async def merge_counts(self) -> bool:
        """Make some counts of hours that are over into one row for each hour and day; whether there may be more."""

    async def all_caught_up(self) -> bool:
        """Whether all partitions have caught up since the database was started."""

    async def has_passed(self, ends: Mapping[int, int]) -> bool:
        """Whether the read model has all of these partitions, by number, up to these offsets."""

    async def delete_ended(
        self, outcome: InstanceState, before: datetime, age: timedelta, behind: RowPosition, limit: int
    ) -> Deletion | None:
        """Delete some instances that ended before a time, with all that belongs to them, in one transaction.

        Counts of what has happened stay. Of an instance that was started with an Idempotency-Key, this is kept.

        Args:
            outcome: of the instances.
            before: when they ended.
            age: how long ago that must be by the clock of the database, too. That of a process may be ahead.
            behind: the place behind which it looks, in the order in which instances were created.
            limit: how many instances it looks at.

        Returns:
            None if another process is doing this.
        """


class Connection(Protocol):
    """A connection. What goes wrong with it is one of `projections.database.FAULTS`."""

    @property
    def closed(self) -> bool:
        """Whether it was closed here, or found to be cut."""

    async def fetch(self, query: bytes, parameters: Sequence[Any]) -> list[Row]:
        """Run one of the statements in `projections.sql`, which the server then keeps, and fetch its rows.

        Args:
            query: its text, with `$1`, ….
            parameters: in their order.
        """

    async def close(self) -> None:
        """Close it."""


class Notification(Protocol):
    """What the projections have told whoever listens."""

    @property
    def payload(self) -> str:
        """See `projections.announcements`."""


class Listener(Protocol):
    """A connection that hears what is announced from the moment on when it was made."""

    def notifies(self) -> AsyncIterator[Notification]:
        """What is announced, in order. It ends with an error, when the connection is cut."""

    async def close(self) -> None:
        """Close the connection."""


class Database(Protocol):
    """The read model's database, as it is queried."""

    async def connect(
        self, name: str, *, statement_timeout_seconds: float, parameters: Mapping[str, str] | None = None
    ) -> Connection:
        """A connection for statements with parameters `$1`, ….

        Args:
            name: what it is for.
            statement_timeout_seconds: the server ends a statement after this long.
            parameters: session parameters.
        """

    async def listen(self, name: str) -> Listener:
        """A connection that hears from now on what the projections announce."""
