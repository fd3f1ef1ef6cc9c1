"""What a partition remembers to tell duplicates: commands, messages and results that come again.

| what comes again | known by | for how long |
|---|---|---|
| a run command that an engine sent for a trigger | `source` and `sequence` | for ever, one number a source |
| a keyed run of an instance that has ended | the digest of its request | the last `Bounds.max_ended` |
| an unkeyed run of an instance that has ended | its id | the last 1,000 |
| a message about what fires a trigger once, ever | the once key | until the trigger is deleted |
| a message that its producer sends twice | its identity | `Bounds.identity_seconds`, `Bounds.max_identities` |

It also knows which ended instances may still get the result of a call. All of it follows from the events alone, in
their order, so a restore comes to the same.
"""

from collections import OrderedDict
from datetime import datetime
from typing import Final

from msgspec import Struct

from engine.core.instance import Attempt, Instance

MAX_ENDED: Final = 100_000
"""Ended keyed instances that a partition remembers. A duplicate that comes after more than these have ended, while the
read model is as far behind, is answered with 503 instead of a second run."""

MAX_UNKEYED: Final = 1000
"""Ended instances without a key that are remembered. Their ids are random, so only a record that was written twice runs
one again; within one turn, the timers of the first run would then pass for those of the second."""

MAX_LATE: Final = 10_000
"""Aborted instances whose call may still return. The result of a call that takes longer than so many aborts is not
recorded; without a bound, calls that never return would fill the memory."""


class Bounds(Struct, frozen=True, kw_only=True):
    """How much a partition remembers of what is over."""

    max_ended: int = MAX_ENDED
    identity_seconds: float = 7 * 24 * 3600.0
    """How long a trigger knows the messages that it has judged."""
    max_identities: int = 100_000
    """How many of them a trigger knows."""


DEFAULT_BOUNDS: Final = Bounds()


class Late(Struct, frozen=True):
    """An instance that was aborted during an attempt."""

    version: int
    attempt: Attempt


class Duplicates:
    """Tells duplicates. Only the `note_` methods change anything.

    Args:
        bounds: how much is remembered.
    """

    def __init__(self, bounds: Bounds = DEFAULT_BOUNDS):
        self._bounds = bounds
        self._sequences: dict[str, int] = {}
        self._ended: OrderedDict[str, tuple[str, int]] = OrderedDict()
        self._ended_unkeyed: OrderedDict[str, None] = OrderedDict()
        self._forgotten_before = 0
        self._late: OrderedDict[str, Late] = OrderedDict()
        self._fired: dict[str, set[str]] = {}
        self._judged: dict[str, OrderedDict[str, float]] = {}

    # Runs

    def is_sent_before(self, source: str, sequence: int) -> bool:
        """Whether a run command of a source, or one that follows it there, has been decided."""
        return sequence <= self._sequences.get(source, -1)

    def note_sent(self, source: str, sequence: int) -> None:
        """A run command of a source was decided."""
        self._sequences[source] = sequence

    def ended_request(self, instance_id: str) -> str | None:
        """The digest of the request that ran an instance which has ended; None when it is not remembered."""
        ended = self._ended.get(instance_id)
        return None if ended is None else ended[0]

    def has_ended_lately(self, instance_id: str) -> bool:
        """Whether an instance without an Idempotency-Key is one of those that ended last."""
        return instance_id in self._ended_unkeyed

    def knows_since(self, offset: int) -> bool:
        """Whether every keyed instance that has ended at or behind an offset is still remembered."""
        return offset >= self._forgotten_before

    def late(self, instance_id: str) -> Late | None:
        """The attempt whose result may still come to an instance that was aborted."""
        return self._late.get(instance_id)

    def note_ended(self, instance: Instance, offset: int) -> None:
        """An instance has ended at an offset of the log."""
        if instance.canceled is not None:
            self._late[instance.id] = Late(instance.version, instance.canceled)
            if len(self._late) > MAX_LATE:
                self._late.popitem(last=False)
        if instance.request_digest is None:
            self._ended_unkeyed[instance.id] = None
            if len(self._ended_unkeyed) > MAX_UNKEYED:
                self._ended_unkeyed.popitem(last=False)
            return
        self._ended[instance.id] = (instance.request_digest, offset)
        if len(self._ended) > self._bounds.max_ended:
            _, (_, forgotten) = self._ended.popitem(last=False)
            self._forgotten_before = max(self._forgotten_before, forgotten + 1)

    def note_late_result(self, instance_id: str) -> None:
        """The result of an aborted instance's attempt has come."""
        self._late.pop(instance_id, None)

    # Messages

    def has_fired_for(self, trigger_id: str, once_key: str) -> bool:
        """Whether a trigger has fired for what it fires for once, ever."""
        return once_key in self._fired.get(trigger_id, ())

    def note_fired(self, trigger_id: str, once_key: str) -> None:
        """A trigger has fired for what it fires for once, ever."""
        self._fired.setdefault(trigger_id, set()).add(once_key)

    def has_judged(self, trigger_id: str, identity: str, now: datetime) -> bool:
        """Whether a trigger has judged a message with this identity, as far as that is still known."""
        known = self._judged.get(trigger_id)
        at = None if known is None else known.get(identity)
        return at is not None and at > now.timestamp() - self._bounds.identity_seconds

    def note_judged(self, trigger_id: str, identity: str, at: datetime) -> None:
        """A trigger has judged a message. What is too old by then is forgotten."""
        known, judged_at = self._judged.setdefault(trigger_id, OrderedDict()), at.timestamp()
        while known and next(iter(known.values())) <= judged_at - self._bounds.identity_seconds:
            known.popitem(last=False)
        known.setdefault(identity, judged_at)
        if len(known) > self._bounds.max_identities:
            known.popitem(last=False)

    def note_deleted(self, trigger_id: str) -> None:
        """A trigger was deleted: it judges nothing any more."""
        self._fired.pop(trigger_id, None)
        self._judged.pop(trigger_id, None)

    def snapshot(self) -> object:
        """All of it, to be compared."""
        fired = {id: sorted(keys) for id, keys in self._fired.items()}
        judged = {id: list(known.items()) for id, known in self._judged.items()}
        ended, late = list(self._ended.items()), list(self._late.items())
        unkeyed = list(self._ended_unkeyed)
        return self._sequences.copy(), ended, unkeyed, self._forgotten_before, late, fired, judged
