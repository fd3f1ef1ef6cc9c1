"""One writer per partition: claims, proofs, epochs and restores."""

from typing import Final

from tests.mutations.mutation import Mutation

PARTITION: Final = "engine/partition.py"
RESTORE: Final = "engine/restore.py"
INSTANCES: Final = "engine/core/instances.py"
LOG_TIME: Final = "engine/core/log_time.py"
STATE: Final = "engine/core/state.py"
SUPERVISOR: Final = "engine/supervisor.py"
TURN: Final = "engine/turn.py"
EPOCHS: Final = "schemas/epochs.py"
KAFKA_LOG: Final = "engine/kafka_log.py"
LISTENER: Final = "engine/triggers/listener.py"
LOG_INTEGRITY: Final = "schemas/log_integrity.py"
TOPICS: Final = "schemas/topics.py"

MUTATIONS: Final = (
    Mutation(
        "proof off",
        PARTITION,
        "        if base > self.end:\n",
        "        if base > self.end > base:\n",
        "Two engines take themselves for the owner of a partition, and both pay.",
    ),
    Mutation(
        "claims ignored",
        PARTITION,
        "                if is_claim(record):\n",
        "                if False:\n",
        "An engine that was superseded claims back at once what is not its own: two engines take turns for ever.",
    ),
    Mutation(
        "another offset taken as good",
        PARTITION,
        "            raise Displaced(",
        "            Displaced(",
        "What is remembered by its offset is wrong until the next restore: a new command is taken for a duplicate.",
    ),
    Mutation(
        "replay at a wrong offset",
        TURN,
        "        changed = self._shard.replay(key, events, self._end + len(self.records))\n",
        "        changed = self._shard.replay(key, events, self._end)\n",
        "What is remembered by its offset is wrong until the next restore: a new command is taken for a duplicate.",
    ),
    Mutation(
        "an event not replayed live",
        TURN,
        "        changed = self._shard.replay(",
        '        changed = () if type(events[0]).__name__ == "InstanceRequested" else self._shard.replay(',
        "The owner keeps what a restore would not: its memory fills, or it starts an instance again.",
    ),
    Mutation(
        "half a decision replayed live",
        TURN,
        "        changed = self._shard.replay(key, events, ",
        "        changed = self._shard.replay(key, events[:2], ",
        "The owner goes on from a state that is not the log's: it writes what no restore can read.",
    ),
    Mutation(
        "an end at the offset of its decision",
        STATE,
        "            self.duplicates.note_ended(after, offset + len(events) - 1)\n",
        "            self.duplicates.note_ended(after, offset)\n",
        "Two owners tell differently what the read model may have missed: one of them runs an instance again.",
    ),
    Mutation(
        "restore short by one",
        RESTORE,
        "self._log.read(self._number, start, epoch)",
        "self._log.read(self._number, start, epoch - 1)",
        "The last event before a takeover is forgotten: a command is decided twice.",
    ),
    Mutation(
        "restore takes everything",
        RESTORE,
        "                if admitted.admits(record):\n",
        "                if admitted.admits(record) or not is_claim(record):\n",
        "What a superseded engine still wrote counts for the next owner, and for nobody else.",
    ),
    Mutation(
        "epoch ignored by readers",
        EPOCHS,
        "return epoch == self.epoch",
        "return epoch is not None",
        "What a superseded engine still wrote counts: an instance has two histories.",
    ),
    Mutation(
        "two owners in one engine",
        SUPERVISOR,
        "        async with self._owning.setdefault(number, asyncio.Lock()):\n",
        "        async with asyncio.Lock():\n",
        "Commands that were handed to a former owner reach the new one before it knows which it has decided.",
    ),
    Mutation(
        "the clock may go back",
        LOG_TIME,
        "        return now if self.last_at is None else max(now, self.last_at)\n",
        "        return now\n",
        "A history shows that a stage ended before it started.",
    ),
    Mutation(
        "outcomes at the time of the first one",
        TURN,
        "        return self._shard.stamp(self._now)\n",
        '        return vars(self).setdefault("began_at", self._shard.stamp(self._now))\n',
        "What is shown to have come later is older than what it follows.",
    ),
    Mutation(
        "an older state kept",
        INSTANCES,
        "            cold[id] = _marked(self._encoder.encode(instance), instance)\n",
        "            cold.setdefault(id, _marked(self._encoder.encode(instance), instance))\n",
        "An instance goes back to where it was: its calls are made again.",
    ),
    Mutation(
        "an ended instance kept",
        INSTANCES,
        "            del self._cold[id]\n",
        "            pass\n",
        "An instance that was aborted goes on.",
    ),
    Mutation(
        "added partitions are used",
        TOPICS,
        "    return min(found, settings.partitions)\n",
        "    return found\n",
        "After a topic has grown, a run that is repeated starts again in another partition: money moves twice.",
    ),
    Mutation(
        "another number of partitions goes unnoticed",
        LOG_INTEGRITY,
        "    if known and known != used:\n",
        "    if False:\n",
        "An engine whose settings are wrong rejects commands, or decides them where nobody knows of the others.",
    ),
    Mutation(
        "who listens is not asked how many partitions there are",
        LISTENER,
        "        await self._check()\n",
        "",
        "An engine whose settings are wrong fires triggers where nobody reads them: no payment is made.",
    ),
    Mutation(
        "what is sent goes by the number of commands alone",
        KAFKA_LOG,
        "used_partitions(self._settings, min(found))",
        "used_partitions(self._settings, found[0])",
        "After `commands` has grown, an engine whose settings are wrong starts instances where nobody reads of them.",
    ),
)
