"""What happens outside: calls of the stack, delays, retries. Never twice, never too early, never for nothing."""

from typing import Final

from tests.mutations.mutation import Mutation

PARTITION: Final = "engine/partition.py"
DECISIONS: Final = "engine/core/decisions.py"

MUTATIONS: Final = (
    Mutation(
        "GoOn never happens",
        PARTITION,
        "                self._inputs.append((instance_id, Due(pending.token)))\n            case CallActivity() if",
        "                pass\n            case CallActivity() if",
        "A workflow of many stages stops in the middle.",
    ),
    Mutation(
        "token check off",
        DECISIONS,
        "    if pending is None or pending.token != given.token:\n        error = ",
        "    if pending is None:\n        error = ",
        "The answer of an older attempt counts for a newer one.",
    ),
    Mutation(
        "age check off",
        PARTITION,
        "        while self._clock.monotonic() - self._held_at > MAX_UNPROVEN_SECONDS:\n",
        "        while False:\n",
        "An engine that slept through a takeover still pays.",
    ),
    Mutation(
        "effect twice",
        PARTITION,
        "        if self._current.get(instance_id) == pending.token:\n            return\n        self._current",
        "        self._current",
        "Every event of an instance calls the stack again.",
    ),
    Mutation(
        "effects before the append",
        PARTITION,
        "            self._retract(effects)\n",
        "            for instance_id, pending in effects:\n                self._start(instance_id, pending)\n",
        "Money moves for a decision that is not in the log.",
    ),
    Mutation(
        "calls not cancelled",
        PARTITION,
        "            call.cancel()\n",
        "            pass\n",
        "An engine that has lost a partition goes on with its calls.",
    ),
)
