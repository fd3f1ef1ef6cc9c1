"""What a partition remembers to tell duplicates: commands, messages and results that come again.

| what comes again | known by | for how long |
|---|---|---|
| a run command that an engine sent for a trigger | `source` and `sequence` | for ever, one number a source |
| a keyed run of an instance that has ended | the digest of its request | the last `Bounds.max_ended` |
| a submitted run of an instance that has ended | its id, and the digest of the run | the same |
| an unkeyed run of an instance that has ended | its id | the last 1,000 |
| a retry of an instance that was retried since, and has ended | the number of the retry | `Bounds.max_retried` |
| a keyed abort that came after the end | its key, which a retry takes along | `Bounds.max_late_aborts` |
| a message about what fires a trigger once, ever | the once key | until the trigger is deleted |
| a message that its producer sends twice | its identity | `Bounds.identity_seconds`, `Bounds.max_identities` |

It also knows which instances may still get the result of a call from before their end. All of it follows from the
events alone, in their order, so a restore comes to the same.
"""

from collections import OrderedDict
from collections.abc import Container, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from msgspec import Struct

from engine.core import instance as instances
from engine.core.instance import Attempt, Instance
from engine.core.judgements import Fired, Judged
from engine.core.sections import Queue, Section
from engine.core.snapshots import Summary
from schemas.ids import made_at_ms

MAX_ENDED: Final = 100_000
"""Ended keyed instances that a partition remembers. A duplicate that comes after more than these have ended, while the
read model is as far behind, is answered with 503 instead of a second run."""

MAX_UNKEYED: Final = 1000
"""Ended instances without a key that are remembered. Their ids are random, so only a record that was written twice runs
one again; within one turn, the timers of the first run would then pass for those of the second."""

MAX_RETRIED: Final = 10_000
"""Retried instances that a partition remembers. A retry that comes after more retries than these, while the read model
is as far behind, is answered with 503: the engine can't tell any more whether it is the first of its kind."""

MAX_LATE_ABORTS: Final = 10_000
"""Ended instances of which the aborts with a key are remembered that came after the end. A retry that comes after more
of them, while the read model is as far behind, is answered with 503: the engine can't tell what to take along."""

MAX_LATE: Final = 10_000
"""Aborted instances whose call may still return. The result of a call that takes longer than so many aborts is not
recorded; without a bound, calls that never return would fill the memory."""

MAX_EARLIER: Final = 10
"""Likewise, the calls of earlier passes of one instance."""

STEPS: Final = 100
"""Into how many steps the time is divided for which identities are known. With few, a clock that is ahead for a moment
would have a trigger forget much of what it has judged, and messages would fire again."""


class Bounds(Struct, frozen=True, kw_only=True):
    """How much a partition remembers of what is over."""

    max_ended: int = MAX_ENDED
    max_retried: int = MAX_RETRIED
    max_late_aborts: int = MAX_LATE_ABORTS
    identity_seconds: float = 7 * 24 * 3600.0
    """How long a trigger knows the messages that it has judged."""
    max_identities: int = 100_000
    """How many of them a trigger knows."""

    @property
    def longest_step(self) -> timedelta:
        """What counts of the time between two events, at most: a clock that is ahead must not use it up at once."""
        return timedelta(seconds=self.identity_seconds / STEPS)


DEFAULT_BOUNDS: Final = Bounds()


class Late(Struct, frozen=True, array_like=True):
    """An instance that was aborted during an attempt, by the event at an offset."""

    version: int
    """That of its last event, once it has ended."""
    attempt: Attempt | None
    """None once the result has come. Then the entry says only which version the instance has come to."""
    offset: int
    earlier: tuple[Attempt, ...] = ()
    """Attempts of the passes before whose results have not come."""

    def without(self, retries: int) -> "Late":
        """The same when the result of a pass has come: in each, one attempt at most was on its way in the end."""
        attempt = None if self.attempt is None or self.attempt.retries == retries else self.attempt
        earlier = tuple(one for one in self.earlier if one.retries != retries)
        return Late(self.version + 1, attempt, self.offset, earlier)

    @property
    def awaited(self) -> Sequence[Attempt]:
        """All attempts whose results may still come."""
        return self.earlier if self.attempt is None else (*self.earlier, self.attempt)


class Retried(Struct, frozen=True, array_like=True):
    """The last retry of an instance, by the event at an offset."""

    retries: int
    """Which retry it was."""
    offset: int


class LateAborts(Struct, frozen=True, array_like=True):
    """The aborts with a key that came when their instance had ended, the last one by the event at an offset."""

    requests: tuple[tuple[str, str, int], ...]
    """Key, digest and offset of each, in order."""
    offset: int


