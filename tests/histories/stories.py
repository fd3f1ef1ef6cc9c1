"""What happens in the histories: something of everything that a log can hold."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from engine.core.decisions import ActivityDone
from engine.core.effects import CallActivity
from engine.core.retries import Failure
from schemas import events as ev
from schemas.commands import (
    AbortInstance,
    AdvanceBulk,
    CreateTrigger,
    CreateWorkflow,
    DeleteTrigger,
    DeleteWorkflow,
    EndBulk,
    EvaluateTrigger,
    FireTrigger,
    PassOverInstance,
    ResumeActivity,
    RunWorkflow,
    SendEvent,
    StartBulk,
    StopBulk,
    SubmitAbort,
    SubmitEvent,
    SubmitRun,
)
from schemas.current import CurrentWorkflow
from schemas.fillers import filler, notice
from schemas.records import NewRecord, RecordCodec
from tests.definitions import definition
from tests.histories.recorder import START, Recorder, called

Json = dict[str, Any]

CODEC: Final = RecordCodec()
WAIT: Final[Json] = {"wait_event": {"event": "approved"}}
DELAY: Final[Json] = {"delay": {"duration": "90s"}}
UPDATE: Final[Json] = {"update": {"account": {"id": "users:7", "metadata": {"order": "${order}"}}}}
NOOP: Final[Json] = {"noop": {}}
UNAVAILABLE: Final = Failure("the ledger answered HTTP 503", 503)
REFUSED: Final = Failure("insufficient funds", 400, "INSUFFICIENT_FUND")
TOO_LARGE: Final = 10**30


def id_of(number: int) -> str:
    """An id that a client might have made."""
    return str(UUID(int=0x1000_0000_0000_4000_8000_0000_0000_0000 + number))


def made_id(milliseconds: int) -> str:
    """An id of version 7 that another service might have made, so long after the histories begin."""
    made_ms = int(START.timestamp() * 1000) + milliseconds
    return str(UUID(int=made_ms << 80 | 7 << 76 | 2 << 62))


def run(stages: Sequence[Json], variables: dict[str, str] | None = None, **more: Any) -> RunWorkflow:
    """A run command."""
    return RunWorkflow(workflow_id=id_of(1), stages=definition(stages), variables=variables or {"order": "A-1"}, **more)


def workflows(r: Recorder) -> None:
    """Workflows are created, repeated and deleted."""
    payout = CreateWorkflow(name="payout", stages=[UPDATE, WAIT])
    keyed = CreateWorkflow(name="naïve “text” \u0000", stages=[DELAY], request_digest="d1")
    r.give((id_of(1), payout), (id_of(2), keyed))
    r.give((id_of(1), payout), (id_of(2), keyed))
    r.give((id_of(2), CreateWorkflow(name="other", stages=[], request_digest="d2")))
    r.snapshot()
    r.give((id_of(2), DeleteWorkflow()))
    r.give((id_of(2), DeleteWorkflow()), (id_of(9), DeleteWorkflow()), confirms=True)
    r.give(confirms=True)
    r.snapshot()


def instances(r: Recorder) -> None:
    """Instances of all kinds of stages: repeated, retried, aborted, failing, ending late."""
    keyed = run([WAIT, NOOP, WAIT, DELAY], request_digest="d1", seen_offset=0)
    r.give((id_of(10), keyed), (id_of(11), run([UPDATE, WAIT])), (id_of(12), run([NOOP] * 101)))
    r.give((id_of(10), keyed), (id_of(11), run([UPDATE, WAIT])))
    r.give((id_of(10), run([NOOP], request_digest="d2")))
    r.go_on(id_of(12))
    approved = SendEvent(
        name="approved", payload={"by": "anna", "n": TOO_LARGE}, request_key=id_of(90), request_digest="e1"
    )
    r.give((id_of(10), approved), (id_of(10), SendEvent(name="nobody waits for this")))
    r.snapshot()
    r.give((id_of(10), approved))
    r.give((id_of(10), SendEvent(name="approved", request_key=id_of(90), request_digest="e2")))
    # Retries, then success.
    for _ in range(3):
        r.give((id_of(11), called(r.call(id_of(11)), UNAVAILABLE)))
    r.snapshot()
    r.go_on(id_of(11), lambda effect: None)
    r.give((id_of(11), SendEvent(name="approved")), (id_of(10), SendEvent(name="approved")))
    r.wake(id_of(10))
    # Aborted in a call, in a delay, while it waits; the call comes back late.
    r.give((id_of(13), run([UPDATE])), (id_of(14), run([DELAY])), (id_of(15), run([WAIT])))
    late = r.call(id_of(13))
    r.give(*((id_of(n), AbortInstance()) for n in (13, 14, 15)))
    r.snapshot()
    r.give((id_of(13), called(late, {"data": "too late"})))
    r.give((id_of(13), AbortInstance()), (id_of(15), SendEvent(name="approved")))
    r.give((id_of(10), keyed), (id_of(13), run([UPDATE])))
    # Failing for good, unresolvable, and one that was stopped before its time.
    r.give((id_of(16), run([UPDATE, NOOP])), (id_of(17), run([{"delay": {"duration": "${none}"}}], {})))
    r.give((id_of(16), called(r.call(id_of(16)), Failure("no", 400, "VALIDATION"))))
    r.give((id_of(18), run([DELAY, WAIT])), (id_of(19), run([WAIT, WAIT])), (id_of(20), run([UPDATE])))
    r.give((id_of(21), run([UPDATE])))
    r.give((id_of(21), AbortInstance()))
    r.give((id_of(19), SendEvent(name="approved")), (id_of(20), called(r.call(id_of(20)), UNAVAILABLE)))


def pauses(r: Recorder) -> None:
    """Activities are paused and resumed: again, by whom it may be, too late; some instances are aborted meanwhile."""
    keyed: dict[str, str] = {"request_key": id_of(91), "request_digest": "e1"}
    r.give((id_of(1), CreateWorkflow(name="limited", stages=[UPDATE], max_attempts=2)))
    r.give(*((id_of(n), run([UPDATE, WAIT], max_attempts=limit)) for n, limit in ((50, 2), (51, 1), (52, 1), (53, 9))))
    for number in (50, 51, 52, 53):
        r.give((id_of(number), called(r.call(id_of(number)), REFUSED)))
    r.give((id_of(50), called(r.call(id_of(50)), UNAVAILABLE)))
    pauses = {number: _paused_at(r, id_of(number)) for number in (50, 51, 52)}
    r.snapshot()

    def resume(number: int, **more: Any) -> tuple[str, ResumeActivity]:
        return id_of(number), ResumeActivity(stage=0, index=0, paused_at=pauses[number], **more)

    r.give(resume(50, by="anna"), resume(51, **keyed), (id_of(52), AbortInstance()))
    r.give(resume(50), resume(51, **keyed), resume(51, **keyed | {"request_digest": "e2"}), resume(52))
    r.give((id_of(53), ResumeActivity(stage=0, index=1, paused_at=r.now)))
    r.give((id_of(51), called(r.call(id_of(51)), REFUSED)), resume(51))
    r.snapshot()
    r.go_on(id_of(50), lambda effect: None)
    r.give(resume(50), resume(51))


def retries(r: Recorder) -> None:
    """Instances that have failed or were aborted run once more: again, too late, with results of the pass before."""
    keyed: dict[str, str] = {"request_key": id_of(92), "request_digest": "e1"}
    send: Json = {
        "source": ENDS["source"][3],
        "destination": ENDS["destination"][0],
        "amount": {"amount": 5, "asset": "X"},
    }
    r.give(
        (id_of(60), run([NOOP, UPDATE, WAIT, WAIT], request_digest="d1", max_attempts=3)),
        *((id_of(number), run([stage])) for number, stage in ((61, UPDATE), (62, DELAY), (63, {"send": send}))),
    )
    approved = SendEvent(name="approved", request_key=id_of(93), request_digest="e2")
    r.give((id_of(60), approved), (id_of(60), called(r.call(id_of(60)), Failure("no", 400, "VALIDATION"))))
    late = r.call(id_of(61))
    r.give((id_of(61), AbortInstance()), (id_of(62), AbortInstance()))
    r.give((id_of(63), called(r.call(id_of(63)), _answer(r.call(id_of(63))))))
    r.give((id_of(63), called(r.call(id_of(63)), UNAVAILABLE)))
    r.give((id_of(63), called(r.call(id_of(63)), Failure("taken", 400, "CONFLICT"))))
    r.snapshot()
    known = [(id_of(93), "e2")]
    first = r.retry(id_of(60), requests=known, by="anna", reason="the ledger is there now", **keyed)
    stale = r.retry(id_of(60), requests=known)
    r.give((id_of(60), first), (id_of(60), first), (id_of(60), stale))
    r.give(*((id_of(number), r.retry(id_of(number))) for number in (61, 62, 63)))
    r.snapshot()
    r.give((id_of(61), called(late, {"data": "too late"})), (id_of(60), approved))
    r.give((id_of(60), called(r.call(id_of(60)), Failure("no", 400, "VALIDATION"))), (id_of(61), AbortInstance()))
    r.give((id_of(60), stale))
    r.give(*((id_of(number), r.retry(id_of(number))) for number in (60, 61)))
    r.give((id_of(61), AbortInstance()))
    r.claim()
    r.go_on(id_of(60), lambda effect: None)
    r.go_on(id_of(63), _answer)
    r.snapshot()
    r.wake(id_of(62))


def bulks(r: Recorder) -> None:
    """Bulk operations begin, come again, act on instances once, are stopped and end; a clock was ahead before one."""
    first, second, third, fourth = id_of(80), id_of(81), id_of(82), id_of(83)
    start = StartBulk(action="abort", filter=Raw(b'{"running":true}'), expected=3, by="anna", request_digest="d1")
    r.give(*((id_of(number), run([WAIT])) for number in (60, 61, 62, 63)))
    r.give((first, start), (first, start), (second, StartBulk(action="resume", filter=Raw(b"{}"), reason="all paid")))
    r.give((first, start), (first, StartBulk(action="abort", filter=Raw(b"{}"), request_digest="d2")))

    def page(number: int, *instances: int, lost: int = 0) -> AdvanceBulk:
        return AdvanceBulk(page=number, instances=[id_of(n) for n in instances], created_at=r.now, lost=lost)

    def abort(number: int, page: int) -> tuple[str, AbortInstance]:
        return id_of(number), AbortInstance(by="anna", bulk_id=first, bulk_page=page)

    r.give((first, page(0, 60, 61)), (first, page(0, 62)), (first, page(2, 63)))
    r.give(abort(60, 0), abort(61, 0), abort(60, 0), abort(64, 0), abort(64, 0))
    r.snapshot()
    over = PassOverInstance(bulk_id=second, bulk_page=0, code="OTHER_PAUSE", message="nothing is paused")
    r.give((second, page(0, 63)), (id_of(63), over), (id_of(63), over))
    r.give((first, page(1, 62, lost=1)), abort(62, 1), abort(63, 0))
    r.give((first, StopBulk(by="bert", reason="enough")), (first, StopBulk()), (first, page(2, 63)))
    r.give((first, EndBulk(pages=1)), (first, EndBulk(pages=2)), (first, EndBulk(pages=2)), (third, EndBulk(pages=0)))
    r.give((first, start), (first, StartBulk(action="abort", filter=Raw(b"{}"), request_digest="d2")))
    r.snapshot()
    r.give((second, EndBulk(pages=1)))
    r.give((third, start))
    r.give((fourth, StartBulk(action="retry", filter=Raw(b"{}"), newest_at=r.now + timedelta(hours=1))))


def acts(r: Recorder) -> None:
    """People say why, some are known, and an abort is repeated."""
    anna: dict[str, Any] = {"by": "anna", "reason": "the customer asked \u2014 \u201cnow\u201d"}
    keyed: dict[str, Any] = {"request_key": id_of(92), "request_digest": "e1"}
    r.give((id_of(1), CreateWorkflow(name="w", stages=[UPDATE], **anna)))
    r.give((id_of(31), CreateTrigger(name="t", event="X", workflow_id=id_of(1), **anna)))
    r.give((id_of(60), run([UPDATE, WAIT], max_attempts=1, **anna)), (id_of(61), run([WAIT], **anna)))
    r.give((id_of(60), called(r.call(id_of(60)), REFUSED)), (id_of(61), SendEvent(name="other", **anna)))
    paused_at = _paused_at(r, id_of(60))
    r.snapshot()
    r.give((id_of(60), ResumeActivity(stage=0, index=0, paused_at=paused_at, **anna)))
    aborted = (id_of(61), AbortInstance(**keyed, **anna))
    r.give(aborted, (id_of(60), AbortInstance(reason="nobody knows by whom")))
    r.give(aborted, (id_of(61), AbortInstance(**keyed | {"request_digest": "e2"})))
    r.give((id_of(31), DeleteTrigger(**anna)), (id_of(1), DeleteWorkflow(**anna)))
    r.snapshot()


def _paused_at(r: Recorder, instance_id: str) -> datetime:
    instance = r.shard.instance(instance_id)
    assert instance is not None
    assert instance.paused
    at = instance.activities[-1].paused_at
    assert at is not None
    return at


def _answer(effect: CallActivity) -> Any:
    """The stack's answers."""
    given = effect.input
    match effect.name:
        case "GetAccount":
            return {"data": {"address": given["id"], "metadata": {"stripe": "acct_7"}}}
        case "ListWallets":
            return {"cursor": {"data": [_wallet(given["name"])]}}
        case "GetWallet":
            return {"data": _wallet(given["id"])}
        case "GetPayment":
            return {"data": {"id": given["id"], "initialAmount": 2000, "amount": 1, "asset": "USD/2"}}
        case "CreateTransaction":
            return {"data": [{"id": 41, "txid": 41, "postings": given["data"].get("postings", []), "metadata": {}}]}
        case "CreateTransferInitiation":
            return {"data": {"id": "ti-1", "status": "PROCESSED"}}
    return None


