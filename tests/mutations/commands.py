"""Each accepted command is decided once: the feed, keys of clients, duplicates."""

from typing import Final

from tests.mutations.mutation import Mutation

PARTITION: Final = "engine/partition.py"
RESTORE: Final = "engine/restore.py"
DECISIONS: Final = "engine/core/decisions.py"
DUPLICATES: Final = "engine/core/duplicates.py"
REQUESTS: Final = "engine/core/requests.py"
INSTANCE: Final = "engine/core/instance.py"
SHARD: Final = "engine/core/shard.py"
STAGES: Final = "engine/core/stages.py"
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
        "a command again after a restore",
        RESTORE,
        "return 0 if cause is None else cause + 1\n",
        "return 0 if cause is None else cause\n",
        "The last command before a takeover is decided twice.",
    ),
    Mutation(
        "a command left out after a restore",
        RESTORE,
        "return 0 if cause is None else cause + 1\n",
        "return 0 if cause is None else cause + 2\n",
        "The first command after a takeover is never decided.",
    ),
    Mutation(
        "the feed never resumed after a pause",
        PARTITION,
        "            self._feed.resume(self.number)\n",
        "            pass\n",
        "After a rush of commands a partition stands still.",
    ),
    Mutation(
        "the feed never paused",
        PARTITION,
        "            self._feed.pause(self.number)\n",
        "            pass\n",
        "When the log is slow, the commands that wait fill the memory.",
    ),
    Mutation(
        "done one too far",
        PARTITION,
        "self._feed.done(self.number, turn.next_command)",
        "self._feed.done(self.number, turn.next_command + 1)",
        "Whoever watches the lag of the group does not see the last command that waits.",
    ),
    Mutation(
        "definitions never published",
        PARTITION,
        "            if turn.definitions:\n",
        "            if False:\n",
        "Triggers never fire: nobody who listens knows them or their workflows.",
    ),
    Mutation(
        "a skipped command leaves no record",
        TURN,
        "                self._outcome(key, CommandSkipped(at=self._at), offset)\n",
        "                pass\n",
        "A client who repeats a command waits for an answer until its deadline.",
    ),
    Mutation(
        "undecodable commands thrown away",
        PARTITION,
        "        await self._log.bury(self.number, dead)\n",
        "",
        "What could not be read can't be looked at, nor sent again.",
    ),
    Mutation(
        "knows_since always true",
        DUPLICATES,
        "        return offset >= self._forgotten_before\n",
        "        return True\n",
        "A run repeated with its Idempotency-Key runs again when the read model is behind.",
    ),
    Mutation(
        "knows_since one too early",
        DUPLICATES,
        "max(self._forgotten_before, forgotten.offset + 1)",
        "max(self._forgotten_before, forgotten.offset)",
        "As above.",
        without_effect="A client that looked for an instance and did not find it had seen no event of it. So what it "
        "has seen ends at or before the instance's start, and no instance ends with the event that starts it.",
    ),
    Mutation(
        "ended runs not remembered",
        SHARD,
        "        if known is not None:\n            check_same",
        "        if False:\n            check_same",
        "A run repeated with its Idempotency-Key after its end runs again.",
    ),
    Mutation(
        "CONFLICT check gone",
        REQUESTS,
        "    if known != given:\n",
        "    if False:\n",
        "A client that uses an Idempotency-Key for something else is told that it was done.",
    ),
    Mutation(
        "keyed events not deduplicated",
        REQUESTS,
        "    if command.request_key is None:\n",
        "    if command.request_key != '':\n",
        "A repeated event lets an instance pass two of its stages.",
    ),
    Mutation(
        "forgotten requests not in doubt",
        REQUESTS,
        "command.seen_requests < state.earlier_requests:\n",
        "command.seen_requests < 0:\n",
        "A repetition that comes after a hundred other requests, while the read model is behind, has its effect again.",
    ),
    Mutation(
        "keys of events forgotten",
        INSTANCE,
        "    if event.request_key is None or event.request_digest is None:\n",
        "    if event.request_key != '':\n",
        "A repeated event lets an instance pass two of its stages.",
    ),
    Mutation(
        "early events forgotten",
        INSTANCE,
        "    arrived = state.arrived if event.stage is None else (*state.arrived, event.stage)\n",
        "    arrived = state.arrived if event.stage != state.stage else (*state.arrived, event.stage)\n",
        "An event that comes before its stage is lost, and the instance waits for ever.",
    ),
    Mutation(
        "two events for one stage",
        STAGES,
        "or number in state.arrived:\n",
        "or number < 0:\n",
        "The second event of a name is lost: the stage that the first has ended takes it too.",
    ),
    Mutation(
        "an event for any stage",
        STAGES,
        "        if isinstance(resolved, WaitEvent) and resolved.event == name:\n",
        "        if isinstance(resolved, WaitEvent):\n",
        "An instance goes on although its approval has not come.",
    ),
    Mutation(
        "an aborted stage goes on",
        DECISIONS,
        "        if state.activities and not state.activities[-1].ended:\n",
        "        if False:\n",
        "The history of a canceled instance shows a call that never ends.",
    ),
)
