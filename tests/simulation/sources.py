"""Other services: their topics, the messages in them, and the triggers that listen to these.

A message is known by its number, from which all of its payload follows, and so does what each trigger has to make of
it. That is told here without the product's evaluation of expressions.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from schemas.kafka import NewTopic, Place
from schemas.kafka.memory import MemoryCluster
from schemas.records import NewRecord
from schemas.settings import StackSettings

SHARE: Final = 0.1
"""How many seeds have several topics. Each costs a listener in every engine."""
LISTENED: Final = "L"
"""The type of most messages. Clients of the API have triggers for it too."""
FIRST: Final = "payments"
LATE: Final = "wallets"
"""A topic that is made while it is listened to."""
GROWING: Final = "ledger"
"""A topic that is given more partitions."""
STEPS: Final = 9
MADE: Final = 3
GROWN: Final = 5
"""Messages come in so many steps, before one of which the late topic is made, or the growing one grows."""
LINKS: Final = f"{StackSettings().stack_url}/links/"
OWNERS: Final = f"{StackSettings().stack_url}/owners/"


class Listener(NamedTuple):
    """A trigger for messages of a type."""

    event: str
    filter: str | None
    vars: dict[str, str]
    workflow: int
    """Which of two workflows it starts."""


class Wanted(NamedTuple):
    """What a trigger has to make of a message."""

    matches: bool
    variables: dict[str, str] | None
    """None if one can't be told, so that nothing is started."""


def payload(number: int) -> dict[str, Any]:
    """What a message says."""
    return {
        "n": str(number),
        "amount": number % 7 * 10,
        "kind": "big" if number % 3 else "small",
        "links": [{"name": "a", "uri": f"{LINKS}{number}"}, {"name": "b", "uri": f"{OWNERS}{number}"}],
    }


def link_matches(number: int) -> bool:
    """Whether the first link of a message says that it fires."""
    return number % 5 != 0


def owner(number: int) -> str | None:
    """The name that the second link of a message leads to; None if it leads nowhere."""
    return None if number % 5 == 1 else f"owner-{number}"


FILTERS: Final[Mapping[str | None, Callable[[int], bool]]] = {
    None: lambda number: True,
    "link(event, 'a').ok": link_matches,
    "event.kind == 'big'": lambda number: number % 3 != 0,
    "event.amount > 30": lambda number: number % 7 > 3,
}
"""What filters say."""

VARIABLES: Final[Mapping[str, Callable[[int], str | None]]] = {
    '"ann"': lambda number: "ann",
    "event.n": str,
    "event.kind": lambda number: "big" if number % 3 else "small",
    "event.amount + 1": lambda number: str(number % 7 * 10 + 1),
    "link(event, 'b').name": owner,
}
"""What variables come to; None where one can't be told."""

ONE_SOURCE: Final = (
    Listener(LISTENED, None, {"n": "event.n"}, 0),
    Listener(LISTENED, "link(event, 'a').ok", {"n": "event.n", "owner": "link(event, 'b').name"}, 0),
)
SEVERAL: Final = (
    *ONE_SOURCE,
    Listener("COMMITTED", "event.kind == 'big'", {"n": "event.n", "kind": "event.kind"}, 1),
    Listener("COMMITTED", None, {"total": "event.amount + 1"}, 0),
    Listener("OPENED", "event.amount > 30", {"n": "event.n"}, 1),
    Listener("OPENED", "link(event, 'a').ok", {"owner": "link(event, 'b').name"}, 1),
    Listener("OPENED", None, {"kind": "event.kind", "owner": "link(event, 'b').name"}, 0),
)


def wanted(filter: str | None, vars: Mapping[str, str] | None, number: int) -> Wanted:
    """What a trigger with this filter and these variables has to make of a message."""
    if not FILTERS[filter](number):
        return Wanted(False, None)
    found = {name: VARIABLES[text](number) for name, text in (vars or {}).items()}
    told = {name: value for name, value in found.items() if value is not None}
    return Wanted(True, told if len(told) == len(found) else None)


def needs_links(filter: str | None, vars: Mapping[str, str] | None) -> bool:
    """Whether a trigger can't tell without links."""
    return any("link(" in text for text in (filter or "", *(vars or {}).values()))


class Sources:
    """The topics of other services.

    Args:
        rng: decides which there are, and what comes in them.
    """

    def __init__(self, rng: random.Random):
        self._rng = rng
        self.are_several = rng.random() < SHARE
        self.listened = (FIRST, GROWING, LATE) if self.are_several else (FIRST,)
        """The topics that engines listen to."""
        self.present = {topic: 2 for topic in self.listened if topic != LATE}
        """How many partitions each has that is there by now."""
        self.triggers = SEVERAL if self.are_several else ONE_SOURCE
        self.types = tuple(dict.fromkeys(trigger.event for trigger in self.triggers))
        self.met: Counter[str] = Counter()
        self._published = 0

    def messages(self) -> Iterator[tuple[Place, NewRecord]]:
        """Some messages. Some come twice, and some are not messages."""
        rng = self._rng
        for _ in range(rng.randint(1, 5)):
            if rng.random() < 0.7:
                self._published += 1
            number, type = self._published, self.types[self._published % len(self.types)]
            topic = FIRST if not self.are_several else rng.choice(list(self.present))
            message = {"type": type, "app": topic, "payload": payload(number), "idempotency_key": f"k{number}"}
            value = msgspec.json.encode(message) if rng.random() < 0.9 else b"{not json"
            yield Place(topic, rng.randrange(self.present[topic])), NewRecord(b"", value, [], 0)

    async def run(self, cluster: MemoryCluster, append: Callable[[Place, NewRecord], None]) -> None:
        """Have messages come while a topic is made and another one grows."""
        for step in range(STEPS if self.are_several else 0):
            await asyncio.sleep(self._rng.uniform(0.5, 8.0))
            if step == MADE:
                cluster.create(NewTopic(LATE, 1, 1))
                self.present[LATE] = 1
                self.met["a source came later"] += 1
            if step == GROWN:
                self.present[GROWING] += self._rng.randint(1, 2)
                cluster.grow(GROWING, self.present[GROWING])
                self.met["a source got more partitions"] += 1
            for place, record in self.messages():
                append(place, record)