def _wallet(reference: str) -> Json:
    ledger = "wallets-far" if reference.endswith("far") else "wallets-002"
    return {"id": reference, "name": reference, "ledger": ledger, "metadata": {"stripe": "acct_9"}}


ENDS: Final[dict[str, tuple[Json, ...]]] = {
    "source": (
        {"account": {"id": "world", "ledger": "default"}},
        {"account": {"id": "users:1", "ledger": "other", "throughAccount": "bank", "allowOverdraft": True}},
        {"wallet": {"id": "w-1", "balance": "savings"}},
        {"wallet": {"name": "carol-far"}},
        {"payment": {"id": "pay-1-x"}},
        {"payment": {"id": "pay-2", "ledger": "other", "throughAccount": "bank", "holdingAccount": "holding:2"}},
    ),
    "destination": (
        {"account": {"id": "users:7", "ledger": "default"}},
        {"wallet": {"id": "w-2"}},
        {"wallet": {"name": "dave-far", "balance": "savings"}},
        {"payment": {"psp": "stripe", "metadata": "stripe", "type": "PAYOUT"}},
        {"payment": {"psp": "stripe", "metadata": "stripe", "sourceAccount": "acct_0", "connectorId": "c-1"}},
    ),
}


def sends(r: Recorder) -> None:
    """Money moves between ends of all kinds; some calls are tried again, some are refused."""
    numbers = count(100)
    for source in ENDS["source"]:
        for destination in ENDS["destination"]:
            number = next(numbers)
            if "payment" in source and "payment" in destination:
                continue
            stage: Json = {"source": source, "destination": destination, "metadata": {"order": "${order}"}}
            if "payment" not in source or number % 2:
                stage["amount"] = {"amount": TOO_LARGE if number % 5 == 0 else 1250, "asset": "EUR/2"}
            if number % 3 == 0:
                stage["timestamp"] = "2026-02-03T04:05:06.5Z"
            r.give((id_of(number), run([{"send": stage}, WAIT])))
            if number % 7 == 0:
                r.give((id_of(number), called(r.call(id_of(number)), UNAVAILABLE)))
            r.go_on(id_of(number), _answer)
        r.snapshot()
    plain = {
        "source": ENDS["source"][0],
        "destination": ENDS["destination"][0],
        "amount": {"amount": 1, "asset": "EUR/2"},
    }
    for number, failure in ((200, REFUSED), (201, Failure("taken", 400, "CONFLICT")), (202, UNAVAILABLE)):
        r.give((id_of(number), run([{"send": plain}])))
        r.give((id_of(number), called(r.call(id_of(number)), failure)))
    r.give((id_of(203), run([{"send": plain}, WAIT])))
    r.snapshot()
    r.give((id_of(204), run([{"send": {**plain, "source": ENDS["source"][3]}}])))
    r.give((id_of(204), called(r.call(id_of(204)), {"cursor": {"data": []}})))


