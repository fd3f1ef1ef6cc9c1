"""Messages become occurrences, once each, and every occurrence starts its instance."""

from typing import Final

from tests.mutations.mutation import Mutation

DUPLICATES: Final = "engine/core/duplicates.py"
EFFECT_QUEUE: Final = "engine/effect_queue.py"
OCCURRENCES: Final = "engine/core/occurrences.py"
SHARD: Final = "engine/core/shard.py"
TRIGGER: Final = "engine/core/trigger.py"
EVALUATOR: Final = "engine/triggers/evaluator.py"
JUDGING: Final = "engine/triggers/judging.py"
LISTENERS: Final = "engine/triggers/listeners.py"
POSITIONS: Final = "engine/triggers/positions.py"

MUTATIONS: Final = (
    Mutation(
        "once key not checked",
        SHARD,
        "        if once_key is not None and self.duplicates.has_fired_for(state.id, once_key):\n",
        "        if False:\n",
        "A payment fires its trigger twice, and is paid out twice.",
    ),
    Mutation(
        "once key of a waiting message not checked",
        SHARD,
        "            once_key = state.waiting[given.occurrence_id].message.once_key\n",
        "            pass\n",
        "Two messages about one payment that wait for links both fire, and it is paid out twice.",
    ),
    Mutation(
        "identity not checked",
        SHARD,
        "        return identity is not None and self.duplicates.has_judged(",
        "        return False and self.duplicates.has_judged(",
        "A message that its producer sends twice is paid out twice.",
    ),
    Mutation(
        "identities never forgotten",
        DUPLICATES,
        "        return at is not None and at > now.timestamp() - self._bounds.identity_seconds\n",
        "        return at is not None\n",
        "A message that has the identity of one from last year is lost, if the trigger was idle since.",
    ),
    Mutation(
        "positions not kept",
        TRIGGER,
        "max(event.offset, state.positions.get(event.source, -1))",
        "state.positions.get(event.source, -1)",
        "A message that who listens hands over twice is paid out twice.",
    ),
    Mutation(
        "a deleted trigger goes on",
        TRIGGER,
        "deleted=True, positions={}, waiting={})",
        "deleted=True, positions={})",
        "Messages that wait for links fire a trigger after it was deleted.",
    ),
    Mutation(
        "the answer of an older evaluation counts",
        TRIGGER,
        "waiting is None or waiting.attempt != given.attempt:\n",
        "waiting is None:\n",
        "A link that could be fetched in the end is told as failed.",
        without_effect="A message has one evaluation at a time, whose result is handed back once, and nothing but that "
        "result ends an attempt of a message that still waits. The check guards against a broken runner.",
    ),
    Mutation(
        "the wrong trigger request popped",
        EFFECT_QUEUE,
        "                self._queue.popleft()\n",
        "                self._queue.pop()\n",
        "The instance of an occurrence is never started.",
    ),
    Mutation(
        "resend reversed",
        EFFECT_QUEUE,
        "            batch = list(islice(self._queue, self._max_batch()))\n",
        "            batch = list(islice(self._queue, self._max_batch()))[::-1]\n",
        "A run command that comes before an older one makes that one look repeated: its instance is never started.",
    ),
    Mutation(
        "resend dropped",
        EFFECT_QUEUE,
        "                continue\n",
        "",
        "The instance of an occurrence whose run command met a fault is never started.",
    ),
    Mutation(
        "requested before it is sent",
        EFFECT_QUEUE,
        "        self._queue.append(effect)\n",
        "        self._queue.append(effect)\n        self._finish(effect)\n",
        "The instance of an occurrence whose engine stops in between is never started.",
    ),
    Mutation(
        "requests not started after a restore",
        SHARD,
        "        yield from list(self._pending.ids())\n",
        "",
        "The instance of an occurrence that an engine left behind is never started.",
    ),
    Mutation(
        "evaluations not started after a restore",
        SHARD,
        "        yield from list(self._waiting.ids())\n",
        "",
        "A message that waits for links is never judged after a takeover.",
    ),
    Mutation(
        "sequences not checked",
        SHARD,
        "self.duplicates.is_sent_before(command.source, command.sequence)",
        "False",
        "An instance of a trigger that has ended runs again when its run command is sent again.",
    ),
    Mutation(
        "no bound of what waits for links",
        SHARD,
        "        if waiting + len(own) < MAX_WAITING and size + sum(own) + size_bytes(given) <= MAX_WAITING_BYTES:\n",
        "        if True:\n",
        "When a service that links lead to is away, the messages that wait fill the memory.",
    ),
    Mutation(
        "one trigger takes all room",
        SHARD,
        "        if waiting + len(own) < MAX_WAITING and size + sum(own) + size_bytes(given) <= MAX_WAITING_BYTES:\n",
        "        if waiting < MAX_WAITING and size + size_bytes(given) <= MAX_WAITING_BYTES:\n",
        "Messages for one trigger whose links never answer make those of all others fail.",
    ),
    Mutation(
        "what waited still counts",
        OCCURRENCES,
        "            self.size_bytes -= earlier[id].size_bytes\n",
        "            pass\n",
        "After so many messages that needed links, every one more is refused.",
    ),
    Mutation(
        "variables of another trigger",
        EVALUATOR,
        "        compiled = self._compiled.pop(trigger.id, None)\n",
        "        compiled = self._compiled.pop(next(reversed(self._compiled), trigger.id), None)\n",
        "A message starts a workflow with what another trigger's variables come to: money goes to another account.",
    ),
    Mutation(
        "what can't pass is tried again",
        EVALUATOR,
        ", any(link.may_pass for link in links.values())",
        ", True",
        "Nobody is told that a link leads nowhere before a day is over.",
    ),
    Mutation(
        "what may pass has failed",
        EVALUATOR,
        ", any(link.may_pass for link in links.values())",
        ", False",
        "A message that comes while a service restarts fires nothing.",
    ),
    Mutation(
        "what a filter refuses fires",
        JUDGING,
        "        if not value:\n",
        "        if False:\n",
        "Every message of a type fires, whatever the filter says.",
    ),
    Mutation(
        "the first topic alone",
        LISTENERS,
        "            for topic in self.topics\n",
        "            for topic in self.topics[:1]\n",
        "What comes in any other topic of the setting fires nothing.",
    ),
    Mutation(
        "new partitions begin at their end",
        POSITIONS,
        "        return 0  # the topic was deleted",
        "        return 2**62  # the topic was deleted",
        "What comes in a partition that was just added to a topic fires nothing.",
    ),
)
