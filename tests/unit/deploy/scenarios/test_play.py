"""What comes of scenarios: times, events, faults, aborts, money; the same in every run."""

from pathlib import Path

import pytest

from deploy.scenarios import play
from deploy.scenarios.play import MAX_ATTEMPTS
from tests.unit.deploy.scenarios.told import played, stages, told

SEND = """
    - send:
        source: {account: {id: users:1}}
        destination: {account: {id: users:2}}
        amount: {amount: 70, asset: EUR/2}
"""


def one(rest: str, workflow: str = SEND) -> str:
    """A file with one scenario, whose fields are `rest`."""
    lines = "\n".join(f"    {line}" for line in rest.strip("\n").splitlines())
    return f"workflow:\n  stages:{workflow}\nscenarios:\n  - name: it\n{lines}\n"


RICH = "given: {ledgers: {default: {users:1: {balances: {EUR/2: 100}}}}}\n"


def test_a_month_passes_at_once(tmp_path: Path) -> None:
    workflow = """
    - delay: {duration: 720h}
    - delay: {until: "2026-03-01T00:00:00Z"}
    """
    it = played(tmp_path, one("starts: 2026-01-15T12:00:00Z", workflow))
    assert stages(it) == [("delay", "succeeded", "720h"), ("delay", "succeeded", "348h")]
    assert it.story.outcome == "succeeded"


@pytest.mark.parametrize("hours", [1, 24 * 365 * 20, 24 * 365 * 290])
def test_times_are_exact_however_long_they_are(tmp_path: Path, hours: int) -> None:
    workflow = f"\n    - delay: {{duration: {hours}h0m0.000001s}}\n    - delay: {{duration: 1ms}}"
    it = played(tmp_path, one("variables: {}", workflow))
    assert stages(it) == [
        ("delay", "succeeded", f"{hours}h0.000001s".replace("h", "h0m")),
        ("delay", "succeeded", "1ms"),
    ]


def test_money_moves(tmp_path: Path) -> None:
    it = played(tmp_path, one(RICH))
    assert it.books.balance("default", "users:1", "EUR/2") == 30
    assert it.books.balance("default", "users:2", "EUR/2") == 70
    assert told(it) == [
        "0s  the instance starts",
        "0s  stage 0 send starts",
        "0s    CreateTransaction default: 70 EUR/2 users:1 → users:2",
        "0s    done",
        "0s  stage 0 ends",
        "0s  the instance ends",
    ]


@pytest.mark.parametrize(
    ("fault", "attempts", "errors", "duration", "moved"),
    [
        ("status: 503", 2, ["the sandbox was told to fail"], "1s", 70),
        ("status: 503, times: 3, message: away", 4, ["away"] * 3, "7s", 70),
        ("status: 503, done: true", 2, ["the sandbox was told to fail"], "1s", 70),
        ("kind: drop", 2, ["connection closed without an answer"], "1s", 70),
        ("kind: drop, done: true", 2, ["connection closed without an answer"], "1s", 70),
        ("kind: slow, delay: 59s", 1, [], "59s", 70),
        ("kind: slow, delay: 61s", 2, ["timeout after 60 s"], "1m1s", 70),
        ("call: 2, status: 503", 1, [], "0s", 70),
        ("status: 400, code: CONFLICT, message: taken", 1, ["taken"], "0s", 0),
        ("status: 400, code: VALIDATION, done: true", 1, ["the sandbox was told to fail"], "0s", 70),
        ("times: always, kind: drop", MAX_ATTEMPTS, ["connection closed without an answer"] * MAX_ATTEMPTS, None, 0),
    ],
)
def test_faults(tmp_path: Path, fault: str, attempts: int, errors: list[str], duration: str | None, moved: int) -> None:
    it = played(tmp_path, one(f"{RICH}faults: [{{activity: CreateTransaction, {fault}}}]"))
    (activity,) = it.story.activities
    assert (activity.attempts, activity.errors) == (attempts, errors)
    assert stages(it)[0][2] == duration
    assert it.books.balance("default", "users:2", "EUR/2") == moved


def test_an_answer_that_cannot_be_read(tmp_path: Path) -> None:
    it = played(tmp_path, one(f"{RICH}faults: [{{activity: CreateTransaction, kind: garbage, done: true}}]"))
    (activity,) = it.story.activities
    assert activity.attempts == 2
    assert activity.errors[0].startswith("HTTP 200, but the answer can't be read: ")
    assert it.books.balance("default", "users:2", "EUR/2") == 70


def test_pauses_between_attempts_grow_to_a_hundred_seconds(tmp_path: Path) -> None:
    it = played(tmp_path, one(f"{RICH}faults: [{{activity: CreateTransaction, times: 9}}]"))
    assert stages(it) == [("send", "succeeded", "5m27s")]  # 1 + 2 + 4 + … + 64 + 100 + 100