def triggers(r: Recorder) -> None:
    """Triggers fire once, wait for links, and start instances."""
    trigger, other = id_of(30), id_of(31)
    r.give(
        (
            trigger,
            CreateTrigger(name="big", event="SAVED_PAYMENT", version="v2", workflow_id=id_of(1), request_digest="d1"),
        ),
        (other, CreateTrigger(name="", event="X", workflow_id=id_of(1), filter="event.a > 1", vars={"v": "event.b"})),
    )
    offsets = count(7)

    def message(**more: Any) -> Json:
        number = next(offsets)
        event = Raw(msgspec.json.encode({"type": "SAVED_PAYMENT", "payload": {"n": 1.0, "big": TOO_LARGE}}))
        return {"occurrence_id": id_of(500 + number), "event": event, "source": "ledger/3", "offset": number, **more}

    stages = definition([WAIT])
    first = FireTrigger(**message(once_key="P:1", identity="k1"), stages=stages, variables={"order": "A-1"})
    r.give((trigger, first), (trigger, first))
    subject = f"{trigger}/{first.occurrence_id}"
    r.snapshot()
    r.give(r.request(subject))
    r.give(
        (trigger, FireTrigger(**message(once_key="P:1"), stages=stages)),
        (trigger, FireTrigger(**message(identity="k1"), stages=stages)),
        (trigger, FireTrigger(**message(once_key="P:2"), stages=stages, error="variable v: no such field")),
        (trigger, FireTrigger(**message())),
    )
    waiting = [EvaluateTrigger(**message(identity=f"w{n}"), stages=stages) for n in range(4)]
    r.give(*((other, one) for one in waiting))
    subjects = [f"{other}/{one.occurrence_id}" for one in waiting]
    r.evaluated(subjects[0], may_pass=True, error="the link answered HTTP 503")
    r.snapshot()
    r.evaluated(subjects[0], matches=True, variables={"v": "2"})
    r.evaluated(subjects[1])
    r.evaluated(subjects[2], matches=True, error="variable v: the link has no such field")
    pending = FireTrigger(**message(), stages=stages, variables={"order": "A-2"})
    r.give((trigger, pending))
    r.give((id_of(32), CreateTrigger(name="gone", event="X", workflow_id=id_of(1))))
    r.give((id_of(32), DeleteTrigger()))
    r.give((id_of(32), DeleteTrigger()), (id_of(32), FireTrigger(**message(), stages=stages)))
    r.give((trigger, CreateTrigger(name="big", event="Y", workflow_id=id_of(1), request_digest="d2")))


