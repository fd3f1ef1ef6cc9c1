"""A failed or aborted instance runs once more, from the stage that did not succeed: what is kept, what is done again.

Money must not move twice. Of the stage's activities only the last can have failed; all before it are kept. So what
matters is the last one:

| how it ended | in the next pass |
|---|---|
| done, and the stage can go on with what it answered | kept |
| done, it only reads, and its answer can't be used (a wallet of another name, say) | done again |
| refused for good, at the first attempt with its key | done again, with a new key: nothing has come of the old one |
| refused for good, after another attempt with its key | done again, with the same key |
| refused with CONFLICT | likewise: the call that it conflicts with may be one of its own |
| refused since its key was used with another body | likewise: so a call with this key was carried out |
| canceled by an abort, given up by the engine | likewise: the call may have been carried out |

With the same key, the stack gives the answer of the first call that it has carried out. What it refused leaves no key
behind (contract: `stack-api`), so the same key does not hinder it; a new one is taken where it can do no harm.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from engine.core import stages
from engine.core.decisions import TICK
from engine.core.definition import Definition
from engine.core.errors import Rejected, StageFailed
from engine.core.instance import evolve
from engine.core.retries import FINAL_CODES
from engine.core.send import next_activity
from schemas import events as ev
from schemas import rejections
from schemas.activities import GET_ACCOUNT, GET_PAYMENT, GET_WALLET, LIST_WALLETS
from schemas.commands import RetryInstance
from schemas.definition import Send, StageUnresolvable, Update, resolve_stage
from schemas.ended_activities import EndedActivity, KeptActivity

READING: Final = frozenset({GET_ACCOUNT, GET_PAYMENT, GET_WALLET, LIST_WALLETS})
"""Activities that change nothing, so they may be done again."""

CERTAIN_CODES: Final = FINAL_CODES - {"CONFLICT"}
"""errorCodes after which it is certain that the call was not carried out, and is not under way either."""

KEY_USED: Final = "idempotency"
"""What the stack says in a `VALIDATION` that is about the key (contract: `stack-api`, `invalid idempotency hash …`). It
has carried out a call with this key: one of an engine that was replaced before the answer came, or of a log that has
lost it since. The body may differ by what the stack makes of it, as wallets do of balances that expire."""


class Beginning(NamedTuple):
    """How the next pass begins in its first stage; see `engine.core.instance.Again`."""

    kept: Sequence[EndedActivity]
    key_number: int = 0
    key_used: bool = False


def retry(
    command: RetryInstance, version: int, now: datetime, clock: datetime, instance_id: str
) -> Sequence[ev.InstanceEvent]:
    """The events that follow from a retry: the next pass, up to where the instance has to wait.

    Args:
        command: what is known of the instance, which has ended.
        version: that of its last event.
        now: the time of the turn, UTC.
        clock: what the clock says, which delays follow.
        instance_id: whose retry it is.

    Raises:
        Rejected: the activities are not those that its stage has.
        IllegalTransition: there is no such stage.
        UndecodableRecord: the stages are not a list of objects.
    """
    if command.ended_at >= now:
        # Else a pause of both passes could have one time, and whoever resumes the first would end the second.
        now += TICK
    beginning = _beginning(command)
    retried = ev.InstanceRetried(
        at=now,
        workflow_id=command.workflow_id,
        stages=command.stages,
        variables=command.variables,
        run_digest=command.run_digest,
        max_attempts=command.max_attempts,
        version=version + 1,
        retries=command.retries + 1,
        stage=command.stage,
        kept=[_kept(activity) for activity in beginning.kept],
        key_number=beginning.key_number,
        key_used=beginning.key_used,
        arrived=command.arrived,
        requests=command.requests,
        earlier_requests=command.earlier_requests,
        request_key=command.request_key,
        request_digest=command.request_digest,
        by=command.by,
        reason=command.reason,
        bulk_id=command.bulk_id,
        bulk_page=command.bulk_page,
    )
    return (retried, *stages.advance(evolve(None, retried, instance_id), now, clock))


def _beginning(command: RetryInstance) -> Beginning:
    """How the next pass begins.

    Raises:
        Rejected: the activities are not those of the stage. Then what was done can't be told from what is to be done.
    """
    ended = command.activities
    if not ended:
        return Beginning(())
    last, stage = ended[-1], _resolved(command)
    if stage is None or _goes_on(stage, command) or (last.error is None and last.name not in READING):
        return Beginning(ended)
    if last.name in READING:
        return Beginning(ended[:-1])
    if last.code in CERTAIN_CODES and not last.key_used and not _tells_key_used(last):
        return Beginning(ended[:-1], last.key_number + 1)
    return Beginning(ended[:-1], last.key_number, key_used=True)


def _tells_key_used(refused: EndedActivity) -> bool:
    return refused.error is not None and KEY_USED in refused.error.casefold()


def _resolved(command: RetryInstance) -> Send | Update | None:
    """The stage; None if it can't be resolved. Then it ends at once, as it may have done before."""
    definition = Definition.of(command.stages)
    if command.stage >= len(definition.stages):
        raise _not_those_of(command)
    try:
        stage = resolve_stage(definition.stages[command.stage], command.variables)
    except StageUnresolvable:
        return None
    if not isinstance(stage, Send | Update):
        raise _not_those_of(command)
    return stage


def _goes_on(stage: Send | Update, command: RetryInstance) -> bool:
    """Whether the stage can go on with all of its activities as they ended."""
    outcomes = command.activities
    try:
        planned = [next_activity(stage, outcomes[:number]) for number in range(len(outcomes))]
    except StageFailed:
        raise _not_those_of(command) from None
    if any(plan is None or plan.name != outcome.name for plan, outcome in zip(planned, outcomes, strict=True)):
        raise _not_those_of(command)
    try:
        next_activity(stage, outcomes)
    except StageFailed:
        return False
    return True


def _not_those_of(command: RetryInstance) -> Rejected:
    names = ", ".join(activity.name for activity in command.activities)
    return Rejected(
        rejections.NOT_RETRYABLE,
        f"stage {command.stage} does not have the activities {names}, so nobody can tell what of it was done",
    )


def _kept(activity: EndedActivity) -> KeptActivity:
    return KeptActivity(
        name=activity.name,
        input=activity.input,
        output=activity.output,
        error=activity.error,
        code=activity.code,
        key_number=activity.key_number,
    )