def test_the_limit_of_the_workflow_pauses_an_activity(tmp_path: Path) -> None:
    it = played(tmp_path, one("", f"{SEND}\n  activityMaxAttempts: 3"))
    (activity,) = it.story.activities
    assert (it.story.outcome, activity.attempts) == ("paused", 3)
    assert told(it)[-1].endswith("insufficient funds; it was the last one, so the activity is paused")
    it = played(tmp_path, one("abort: 1m", f"{SEND}\n  activityMaxAttempts: 3"))
    assert (it.story.outcome, stages(it)) == ("aborted", [("send", "aborted", "1m")])


def test_what_is_missing_is_asked_for_until_it_comes(tmp_path: Path) -> None:
    it = played(tmp_path, one("arrivals: [{at: 2s, ledgers: {default: {users:1: {balances: {EUR/2: 70}}}}}]"))
    assert stages(it) == [("send", "succeeded", "3s")]
    assert "2s  70 EUR/2 for users:1 of ledger default comes into the stack" in told(it)


def test_it_is_looked_at_until_a_time(tmp_path: Path) -> None:
    it = played(tmp_path, one("until: 72h"))
    (activity,) = it.story.activities
    assert it.story.outcome == "retrying"
    assert activity.attempts == 8 + 2590  # eight within 127 s, then one every 100 s


def test_a_far_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(play, "MAX_STEPS", 1000)
    it = played(tmp_path, one("until: 80000h"))
    assert it.problems == ["it did not come to an end within 1000 steps: give it a shorter `until`"]


def test_while_it_is_delayed(tmp_path: Path) -> None:
    it = played(tmp_path, one("until: 1h", "\n    - delay: {duration: 2h}"))
    assert it.story.outcome == "delayed"
    it = played(tmp_path, one(f"{RICH}until: 10s\nfaults: [{{activity: CreateTransaction, kind: slow, delay: 20s}}]"))
    assert it.story.outcome == "running"


WAITS = """
    - wait_event: {event: a}
    - wait_event: {event: b}
    - wait_event: {event: a}
"""


def test_events_come_when_they_are_waited_for(tmp_path: Path) -> None:
    it = played(tmp_path, one("events: [a, {event: a, after: 2h}, {event: b, after: 1h}]", WAITS))
    assert stages(it) == [
        ("wait_event", "succeeded", "0s"),
        ("wait_event", "succeeded", "1h"),
        ("wait_event", "succeeded", "2h"),
    ]
    assert it.problems == []


def test_events_come_at_times(tmp_path: Path) -> None:
    it = played(
        tmp_path, one("events: [{event: b, at: 5s}, {event: a, at: 2026-01-01T00:01:00Z}, {event: a, at: 1h}]", WAITS)
    )
    assert stages(it) == [
        ("wait_event", "succeeded", "1m"),
        ("wait_event", "succeeded", "0s"),
        ("wait_event", "succeeded", "59m"),
    ]


def test_an_event_that_is_never_waited_for_is_a_problem(tmp_path: Path) -> None:
    it = played(tmp_path, one("events: [b]", WAITS))
    assert it.story.outcome == "waiting"
    assert it.story.waits_for == "a"
    assert it.problems == ["the event b was not sent, since the instance never waited for it"]


def test_a_fault_that_no_call_meets_is_a_problem(tmp_path: Path) -> None:
    """The scenario would pass, and would have shown nothing of it."""
    faults = "[{activity: CreateTransaction}, {activity: CreateTransaction, call: 3}, {activity: CreditWallet}]"
    it = played(tmp_path, one(f"{RICH}faults: {faults}"))
    assert it.story.outcome == "succeeded"
    assert it.problems == [
        "call 3 of CreateTransaction did not go wrong: there was no such call",
        "call 1 of CreditWallet did not go wrong: there was no such call",
    ]


def test_what_an_instance_does_at_a_moment_comes_before_what_comes_then(tmp_path: Path) -> None:
    workflow = "\n    - delay: {duration: 1h}\n    - noop: {}"
    it = played(tmp_path, one("abort: 1h", workflow))
    assert it.story.outcome == "succeeded"
    assert told(it)[-2:] == ["1h  the instance is aborted", "1h  this is refused: the instance has ended"]


def test_the_answer_of_a_call_comes_after_an_abort(tmp_path: Path) -> None:
    slow = "faults: [{activity: CreateTransaction, kind: slow, delay: 20s}]\n"
    it = played(tmp_path, one(f"{RICH}{slow}abort: 5s"))
    assert it.story.outcome == "aborted"
    assert stages(it) == [("send", "aborted", "5s")]
    assert told(it)[-1] == "20s    the answer of a call that was under way comes late and changes nothing"
    assert it.books.balance("default", "users:2", "EUR/2") == 70


