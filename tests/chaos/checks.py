"""What must hold when everything is at rest. Each check says in words what does not, all of it."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from schemas.events import CANCELED
from tests.chaos.answers import Run
from tests.chaos.evidence import Evidence, View
from tests.chaos.fold import Instance
from tests.simulation.money import check_money

Check = Callable[[Evidence], Iterator[str]]

MAX_HANG_SECONDS: Final = 45.0
"""Longest answer that is allowed: `wait=true` waits 30 s, and a busy machine takes its time. An API that stands still
has so much more."""
REFUSALS: Final = (503,)
"""Statuses by which clients may be told to come again."""
TOO_MANY: Final = ("bulk", 409)
"""Likewise, while a partition has as many bulk operations as it may have."""
MONEY_PLANS: Final = ("money", "abort money", "retry money")
ABORTED_PLANS: Final = ("abort", "abort money", "never", "twice", "retry")


def runs_exist(evidence: Evidence) -> Iterator[str]:
    """Every acknowledged run is in the log, once, under the id that its client knows."""
    for run in evidence.answers.runs:
        ids = evidence.fold.by_mark.get(run.mark, [])
        if len(ids) > 1:
            yield f"{run.mark} was started {len(ids)} times: {ids}"
        if run.acknowledged and run.id not in evidence.fold.instances:
            yield f"{run.mark} {run.id} was acknowledged and is not in the log"
        if ids and run.id is not None and run.id not in ids:
            yield f"{run.mark} was started as {ids}, and its client knows it as {run.id}"


def runs_end(evidence: Evidence) -> Iterator[str]:
    """Every run that is in the log has ended as it had to."""
    for run in evidence.answers.runs:
        for id in evidence.fold.by_mark.get(run.mark, []):
            instance = evidence.fold.instances[id]
            yield from _ended(run, instance, evidence.is_final)


def _ended(run: Run, instance: Instance, is_final: bool) -> Iterator[str]:
    name = f"{run.mark} ({run.plan}) {instance.id}"
    # Calls of the stack that fail are repeated after up to 100 s, so their time comes at the end of all rounds.
    may_last = run.plan in MONEY_PLANS and not run.is_aborted and not is_final
    if run.must_end and not instance.ended and not may_last:
        yield f"{name} has not ended; its last event is {instance.last}, its stage {instance.stage}"
    if run.must_end is False and instance.ended:
        yield f"{name} has ended though nothing ended it: {instance.error}"
    if run.shown_as_ended and not instance.ended:
        yield f"{name} was shown as ended, and runs"
    if not instance.ended or run.plan in MONEY_PLANS:
        if instance.error == CANCELED and (run.retry_acknowledged or not run.abort_sent):
            yield f"{name} was aborted by nobody"
        return
    allowed: set[str | None] = {None}
    if run.abort_sent and run.plan in ABORTED_PLANS:
        allowed = {CANCELED} if run.is_aborted and not run.events_sent else {CANCELED, None}
    if run.retry_acknowledged:
        allowed = {None}
    if instance.error not in allowed:
        yield f"{name} has ended with {instance.error!r}"


def commands_have_outcomes(evidence: Evidence) -> Iterator[str]:
    """Every command is decided, and every event that was acknowledged was taken in once."""
    if evidence.fold.undecided:
        yield f"{evidence.fold.undecided} commands have no outcome"
    for run in evidence.answers.runs:
        for number in range(1, run.events_sent + 1):
            marker = f"{run.mark}/{number}"
            count = evidence.fold.received[marker]
            if count > 1 or (count == 0 and number <= run.events_acknowledged):
                yield f"event {marker} was taken in {count} times"
        if run.is_aborted:
            instance = evidence.fold.instances.get(run.id or "")
            if instance is not None and not instance.ended:
                yield f"{run.mark} {run.id}: its abort was acknowledged, and it runs"


def messages_fire(evidence: Evidence) -> Iterator[str]:
    """A message fires once; one that Kafka did not acknowledge, at most once."""
    for mark, acknowledged in evidence.answers.messages.items():
        ids = evidence.fold.by_mark.get(mark, [])
        if len(ids) > 1 or (acknowledged and not ids):
            yield f"message {mark}, {'acknowledged' if acknowledged else 'of unknown fate'}, has started {ids}"
        for id in ids:
            if not evidence.fold.instances[id].ended:
                yield f"message {mark}: its instance {id} has not ended"


def log_is_sound(evidence: Evidence) -> Iterator[str]:
    """The log follows its own rules, and those of the contract about attempts, retries and aborts."""
    yield from evidence.fold.broken
    if evidence.contract is not None:
        yield evidence.contract


def money_moves_once(evidence: Evidence) -> Iterator[str]:
    """The books hold every transaction that the log tells of, once, and no other."""
    if evidence.contract is not None:
        return  # the histories end where the contract was broken
    try:
        check_money(evidence.histories, evidence.books)
    except AssertionError as error:
        yield f"the books are not what the log says: {error}"


def public_events_are_right(evidence: Evidence) -> Iterator[str]:
    """The public topic has every event that is published, once and in order, and nothing else."""
    for partition in range(evidence.fold.partitions):
        expected, public = evidence.fold.expected[partition], evidence.fold.public[partition]
        wrong = next((n for n, (a, b) in enumerate(zip(expected, public, strict=False)) if a != b), None)
        if wrong is not None:
            yield f"public/{partition}: record {wrong} is {public[wrong]}, not {expected[wrong]}"
        elif len(expected) != len(public):
            yield f"public/{partition} has {len(public)} records, not {len(expected)}"


def readers_agree(evidence: Evidence) -> Iterator[str]:
    """Postgres and every API, on each surface, show what the log says."""
    expected = {
        id: View(instance.ended, instance.error)
        for id, instance in evidence.fold.instances.items()
        if instance.workflow in evidence.viewed
    }
    for reader, view in evidence.views.items():
        missing, extra = expected.keys() - view.keys(), view.keys() - expected.keys()
        other = {id for id in expected.keys() & view.keys() if expected[id] != view[id]}
        if missing or extra or other:
            some = [(id, expected.get(id), view.get(id)) for id in [*missing, *extra, *other][:3]]
            yield f"{reader}: {len(missing)} missing, {len(extra)} too many, {len(other)} different, such as {some}"
    yield from evidence.shown
    if evidence.positions:
        for partition, end in enumerate(evidence.fold.events_end):
            if (position := evidence.positions.get(partition, 0)) != end:
                yield f"Postgres is at {position} of events/{partition}, which ends at {end}"


def old_instances_go(evidence: Evidence) -> Iterator[str]:
    """What had succeeded long ago is deleted in the end, and what waits as long stays."""
    for reader, old in evidence.old.items():
        if old.ended:
            yield f"{reader} shows {old.ended} instances that had to be deleted"
        if old.waiting != evidence.old_instances:
            yield f"{reader} shows {old.waiting} instances that wait since long ago, not {evidence.old_instances}"


def verify_is_clean(evidence: Evidence) -> Iterator[str]:
    """`orchestration verify` finds nothing."""
    status, text = evidence.verify
    if status != 0:
        yield f"`orchestration verify` ends with {status}: {text[-1500:]}"


def processes_stay(evidence: Evidence) -> Iterator[str]:
    """Nothing ends by itself, and an orderly stop is one."""
    yield from evidence.exits


def logs_are_clean(evidence: Evidence) -> Iterator[str]:
    """No process writes what no fault explains."""
    counted = Counter(evidence.lines)
    for line, count in counted.items():
        yield f"{line.process} wrote{f' {count} times' if count > 1 else ''}: {line.text}"


def answers_are_right(evidence: Evidence) -> Iterator[str]:
    """No answer contradicts an earlier one, and refusals are those that tell a client to come again."""
    yield from evidence.answers.wrong
    odd = Counter[str]()
    for request in evidence.answers.requests:
        if (request.operation, request.outcome) == TOO_MANY:
            continue
        if isinstance(request.outcome, int) and request.outcome >= 400 and request.outcome not in REFUSALS:
            odd[f"{request.operation} was answered {request.outcome} {request.code}: {request.text}"] += 1
    for text, count in odd.items():
        yield f"{text} ({count} times)"


def nothing_hangs(evidence: Evidence) -> Iterator[str]:
    """Every request is answered in time, save by an API that stands still."""
    for request in evidence.answers.requests:
        stopped = sum(
            max(0.0, min(request.ended, end) - max(request.began, begin))
            for begin, end in evidence.stops.get(request.api, [])
        )
        if request.seconds - stopped > MAX_HANG_SECONDS:
            yield f"{request.operation} on api-{request.api + 1} took {request.seconds:.0f} s: {request.outcome}"


def everything_settles(evidence: Evidence) -> Iterator[str]:
    """After a fault every partition works again, and what was begun comes to its end."""
    if evidence.unsettled is not None:
        yield f"it does not come to rest: {evidence.unsettled}"
    for fault, seconds in evidence.recovered.items():
        for partition, after in seconds.items():
            if after is None:
                yield f"partition {partition} did not work again after: {fault}"


CHECKS: Final[tuple[Check, ...]] = (
    runs_exist,
    runs_end,
    commands_have_outcomes,
    messages_fire,
    log_is_sound,
    money_moves_once,
    public_events_are_right,
    readers_agree,
    old_instances_go,
    verify_is_clean,
    processes_stay,
    logs_are_clean,
    answers_are_right,
    nothing_hangs,
    everything_settles,
)


def findings(evidence: Evidence) -> list[str]:
    """All that does not hold, each with the name of its check."""
    return [f"{check.__name__}: {text}" for check in CHECKS for text in check(evidence)]
