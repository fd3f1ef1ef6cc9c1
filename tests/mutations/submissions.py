"""What other services append themselves is decided once, in order, and with the definition as it is."""

from typing import Final

from tests.mutations.mutation import Mutation

FEED: Final = "engine/command_feed.py"
FINDER: Final = "engine/workflow_finder.py"
SHARD: Final = "engine/core/shard.py"
STATE: Final = "engine/core/state.py"
SUBMISSIONS: Final = "engine/core/submissions.py"

MUTATIONS: Final = (
    Mutation(
        "a submission overtakes the run",
        SHARD,
        "        if resolved is None and self._held.first(key) is not None:\n",
        "        if resolved is None and self._held.first(key) is not None and isinstance(given, SubmitRun):\n",
        "An event that another service sends right behind its run is rejected, since there is no instance yet.",
    ),
    Mutation(
        "held submissions forgotten by a restore",
        SHARD,
        "        yield from self._held.subjects()\n",
        "",
        "A run that waits for its definition when its engine is killed never starts.",
    ),
    Mutation(
        "definitions as they were",
        FINDER,
        "            await self._workflows.catch_up()\n",
        "            pass\n",
        "A run of a workflow that exists is rejected, because the engine has not read of it yet.",
    ),
    Mutation(
        "a forgotten run starts again",
        SUBMISSIONS,
        "    if made_ms <= forgotten_until_ms:\n",
        "    if made_ms < 0:\n",
        "A run that comes again long after its instance has ended starts a second time: money moves twice.",
    ),
    Mutation(
        "a held submission is decided again",
        STATE,
        "                    self._held.release(key)\n",
        "                    pass\n",
        "A submission that was held is decided for ever, and holds up all others to its instance.",
    ),
    Mutation(
        "a submitted event is another one each time",
        SUBMISSIONS,
        '        request_key=str(id_for_key("event", key, command.idempotency_key)),\n',
        "",
        "An event that a producer writes twice ends two stages.",
    ),
    Mutation(
        "marks of transactions are missing commands",
        FEED,
        "            return None if is_hole and await self._are_all(place, records, position) else fault\n",
        "            return fault\n",
        "A partition stands still for good when two transactions of other services have ended side by side.",
    ),
)