def takeovers(r: Recorder) -> None:
    """Owners come and go, somebody else writes, and aggregates are set aside."""
    for number in range(40, 46):
        r.give((id_of(number), run([UPDATE, WAIT])))
    r.give(
        (id_of(1), CreateWorkflow(name="w", stages=[WAIT])),
        (id_of(30), CreateTrigger(name="", event="X", workflow_id=id_of(1))),
    )
    r.snapshot()
    stale = r.epoch
    r.claim()
    call = r.call(id_of(40))
    result = ev.ActivityEnded(at=r.now, stage=0, index=0, attempt=1)
    r.write(CODEC.encode(id_of(40), result, timestamp_ms=0, version=4, epoch=stale))
    r.give((id_of(40), called(call, UNAVAILABLE)))
    # What the next owner can't use.
    r.write(
        CODEC.encode(
            id_of(41), ev.InstanceEnded(at=r.now, workflow_id=id_of(1)), timestamp_ms=0, version=4, epoch=r.epoch
        )
    )
    r.write(CODEC.encode(id_of(77), result, timestamp_ms=0, version=4, epoch=r.epoch))
    damaged = [("type", b"EventReceived"), ("version", b"5"), ("epoch", b"%d" % r.epoch)]
    r.write(NewRecord(id_of(42).encode(), b'{"at":"not a time"}', damaged, 0))
    r.write(NewRecord(id_of(43).encode(), b"\x00\xff", damaged, 0))
    r.write(
        CODEC.encode(
            id_of(30), ev.EvaluationEnded(at=r.now, occurrence_id=id_of(9)), timestamp_ms=0, version=9, epoch=r.epoch
        )
    )
    r.write(NewRecord(b"anybody", b"{}", [], 0))
    r.write(notice(0))
    r.claim()
    r.give(*((id_of(number), SendEvent(name="approved")) for number in (40, 41, 42, 43)))
    r.give((id_of(30), DeleteTrigger()), (id_of(41), ActivityDone(call.token)))
    r.snapshot()
    r.give(
        NewRecord(id_of(44).encode(), b"{", [("type", b"SendEvent")], 0),
        NewRecord(b"no id", b"{}", [("type", b"AbortInstance")], 0),
        NewRecord(id_of(44).encode(), b"{}", [("type", b"StartAllOver")], 0),
        filler(0),
    )
    r.claim()
    r.go_on(id_of(44), lambda effect: None)
    r.give((id_of(44), SendEvent(name="approved")))