def test_no_attempt_starts_after_an_abort(tmp_path: Path) -> None:
    it = played(tmp_path, one("abort: 10s"))
    (activity,) = it.story.activities
    assert (activity.attempts, activity.errors[-1]) == (5, "canceled")
    assert len(activity.errors) == 5


def test_a_variable_that_is_missing_ends_it(tmp_path: Path) -> None:
    it = played(tmp_path, one("variables: {other: x}", "\n    - wait_event: {event: 'order-${id}'}"))
    assert it.story.error == 'variable "id" is not given'


def test_wallets_have_the_ids_that_the_file_gives(tmp_path: Path) -> None:
    workflow = """
    - send:
        source: {wallet: {id: "${from}"}}
        destination: {wallet: {name: Bob}}
        amount: {amount: 70, asset: EUR/2}
    """
    given = """
variables: {from: alice-1}
given:
  wallets:
    alice-1: {balances: {main: {EUR/2: 100}, savings: {EUR/2: 5}}}
    bob: {name: Bob}
"""
    it = played(tmp_path, one(given, workflow))
    assert [activity.name for activity in it.story.activities] == ["GetWallet", "ListWallets", "CreditWallet"]
    assert it.books.wallet_balance("alice-1", "main", "EUR/2") == 30
    assert it.books.wallet_balance("alice-1", "savings", "EUR/2") == 5
    assert it.books.wallet_balance("bob", "main", "EUR/2") == 70


def test_an_account_below_zero_and_a_ledger_that_is_made(tmp_path: Path) -> None:
    it = played(tmp_path, one("given: {ledgers: {shop: {users:1: {balances: {EUR/2: -50}, metadata: {a: b}}}}}", " []"))
    assert it.books.balance("shop", "users:1", "EUR/2") == -50
    assert it.books.metadata("shop", "users:1") == {"a": "b"}
    assert it.story.outcome == "succeeded"


def test_what_cannot_be_put_in_is_a_problem(tmp_path: Path) -> None:
    payment = "payments: {p: {amount: 1, asset: EUR/2}}"
    it = played(tmp_path, one(f"given: {{{payment}}}\narrivals: [{{at: 1s, {payment}}}]", " []"))
    assert it.problems == ["what is given could not be put in: payment 'p' exists already"]


def test_every_run_is_the_same(tmp_path: Path) -> None:
    text = one(f"{RICH}faults: [{{activity: CreateTransaction, kind: drop, done: true, times: 3}}]")
    first, second = (played(tmp_path, text).story for _ in range(2))
    assert first.steps == second.steps
    assert first.activities == second.activities


def test_an_event_that_was_promised_to_a_stage_is_sent_once(tmp_path: Path) -> None:
    events = "events: [{event: a, after: 2h}, {event: x, at: 1h}, b, {event: a, after: 1m}]"
    it = played(tmp_path, one(events, WAITS))
    assert [duration for _, _, duration in stages(it)] == ["2h", "0s", "1m"]


def test_what_comes_late_ends_long_retries(tmp_path: Path) -> None:
    it = played(tmp_path, one("arrivals: [{at: 10h, ledgers: {default: {users:1: {balances: {EUR/2: 70}}}}}]"))
    (activity,) = it.story.activities
    assert it.story.outcome == "succeeded"
    assert activity.attempts > MAX_ATTEMPTS


def test_a_slow_answer_comes_before_an_abort_at_the_same_moment(tmp_path: Path) -> None:
    slow = "faults: [{activity: CreateTransaction, kind: slow, delay: 20s}]\n"
    it = played(tmp_path, one(f"{RICH}{slow}abort: 20s"))
    assert it.story.outcome == "succeeded"
    assert told(it)[-1] == "20s  this is refused: the instance has ended"


def test_other_things_happen_while_a_slow_answer_is_awaited(tmp_path: Path) -> None:
    slow = "faults: [{activity: CreateTransaction, kind: slow, delay: 20s}]\n"
    it = played(tmp_path, one(f"{RICH}{slow}abort: 5s\nevents: [{{event: a, at: 10s}}, {{event: a, at: 30s}}]"))
    assert [line for line in told(it) if not line.startswith("0s")] == [
        "5s  the instance is aborted",
        "5s    fails for good: canceled",
        "5s  stage 0 ends with the error: canceled",
        "5s  the instance ends with the error: canceled",
        "10s  the event a is sent",
        "10s  this is refused: the instance has ended",
        "20s    the answer of a call that was under way comes late and changes nothing",
        "30s  the event a is sent",
        "30s  this is refused: the instance has ended",
    ]