class Ended(NamedTuple):
    """A keyed instance that ended at an offset of the log."""

    request_digest: str
    offset: int
    made_ms: int = 0
    """When its id was made, in milliseconds since 1970; 0 if the id does not say."""


class Remembered(NamedTuple):
    """What a snapshot has of it beside entries: fields of a `Summary`."""

    sequences: dict[str, int]
    """The last number of each source."""
    ended_unkeyed: Sequence[str]
    """Ids of the unkeyed instances that ended last, in order."""
    forgotten_before: int
    """The offset behind which every keyed instance that ended is known."""
    retries_forgotten_before: int
    """The one behind which every retry is known."""
    forgotten_until_ms: int
    """When the youngest id of those was made that are forgotten."""
    late_aborts_forgotten_before: int
    """The offset behind which every abort is known that came when its instance had ended."""


class Duplicates:
    """Tells duplicates. Only the `note_` methods change anything.

    Args:
        bounds: how much is remembered.
    """

    def __init__(self, bounds: Bounds = DEFAULT_BOUNDS):
        self._bounds = bounds
        self._sequences: dict[str, int] = {}
        self._ended: Queue[Ended] = Queue("ended", Ended, order=_offset)
        self._ended_unkeyed: OrderedDict[str, None] = OrderedDict()
        self._forgotten_before = 0
        self.forgotten_until_ms = 0
        """Every keyed instance that has ended, and whose id was made later, is still remembered."""
        self._retried: Queue[Retried] = Queue("retried", Retried, order=_offset)
        self._retries_forgotten_before = 0
        self._late_aborts: Queue[LateAborts] = Queue("late_abort", LateAborts, order=_offset)
        self._late_aborts_forgotten_before = 0
        self._late: Queue[Late] = Queue("late", Late, order=_offset)
        self._fired = Fired()
        self._judged = Judged()
        self.sections: Sequence[Section[Any]] = (
            self._ended,
            self._retried,
            self._late_aborts,
            self._late,
            self._fired,
            self._judged,
        )
        """What a snapshot has of it by id; the rest is its `summary`."""

    # Runs

    def is_sent_before(self, source: str, sequence: int) -> bool:
        """Whether a run command of a source, or one that follows it there, has been decided."""
        return sequence <= self._sequences.get(source, -1)

    def note_sent(self, source: str, sequence: int) -> None:
        """A run command of a source was decided."""
        self._sequences[source] = sequence

    def ended_request(self, instance_id: str) -> str | None:
        """The digest of the request that ran an instance which has ended; None when it is not remembered."""
        ended = self._ended.states.get(instance_id)
        return None if ended is None else ended.request_digest

    def has_ended_lately(self, instance_id: str) -> bool:
        """Whether an instance without an Idempotency-Key is one of those that ended last."""
        return instance_id in self._ended_unkeyed

    def knows_since(self, offset: int) -> bool:
        """Whether every keyed instance that has ended at or behind an offset is still remembered."""
        return offset >= self._forgotten_before

    def late(self, instance_id: str) -> Late | None:
        """The attempt whose result may still come to an instance that was aborted."""
        return self._late.states.get(instance_id)

    def note_ended(self, instance: Instance, offset: int) -> None:
        """An instance has ended at an offset of the log."""
        before = self._late.states.get(instance.id)
        if before is not None or instance.canceled is not None:
            earlier = () if before is None else tuple(before.awaited)[-MAX_EARLIER:]
            self._late.append(instance.id, Late(instance.version, instance.canceled, offset, earlier), MAX_LATE)
        if instance.request_digest is None:
            self._ended_unkeyed[instance.id] = None
            if len(self._ended_unkeyed) > MAX_UNKEYED:
                self._ended_unkeyed.popitem(last=False)
            return
        ended = Ended(instance.request_digest, offset, made_at_ms(instance.id) or 0)
        forgotten = self._ended.append(instance.id, ended, self._bounds.max_ended)
        if forgotten is not None:
            self._forgotten_before = max(self._forgotten_before, forgotten.offset + 1)
            self.forgotten_until_ms = max(self.forgotten_until_ms, forgotten.made_ms)

    def note_late_result(self, instance_id: str, retries: int) -> None:
        """The result has come of the attempt that was on its way when a pass of an instance ended."""
        late = self._late.states.get(instance_id)
        if late is not None:
            self._late.put(instance_id, late.without(retries))

    def forget_late(self, instance_id: str) -> None:
        """No result of an instance is recorded any more."""
        self._late.pop(instance_id)

    # Retries

    def retried(self, instance_id: str) -> Retried | None:
        """The last retry of an instance; None when it is not remembered."""
        return self._retried.states.get(instance_id)

    def knows_retries_since(self, offset: int) -> bool:
        """Whether every instance that was retried at or behind an offset is still remembered."""
        return offset >= self._retries_forgotten_before

    def note_retried(self, instance_id: str, retries: int, offset: int) -> None:
        """An instance was retried at an offset of the log. It has taken along what had come since its end."""
        self._late_aborts.pop(instance_id)
        forgotten = self._retried.append(instance_id, Retried(retries, offset), self._bounds.max_retried)
        if forgotten is not None:
            self._retries_forgotten_before = max(self._retries_forgotten_before, forgotten.offset + 1)

    def late_aborts(self, instance_id: str, since: int) -> Sequence[tuple[str, str]]:
        """Keys and digests of the aborts that came when an instance had ended, from an offset of the log on."""
        found = self._late_aborts.states.get(instance_id)
        return () if found is None else [(key, digest) for key, digest, offset in found.requests if offset >= since]

    def knows_late_aborts_since(self, offset: int) -> bool:
        """Whether all of them that came at or behind an offset are still remembered."""
        return offset >= self._late_aborts_forgotten_before

    def note_late_abort(self, instance_id: str, key: str, digest: str, offset: int) -> None:
        """An abort with a key came when its instance had ended."""
        before = self._late_aborts.states.get(instance_id)
        known = () if before is None else before.requests
        if any(one[0] == key for one in known):
            return
        requests = (*known, (key, digest, offset))
        left_out, kept = requests[: -instances.MAX_REQUESTS], requests[-instances.MAX_REQUESTS :]
        last = LateAborts(kept, offset)
        forgotten = self._late_aborts.append(instance_id, last, self._bounds.max_late_aborts)
        for _, _, place in left_out if forgotten is None else (*left_out, *forgotten.requests):
            self._late_aborts_forgotten_before = max(self._late_aborts_forgotten_before, place + 1)

    # Messages

    def has_fired_for(self, trigger_id: str, once_key: str) -> bool:
        """Whether a trigger has fired for what it fires for once, ever."""
        return self._fired.find(trigger_id, once_key) is not None

    def note_fired(self, trigger_id: str, once_key: str) -> None:
        """A trigger has fired for what it fires for once, ever."""
        self._fired.add(trigger_id, once_key)

    def has_judged(self, trigger_id: str, identity: str, now: datetime) -> bool:
        """Whether a trigger has judged a message with this identity, as far as that is still known.

        Args:
            trigger_id: which trigger.
            identity: of the message.
            now: the log's time, as far as it counts (see `LogTime.counted`).
        """
        at = self._judged.find(trigger_id, identity)
        return at is not None and at > now.timestamp() - self._bounds.identity_seconds

    def note_judged(self, trigger_id: str, identity: str, at: datetime) -> None:
        """A trigger has judged a message, at this time of the log. What is too old by then is forgotten."""
        judged_at = at.timestamp()
        self._judged.forget_until(trigger_id, judged_at - self._bounds.identity_seconds)
        self._judged.add(trigger_id, identity, judged_at, self._bounds.max_identities)

    def note_deleted(self, trigger_id: str) -> None:
        """A trigger was deleted: it judges nothing any more."""
        self._fired.remove_all(trigger_id)
        self._judged.remove_all(trigger_id)

    # Snapshots

    def summary(self) -> Remembered:
        """What a snapshot has of it beside entries."""
        return Remembered(
            self._sequences.copy(),
            list(self._ended_unkeyed),
            self._forgotten_before,
            self._retries_forgotten_before,
            self.forgotten_until_ms,
            self._late_aborts_forgotten_before,
        )

    def settle(self) -> None:
        """Remove some of what means nothing any more."""
        self._fired.settle()
        self._judged.settle()

    def restore_summary(self, known: Summary, triggers: Container[str]) -> None:
        """Take over what `summary` has told.

        Args:
            known: all that a snapshot has beside entries.
            triggers: those that are not deleted.
        """
        self._fired.remove_all_but(triggers)
        self._judged.remove_all_but(triggers)
        self._sequences = dict(known.sequences)
        self._ended_unkeyed = OrderedDict.fromkeys(known.ended_unkeyed)
        self._forgotten_before = known.forgotten_before
        self._retries_forgotten_before = known.retries_forgotten_before
        self.forgotten_until_ms = known.forgotten_until_ms
        self._late_aborts_forgotten_before = known.late_aborts_forgotten_before

    def contents(self) -> object:
        """All of it, to be compared."""
        queues = [list(queue.states.items()) for queue in (self._ended, self._retried, self._late_aborts, self._late)]
        return self.summary(), queues, self._fired.contents(), self._judged.contents()


def _offset(state: Ended | Retried | LateAborts | Late) -> int:
    return state.offset
