"""What happens outside: calls of the stack, delays, retries. Never twice, never too early, never for nothing."""

from typing import Final

from tests.mutations.mutation import Mutation

DECISIONS: Final = "engine/core/decisions.py"
DUPLICATES: Final = "engine/core/duplicates.py"
EFFECTS: Final = "engine/core/effects.py"
INSTANCE: Final = "engine/core/instance.py"
INSTANCES: Final = "engine/core/instances.py"
PARTITION: Final = "engine/partition.py"
RETRIES: Final = "engine/core/retries.py"
RUNNER: Final = "engine/runner.py"

MUTATIONS: Final = (
    Mutation(
        "GoOn never happens",
        RUNNER,
        "            case GoOn() | Wake():\n",
        "            case Wake():\n",
        "A workflow of many stages stops in the middle.",
    ),
    Mutation(
        "token check off",
        DECISIONS,
        "    if not waits_for(state, given):\n",
        "    if effect(state) is None:\n",
        "The answer of an older attempt counts for a newer one.",
        without_effect="An instance has one call at a time, whose result is handed back once. So a result that it does "
        "not wait for is that of a call which an abort has caught in the pass before. That has the same key as the one "
        "of this pass, and what it says of the payment holds for both.",
    ),
    Mutation(
        "token of what is due not checked",
        DECISIONS,
        "    if pending is None or pending.token != given.token:\n",
        "    if pending is None:\n",
        "The timer of an earlier delay ends a later one.",
        without_effect="`Timers` hands out what is current, and a turn follows before it is asked again. Nothing "
        "but its own `Due` or the end of the instance ends a delay. The check guards against a broken runner.",
    ),
    Mutation(
        "age check off",
        PARTITION,
        "        while self._clock.monotonic() - self._held_at > MAX_UNPROVEN_SECONDS:\n",
        "        while False:\n",
        "An engine that slept through a takeover still pays.",
    ),
    Mutation(
        "a proof counts from its answer",
        PARTITION,
        "        self._held_at, self._proof_wanted = begin, False\n",
        "        self._held_at, self._proof_wanted = self._clock.monotonic(), False\n",
        "An engine whose append took long still pays after a takeover.",
    ),
    Mutation(
        "effect twice",
        RUNNER,
        "            if effect is not None and wanted.token == effect.token:\n                return\n",
        "",
        "Every event of an instance calls the stack again.",
    ),
    Mutation(
        "effects before the append",
        PARTITION,
        "            self._runner.retract(turn.changed)\n",
        "            self._runner.start(turn.changed)\n",
        "Money moves for a decision that is not in the log.",
    ),
    Mutation(
        "nothing retracted",
        PARTITION,
        "            self._runner.retract(turn.changed)\n",
        "",
        "Money moves after an abort that was answered.",
    ),
    Mutation(
        "effects not started after a restore",
        PARTITION,
        "        await self._runner.start_all()\n",
        "",
        "Nothing goes on after a takeover: delays, retries, run commands.",
    ),
    Mutation(
        "effects not found after a snapshot",
        INSTANCES,
        "            values[id] = _marked(state, instance)\n",
        "",
        "Nothing goes on after a restart, once a snapshot is written.",
    ),
    Mutation(
        "effects not found after a replay",
        INSTANCES,
        "            cold[id] = _marked(self._encoder.encode(instance), instance)\n",
        "            cold[id] = self._encoder.encode(instance)\n",
        "What has changed since the last snapshot does not go on after a restart.",
    ),
    Mutation(
        "calls not cancelled",
        RUNNER,
        "            task.cancel()\n",
        "            pass\n",
        "An engine that has lost a partition goes on with its calls.",
    ),
    Mutation(
        "a call that nobody wants",
        RUNNER,
        "        return self._wanted.get(wanted.subject) is wanted\n",
        "        return True\n",
        "Money moves after an abort that was answered.",
    ),
    Mutation(
        "a delay ends at once",
        RUNNER,
        "            self._timers.set(wanted, at)\n\n    def _want(",
        "            self._timers.set(wanted, self._clock.now())\n\n    def _want(",
        "A payout that was to wait for a day goes out today.",
    ),
    Mutation(
        "a retry at once",
        DECISIONS,
        "retry_at=clock + backoff(token.attempt)",
        "retry_at=clock",
        "A stack that is in trouble is flooded with retries.",
    ),
    Mutation(
        "a key for each attempt",
        EFFECTS,
        '    key = f"{state.id}:{state.stage}:{index}"\n',
        '    key = f"{state.id}:{state.stage}:{index}:{activity.attempt}"\n',
        "A call whose answer was lost is paid again by the next attempt.",
    ),
    Mutation(
        "what failed for good is tried again",
        RETRIES,
        "    return failure.code in FINAL_CODES or",
        "    return",
        "An instance whose payment is refused never ends.",
    ),
    Mutation(
        "late results not recorded",
        DUPLICATES,
        "            self._late.append("
        "instance.id, Late(instance.version, instance.canceled, offset, earlier), MAX_LATE)\n",
        "            pass\n",
        "The history of a canceled instance does not tell that its payment went through.",
    ),
    Mutation(
        "timers kept when the clock is set back",
        RUNNER,
        "            self._to_set_again = deque(self._timers.entries)\n",
        "            pass\n",
        "An instance waits for as long as a clock was wrong.",
    ),
    Mutation(
        "waits not bounded",
        EFFECTS,
        "            return pending if duration is None else replace(pending, at=min(pending.at, clock + duration))\n",
        "            return pending\n",
        "An instance waits for as long as a clock was wrong.",
    ),
    Mutation(
        "limit one too far",
        DECISIONS,
        "    if limit is None or token.attempt < limit:\n",
        "    if limit is None or token.attempt <= limit:\n",
        "An activity is tried once more than its workflow allows.",
    ),
    Mutation(
        "a paused activity is retried",
        EFFECTS,
        "    if state.activities and not (state.activities[-1].ended or state.activities[-1].paused):\n",
        "    if state.activities and not state.activities[-1].ended:\n",
        "What waits for a person is called again.",
    ),
    Mutation(
        "a resume counts twice",
        DECISIONS,
        "    if not activity.paused:\n        return ()\n",
        "",
        "A client that repeats its resume is told that something went wrong, or gives the next pause away.",
    ),
    Mutation(
        "any pause is resumed",
        DECISIONS,
        "    if activity.paused_at != command.paused_at:\n",
        "    if activity.paused_at is None:\n",
        "The repetition of a resume ends the next pause, which nobody has looked at.",
    ),
    Mutation(
        "a keyed resume not known again",
        INSTANCE,
        "    return _with_request(_with_activity(state, changed), event)\n",
        "    return _with_activity(state, changed)\n",
        "A resume that comes again after its stage has ended is refused.",
    ),
    Mutation(
        "the budget is not renewed",
        INSTANCE,
        "    changed = replace(activity, paused=False, resumes=activity.resumes + 1, attempt=1)\n",
        "    changed = replace(activity, paused=False, resumes=activity.resumes + 1)\n",
        "After a resume the first failure pauses the activity again.",
    ),
    Mutation(
        "resumes not counted in tokens",
        EFFECTS,
        "activity.attempt, activity.resumes, state.retries)",
        "activity.attempt, 0, state.retries)",
        "The late result of an attempt before a resume ends the attempt of the same number behind it.",
    ),
)