def submissions(r: Recorder) -> None:
    """Other services run instances, send events and abort."""
    workflow, other = id_of(1), CurrentWorkflow(stages=definition([WAIT, NOOP, WAIT]), max_attempts=3)
    run = SubmitRun(workflow_id=workflow, variables={"order": "A-1"}, by="shop", reason="an order")
    event = SubmitEvent(name="approved", payload={"by": "ann"}, idempotency_key="k-1", by="shop")
    first, second, third = made_id(1), made_id(2), made_id(3)
    r.give((first, run), (first, event))
    r.give((second, run))
    r.snapshot()
    r.resolve(first, other)
    r.resolve(first)
    r.resolve(second, None)
    r.give((first, event), (first, run), (first, replace(run, variables={})))
    r.give((first, replace(event, name="paid")), (second, event), (id_of(50), run))
    r.give((first, SubmitEvent(name="approved", idempotency_key="k-2")))
    r.give((first, run))
    r.give((third, replace(run, variables={"order": "x" * 100})), (third, run), (third, event))
    r.claim()
    r.resolve(third, other)
    r.resolve(third)
    r.resolve(third)
    abort = SubmitAbort(idempotency_key="k-3", by="shop", reason="too late")
    r.give((third, abort))
    r.give((third, abort), (made_id(-(10**12)), run), (made_id(10**12), run))
    r.give((made_id(4), run))


STORIES: Final[dict[str, Callable[[Recorder], None]]] = {
    story.__name__: story
    for story in (workflows, instances, pauses, retries, bulks, acts, sends, triggers, takeovers, submissions)
}
