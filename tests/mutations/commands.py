"""Each accepted command is decided once: the feed, keys of clients, repetitions."""

from typing import Final

from tests.mutations.mutation import Mutation

PARTITION: Final = "engine/partition.py"
AGGREGATES: Final = "engine/aggregates.py"
DECISIONS: Final = "engine/core/decisions.py"
INSTANCE: Final = "engine/core/instance.py"
TURN: Final = "engine/turn.py"

MUTATIONS: Final = (
    Mutation(
        "known commands fed again",
        PARTITION,
        "            if record.offset >= self.next_command:\n",
        "            if record.offset >= 0:\n",
        "A command that Kafka hands out twice is decided twice.",
    ),
    Mutation(
        "the feed never resumed after a pause",
        PARTITION,
        "            self._feed.resume(self.number)\n",
        "            pass\n",
        "After a rush of commands a partition stands still.",
    ),
    Mutation(
        "done one too far",
        PARTITION,
        "self._feed.done(self.number, turn.next_command)",
        "self._feed.done(self.number, turn.next_command + 1)",
        "Once old events have expired, an accepted command is never decided.",
    ),
    Mutation(
        "definitions never published",
        PARTITION,
        "            if turn.definitions:\n",
        "            if False:\n",
        "Triggers never fire: nobody who listens knows them or their workflows.",
    ),
    Mutation(
        "knows_since always true",
        AGGREGATES,
        "        return offset >= self._forgotten_before\n",
        "        return True\n",
        "A run repeated with its Idempotency-Key runs again when the read model is behind.",
    ),
    Mutation(
        "CONFLICT check gone",
        DECISIONS,
        "    if known != given:\n",
        "    if False:\n",
        "A client that uses an Idempotency-Key for something else is told that it was done.",
    ),
    Mutation(
        "keyed events not deduplicated",
        DECISIONS,
        "    if command.request_key is not None and (",
        "    if command.request_key == '' and (",
        "A repeated event lets an instance pass two of its stages.",
    ),
    Mutation(
        "early events forgotten",
        INSTANCE,
        "    arrived = state.arrived if event.stage is None else (*state.arrived, event.stage)\n",
        "    arrived = state.arrived if event.stage != state.stage else (*state.arrived, event.stage)\n",
        "An event that comes before its stage is lost, and the instance waits for ever.",
    ),
)
