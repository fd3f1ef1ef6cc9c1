"""Instances that run once more: nothing is paid twice, and of two retries one counts."""

from typing import Final

from tests.mutations.mutation import Mutation

DECIDED: Final = "engine/core/retrying.py"
SHARD: Final = "engine/core/shard.py"
STATE: Final = "engine/core/state.py"
STAGES: Final = "engine/core/stages.py"
EFFECTS: Final = "engine/core/effects.py"
FOLD: Final = "projections/fold.py"
API: Final = "api/resources/retries.py"
ABORTS: Final = "api/resources/instance_events.py"
INSTANCE: Final = "engine/core/instance.py"

MUTATIONS: Final = (
    Mutation(
        "what was done is done again by a retry",
        DECIDED,
        "        kept=[_kept(activity) for activity in beginning.kept],\n",
        "        kept=[],\n",
        "A stage whose second half failed takes the money out of its source once more.",
    ),
    Mutation(
        "a new key after an abort",
        DECIDED,
        "    return Beginning(ended[:-1], last.key_number, key_used=True)\n",
        "    return Beginning(ended[:-1], last.key_number + 1)\n",
        "A payment that went through while its instance was aborted is paid once more by the retry.",
    ),
    Mutation(
        "two retries of one end",
        SHARD,
        "        if last is not None and last.retries != command.retries:\n",
        "        if False:\n",
        "A retry that was built on an older end does again what the one before it has done.",
    ),
    Mutation(
        "a retry while it runs",
        SHARD,
        '            raise Rejected(rejections.NOT_RETRYABLE, "the instance is running")\n',
        "            return Decision(0, ())\n",
        "Somebody is told that a running instance was retried.",
    ),
    Mutation(
        "the same retry taken for another one",
        API,
        "        if not (await look_for(services, row.id, keyed)).sent:\n            raise\n",
        "        raise\n",
        "A client that repeats its retry is told that it was refused, though it was carried out.",
    ),
    Mutation(
        "a retry that comes again on the next end",
        SHARD,
        "        if came_before(command, command):\n",
        "        if False:\n",
        "A client that sends its retry twice at once has it carried out twice, if the first pass fails at once.",
    ),
    Mutation(
        "retries not counted in tokens",
        EFFECTS,
        "activity.attempt, activity.resumes, state.retries)",
        "activity.attempt, activity.resumes)",
        "The late result of a call from before the abort is taken for that of the new pass.",
    ),
    Mutation(
        "early events lost by a retry",
        STAGES,
        "    return replace(ended, arrived=[arrived for arrived in state.arrived if arrived >= number])\n",
        "    return ended\n",
        "An approval that came before the failure has to be given again.",
    ),
    Mutation(
        "the pass before is overwritten",
        FOLD,
        "        self.retries[id] = Retry(id, event.retries - 1, event.stage, len(event.kept))\n",
        "        self.retries[id] = Retry(id, event.retries - 1, event.stage, 99)\n",
        "The history does not show any more how the pass before has failed.",
    ),
    Mutation(
        "what a retry has brought along is forgotten one by one",
        INSTANCE,
        "    if forgotten and state.retries:\n",
        "    if False:\n",
        "A request that comes again after a retry and a hundred others has its effect again.",
    ),
    Mutation(
        "a late result that does not fit ends the next pass",
        SHARD,
        "            case ActivityDone() if state is None or not decisions.waits_for(state, given):\n",
        "            case ActivityDone() if state is None:\n",
        "The large answer of a call that was aborted ends the instance that was retried since.",
    ),
    Mutation(
        "an abort of what has failed is answered from the read model",
        ABORTS,
        "    if row.terminated_at is not None and row.error is None:\n",
        "    if row.terminated_at is not None:\n",
        "An instance goes on to pay, although its abort right after a retry was answered.",
    ),
    Mutation(
        "an abort that came after the end is forgotten",
        STATE,
        "            elif (request := late_abort(key, event)) is not None:\n",
        "            elif (request := None) is not None:\n",
        "An abort that was answered comes again, and ends the pass that a retry has begun since.",
    ),
    Mutation(
        "a retry leaves out which aborts came after the end",
        SHARD,
        "        command = self._with_late_aborts(key, command)\n",
        "",
        "An abort that was answered comes again, and ends the pass that a retry has begun since.",
    ),
    Mutation(
        "aborts that came after the end are forgotten in silence",
        SHARD,
        "        if not self.duplicates.knows_late_aborts_since(command.seen_offset):\n",
        "        if False:\n",
        "After many others, an abort that was answered comes again, and ends the pass that a retry has begun since.",
    ),
)
