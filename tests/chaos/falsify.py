"""Falsified findings: for each check, evidence of something that must never be. A check that does not notice is broken.

`python -m tests.chaos` does this with what it has found at its end, and a unit test with a small history.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from tests.chaos.answers import Answers, Plan, Request, Run
from tests.chaos.checks import (
    MAX_HANG_SECONDS,
    Check,
    answers_are_right,
    commands_have_outcomes,
    everything_settles,
    findings,
    log_is_sound,
    logs_are_clean,
    messages_fire,
    money_moves_once,
    nothing_hangs,
    old_instances_go,
    processes_stay,
    public_events_are_right,
    readers_agree,
    runs_end,
    runs_exist,
    verify_is_clean,
)
from tests.chaos.evidence import Evidence, Line, Old, View
from tests.chaos.fold import Fold, Instance, LogRecord


class Falsification(NamedTuple):
    """Evidence that is made wrong, and who must notice."""

    what: str
    notices: Check
    apply: Callable[[Evidence], Evidence]


def unnoticed(evidence: Evidence) -> Iterator[str]:
    """The falsifications that no finding betrays.

    A check that has found something in the evidence as it is sees, and may see nothing else behind that.
    """
    seeing = {text.partition(": ")[0] for text in findings(evidence)}
    for falsification in FALSIFICATIONS:
        name = falsification.notices.__name__
        if name not in seeing and not any(
            text.startswith(f"{name}: ") for text in findings(falsification.apply(evidence))
        ):
            yield f"{name} does not notice: {falsification.what}"


def _run(evidence: Evidence, *plans: Plan) -> Run:
    """An acknowledged run of one of these plans, which has ended."""
    instances = evidence.fold.instances
    return next(
        run
        for run in evidence.answers.runs
        if run.acknowledged
        and (not plans or run.plan in plans)
        and run.id in instances
        and instances[run.id].ended
        and run.retry_acknowledged == ("retry" in plans)
    )


def _fold(evidence: Evidence) -> Fold:
    """A copy that can be spoilt: what is in it must be replaced, not changed."""
    fold = copy.copy(evidence.fold)
    logs = ("commands_end", "events_end", "expected", "public", "broken")
    for name in ("instances", "by_mark", "received", "reached", *logs):
        setattr(fold, name, copy.copy(getattr(fold, name)))
    return fold


def _without_instance(evidence: Evidence) -> Evidence:
    run, fold = _run(evidence), _fold(evidence)
    assert run.id is not None
    fold.by_mark[run.mark] = []
    del fold.instances[run.id]
    return replace(evidence, fold=fold)


def _started_twice(evidence: Evidence) -> Evidence:
    run, fold = _run(evidence), _fold(evidence)
    assert run.id is not None
    fold.by_mark[run.mark] = [run.id, "again"]
    fold.instances["again"] = replace(fold.instances[run.id], id="again")
    return replace(evidence, fold=fold)


def _with_instance(evidence: Evidence, run: Run, spoil: Callable[[Instance], Instance]) -> Evidence:
    fold = _fold(evidence)
    assert run.id is not None
    fold.instances[run.id] = spoil(fold.instances[run.id])
    return replace(evidence, fold=fold)


def _never_ended(evidence: Evidence) -> Evidence:
    return _with_instance(evidence, _run(evidence, "noop"), lambda i: replace(i, ended=False))


def _failed(evidence: Evidence) -> Evidence:
    return _with_instance(evidence, _run(evidence, "noop"), lambda i: replace(i, error="it broke"))


def _abort_without_effect(evidence: Evidence) -> Evidence:
    return _with_instance(evidence, _run(evidence, "abort"), lambda i: replace(i, ended=False))


def _retry_without_effect(evidence: Evidence) -> Evidence:
    return _with_instance(evidence, _run(evidence, "retry"), lambda i: replace(i, error="canceled"))


def _aborted_by_nobody(evidence: Evidence) -> Evidence:
    return _with_instance(evidence, _run(evidence, "money"), lambda i: replace(i, error="canceled"))


def _event_twice(evidence: Evidence) -> Evidence:
    run, fold = _run(evidence, "event"), _fold(evidence)
    fold.received[f"{run.mark}/1"] += 1
    return replace(evidence, fold=fold)


def _event_lost(evidence: Evidence) -> Evidence:
    run, fold = _run(evidence, "event"), _fold(evidence)
    fold.received[f"{run.mark}/1"] = 0
    return replace(evidence, fold=fold)


def _undecided(evidence: Evidence) -> Evidence:
    fold = _fold(evidence)
    fold.commands_end[0] += 1
    return replace(evidence, fold=fold)


def _message_lost(evidence: Evidence) -> Evidence:
    messages = {**evidence.answers.messages, "a message that fired nothing": True}
    return replace(evidence, answers=replace(evidence.answers, messages=messages))


def _message_twice(evidence: Evidence) -> Evidence:
    fold = _fold(evidence)
    mark, ids = next((m, fold.by_mark[m]) for m in evidence.answers.messages if fold.by_mark.get(m))
    fold.by_mark[mark] = [*ids, *ids]
    return replace(evidence, fold=fold)


def _version_missing(evidence: Evidence) -> Evidence:
    """The fold meets an event of an instance whose version is two above the last."""
    fold = copy.deepcopy(evidence.fold)
    run = _run(evidence)
    partition = fold.instances[run.id or ""].partition
    headers = {"type": "LateResultRecorded", "version": "999", "epoch": str(fold._epoch[partition])}
    fold.event(partition, LogRecord(fold.events_end[partition], run.id or "", {}, headers))
    fold.events_end[partition] -= 1
    return replace(evidence, fold=fold)


def _reached_twice(evidence: Evidence) -> Evidence:
    """The fold meets another command of an operation for an instance that had one."""
    fold = _fold(evidence)
    for _ in range(2):
        fold._reached("an operation", "an instance", "here")
    return replace(evidence, fold=fold)


def _rule_broken(evidence: Evidence) -> Evidence:
    return replace(evidence, contract="an attempt came early")


def _money_twice(evidence: Evidence) -> Evidence:
    books = copy.copy(evidence.books)
    books.entries = [*books.entries, books.entries[-1]]
    return replace(evidence, books=books)


def _money_lost(evidence: Evidence) -> Evidence:
    books = copy.copy(evidence.books)
    books.entries = books.entries[:-1]
    return replace(evidence, books=books)


def _balance_wrong(evidence: Evidence) -> Evidence:
    books = copy.copy(evidence.books)
    account, amount = next(iter(books.balances.items()))
    books.balances = {**books.balances, account: amount + 1}
    return replace(evidence, books=books)


def _public(evidence: Evidence, spoil: Callable[[list[object]], list[object]]) -> Evidence:
    fold = _fold(evidence)
    partition = max(range(fold.partitions), key=lambda number: len(fold.public[number]))
    fold.public[partition] = spoil(list(fold.public[partition]))  # type: ignore[assignment]
    return replace(evidence, fold=fold)


def _public_twice(evidence: Evidence) -> Evidence:
    return _public(evidence, lambda public: [*public, public[-1]])


def _public_missing(evidence: Evidence) -> Evidence:
    return _public(evidence, lambda public: public[:-1])


def _public_out_of_order(evidence: Evidence) -> Evidence:
    return _public(evidence, lambda public: [public[1], public[0], *public[2:]])


def _view(evidence: Evidence, reader: str, spoil: Callable[[dict[str, View]], None]) -> Evidence:
    view = dict(evidence.views[reader])
    spoil(view)
    return replace(evidence, views={**evidence.views, reader: view})


def _row_missing(evidence: Evidence) -> Evidence:
    return _view(evidence, "postgres", lambda view: view.__delitem__(next(iter(view))))


def _replica_differs(evidence: Evidence) -> Evidence:
    reader = next(name for name in evidence.views if name.startswith("api-2"))
    return _view(evidence, reader, lambda view: view.update({next(iter(view)): View(True, "it broke")}))


def _shown_wrongly(evidence: Evidence) -> Evidence:
    return replace(evidence, shown=["an activity is shown with another input"])


def _old(evidence: Evidence, waiting: int, ended: int) -> Evidence:
    right = Old(evidence.old_instances, 0)
    wrong = Old(right.waiting + waiting, right.ended + ended)
    return replace(evidence, old={"postgres": right, **evidence.old, "api-2": wrong})


def _postgres_behind(evidence: Evidence) -> Evidence:
    return replace(evidence, positions={0: evidence.fold.events_end[0] - 1})


def _with_request(evidence: Evidence, request: Request) -> Evidence:
    answers: Answers = replace(evidence.answers, requests=[*evidence.answers.requests, request])
    return replace(evidence, answers=answers)


def _hang(evidence: Evidence) -> Evidence:
    return _with_request(evidence, Request(0.0, MAX_HANG_SECONDS + 1.0, "run", "v1", 0, 503))


def _internal_error(evidence: Evidence) -> Evidence:
    return _with_request(evidence, Request(0.0, 1.0, "run", "v1", 0, 500, "INTERNAL"))


def _contradiction(evidence: Evidence) -> Evidence:
    return replace(evidence, answers=replace(evidence.answers, wrong=[*evidence.answers.wrong, "not found"]))


FALSIFICATIONS: Final = (
    Falsification("an acknowledged run is not in the log", runs_exist, _without_instance),
    Falsification("a run was started twice", runs_exist, _started_twice),
    Falsification("a run has not ended", runs_end, _never_ended),
    Falsification("a run has failed", runs_end, _failed),
    Falsification("money was aborted by nobody", runs_end, _aborted_by_nobody),
    Falsification("an abort had no effect", commands_have_outcomes, _abort_without_effect),
    Falsification("a retry had no effect", runs_end, _retry_without_effect),
    Falsification("an event was taken in twice", commands_have_outcomes, _event_twice),
    Falsification("an event was lost", commands_have_outcomes, _event_lost),
    Falsification("a command has no outcome", commands_have_outcomes, _undecided),
    Falsification("a message fired nothing", messages_fire, _message_lost),
    Falsification("a message fired twice", messages_fire, _message_twice),
    Falsification("an event of an instance is missing", log_is_sound, _version_missing),
    Falsification("an operation has acted on an instance twice", log_is_sound, _reached_twice),
    Falsification("a rule of the contract is broken", log_is_sound, _rule_broken),
    Falsification("a transaction was made twice", money_moves_once, _money_twice),
    Falsification("a transaction is missing", money_moves_once, _money_lost),
    Falsification("a balance is wrong", money_moves_once, _balance_wrong),
    Falsification("a public event comes twice", public_events_are_right, _public_twice),
    Falsification("a public event is missing", public_events_are_right, _public_missing),
    Falsification("public events are out of order", public_events_are_right, _public_out_of_order),
    Falsification("Postgres misses an instance", readers_agree, _row_missing),
    Falsification("an API shows another end", readers_agree, _replica_differs),
    Falsification("an activity is shown wrongly", readers_agree, _shown_wrongly),
    Falsification("an old instance is not deleted", old_instances_go, lambda e: _old(e, 0, 1)),
    Falsification("an instance that waits is deleted", old_instances_go, lambda e: _old(e, -1, 0)),
    Falsification("Postgres is behind", readers_agree, _postgres_behind),
    Falsification("the read model differs", verify_is_clean, lambda e: replace(e, verify=(1, "one row differs"))),
    Falsification("an engine has ended", processes_stay, lambda e: replace(e, exits=["engine-1 ended"])),
    Falsification("a traceback", logs_are_clean, lambda e: replace(e, lines=[Line("engine-1", "Traceback")])),
    Falsification("a request hung", nothing_hangs, _hang),
    Falsification("an internal error", answers_are_right, _internal_error),
    Falsification("an answer contradicts another", answers_are_right, _contradiction),
    Falsification("no rest", everything_settles, lambda e: replace(e, unsettled="2 commands")),
    Falsification("no recovery", everything_settles, lambda e: replace(e, recovered={"a fault": {0: None}})),
)
