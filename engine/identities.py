"""What tells the messages that triggers have judged, so that one that its producer sends twice counts once."""

from collections import OrderedDict
from datetime import datetime


class Identities:
    """Each trigger's last identities. What is known follows from the noted events alone, in their order.

    Args:
        seconds: how long an identity is known.
        max_of_trigger: how many a trigger knows; the oldest goes first.
    """

    def __init__(self, seconds: float, max_of_trigger: int):
        self._seconds, self._max = seconds, max_of_trigger
        self._known: dict[str, OrderedDict[str, float]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._known.values()))

    def knows(self, trigger_id: str, identity: str, now: datetime) -> bool:
        """Whether the trigger has judged a message with this identity, as far as that is still known."""
        known = self._known.get(trigger_id)
        at = None if known is None else known.get(identity)
        return at is not None and at > now.timestamp() - self._seconds

    def note(self, trigger_id: str, identity: str, at: datetime) -> None:
        """Know an identity from `at` on, and no longer what is too old by then."""
        known = self._known.setdefault(trigger_id, OrderedDict())
        noted = at.timestamp()
        while known and next(iter(known.values())) <= noted - self._seconds:
            known.popitem(last=False)
        known.setdefault(identity, noted)
        if len(known) > self._max:
            known.popitem(last=False)

    def forget(self, trigger_id: str) -> None:
        """The trigger was deleted: it judges nothing any more."""
        self._known.pop(trigger_id, None)
