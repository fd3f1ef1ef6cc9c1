"""What is known of one partition, from all sides, and what Kafka holds of it."""

from typing import Final

from msgspec import Struct

from schemas.kafka import Limits

ENGINES: Final = "the newest snapshot"
READ_MODEL: Final = "the read model"
PUBLISHER: Final = "the publisher"
CLAIMS: Final = "a claim"
EVENTS_SEEN: Final = "an event"


class Hole(Struct, frozen=True):
    """Where records are missing in the middle of a partition of `events`."""

    start: int
    """The first offset that is missing."""
    stop: int
    """That of the next record."""
    epoch: int
    """The newest claim before that, as records show it."""


class Known(Struct, frozen=True, kw_only=True):
    """A position in a partition of `events`, and how it fits to the partition as it is now."""

    who: str
    next_offset: int
    """All events before it were taken over."""
    epoch: int
    """The newest claim before it, as whoever it is of has seen it; -1 without one."""
    topic_id: str = ""
    """Kafka's id of the topic that the offsets are of; empty where it is not known."""
    other_claim: int | None = None
    """If the record at `epoch` is not a claim any more: the newest claim before `next_offset` that there is; -1 without
    one."""
    missed: int = -1
    """The first claim before `next_offset` that whoever it is of has not seen, if a later record shows it; else -1."""
    hole: Hole | None = None
    """The first place from it on where records are missing, with others behind."""
    unclaimed: int = -1
    """The first record behind it that belongs to a claim which is not in the log, with no filler behind it; else -1."""


class Scan(Struct, kw_only=True):
    """What the records of `events` say, from the lowest position on."""

    filler: int = -1
    """The last filler."""
    event: int = -1
    """The last record with an epoch."""
    loss: int = -1
    """The first filler in the place of an event."""
    causes_end: int = 0
    """Behind the last command that was decided."""
    commands_end: int = 0
    """Where `commands` ended, as claims say."""
    commands_id: str = ""
    """Of the topic `commands` that claims are about; those before a filler do not count."""
    events_end: int = 0
    """Where `events` ended, as a claim says that found it cut; those before a filler do not count."""


class PartitionFacts(Struct, frozen=True, kw_only=True):
    """A partition of `events` and the one of `commands` with the same number."""

    number: int
    events: Limits
    commands: Limits
    events_id: str
    commands_id: str
    has_snapshot: bool
    snapshot_unreadable: bool = False
    """Whether there is one, but not for this build."""
    engines: Known
    """Where the events begin that a restore reads: behind the snapshot, or at the start."""
    next_command: int = 0
    """Behind the last command that was decided, as the snapshot says."""
    commands_id_known: str = ""
    """Of the topic `commands` that the snapshot is about."""
    read_model: Known | None = None
    cause: int = -1
    """The last command that was decided, as the read model says."""
    publisher: Known | None = None
    publisher_lost: bool = False
    """Whether the publisher's position is gone, and the one here is what the newest public event says."""
    scan: Scan
    epoch_of_oldest: int = -1
    """The newest claim before the oldest record that is kept, as far as records show it."""

    @property
    def positions(self) -> list[Known]:
        """All positions that there are."""
        return [known for known in (self.engines, self.read_model, self.publisher) if known is not None]

    @property
    def repaired(self) -> bool:
        """Whether a filler says already that what does not fit to the newest snapshot is known.

        Without a snapshot, one before newer events was about something else.
        """
        return self.scan.filler >= max(self.engines.next_offset - 1, 0) and (
            self.has_snapshot or self.scan.filler > self.scan.event
        )
