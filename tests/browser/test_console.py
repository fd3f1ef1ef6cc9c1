"""What people do with the console, in a real browser."""

import json
from typing import Any

import pytest
from selenium.webdriver.common.keys import Keys

from api.bodies.yaml_body import decode_yaml
from projections.read_rows import Rejection
from schemas import rejections
from schemas.commands import (
    AbortInstance,
    CreateWorkflow,
    ResumeActivity,
    RetryInstance,
    RunWorkflow,
    SendEvent,
    StartBulk,
)
from tests.browser.page import Page, other
from tests.browser.stories import HOSTILE, SEND, STAGES, WHY_IT_WAITS, Stories, commands
from tests.unit.api.fakes import Backend

MORE_THAN_A_PAGE = 27


def test_who_has_an_id_sees_in_three_actions_why_it_hangs(page: Page, stories: Stories) -> None:
    wanted = stories.waiting()
    stories.failed()
    page.open()  # 1
    page.write("Find an instance", str(wanted))  # 2
    page.keys(Keys.ENTER)  # 3
    page.sees(WHY_IT_WAITS)
    assert "12.50 EUR" in page.text
    assert page.driver.current_url.endswith(f"#/instances/{wanted}")
    page.driver.back()
    page.until(lambda: page.driver.current_url.endswith("console/"), "the page of before")


def test_a_list_stays_fresh_and_says_what_each_waits_for(page: Page, backend: Backend, stories: Stories) -> None:
    stories.paused()
    stories.failed("wallet not found")
    waiting = stories.waiting()
    page.open(wait="account @orders:A-1001 has insufficient funds")
    page.sees("wallet not found")
    page.sees("approved since")
    backend.end(waiting)
    page.misses("approved since")


def test_filters_are_chips_and_stay_in_the_address(page: Page, stories: Stories) -> None:
    stories.waiting()
    stories.failed("wallet not found")
    page.open(wait="approved since")
    page.press("Failed", ".switches")
    page.misses("approved since")
    page.sees("wallet not found")
    assert page.driver.current_url.endswith("#/search?state=failed")
    page.driver.refresh()
    page.sees("wallet not found")
    assert "approved since" not in page.text
    page.press("Remove the filter Failed")
    page.sees("approved since")


def test_an_instance_shows_each_step_with_what_went_in_and_out(page: Page, stories: Stories) -> None:
    page.open(f"#/instances/{stories.waiting()}", wait="Send 12.50 EUR from account orders:A-1001 to wallet w-alice")
    page.sees("Wait for the event approved")
    page.sees("Delay of 1s")
    page.sees("92 233 720 368 547 758.08 EUR · orders:A-1001 → world")
    page.press("Book in the ledger")
    page.sees('"amount": 9223372036854775808')  # more than a double can hold
    page.press("Zoom in to Look up the wallet")
    page.sees("Show the whole time")


def test_a_failure_is_told_in_plain_words_beside_what_the_service_said(page: Page, stories: Stories) -> None:
    page.open(f"#/instances/{stories.retrying()}", wait="Book in the ledger has failed and is tried again")
    page.sees("The 4th attempt starts in 1 min")
    page.sees("The account orders:A-1001 does not have enough money.")
    page.sees("What the service said: account @orders:A-1001 has insufficient funds")


def test_an_event_is_sent_with_a_reason(page: Page, backend: Backend, stories: Stories) -> None:
    page.open(f"#/instances/{stories.waiting()}", wait=WHY_IT_WAITS)
    page.press("Send event")
    assert page.field("Name of the event").get_attribute("value") == "approved"
    page.write("Reason", "Ada has called, 12 €")
    page.press("Send event", "dialog")
    page.sees("The event was sent.")
    [sent] = commands(backend, SendEvent)
    assert sent.request_key is not None
    assert sent.reason == "Ada has called, 12 €"


def test_a_paused_activity_is_resumed(page: Page, backend: Backend, stories: Stories) -> None:
    page.open(f"#/instances/{stories.paused()}", wait="Book in the ledger is paused")
    page.press("Resume")
    page.press("Resume it")
    page.sees("It was resumed.")
    assert len(commands(backend, ResumeActivity)) == 1


def test_what_has_failed_is_retried_with_a_reason(page: Page, backend: Backend, stories: Stories) -> None:
    id = stories.failed("wallet not found")
    stories.retryable(id)
    page.open(f"#/instances/{id}", wait="It has failed at: Send 12.50 EUR")
    page.press("Retry")
    page.write("Reason", "the wallet is there now")
    page.press("Retry it")
    page.sees("It runs again.")
    page.misses("It has failed at")
    [sent] = commands(backend, RetryInstance)
    assert (sent.reason, sent.request_key is None) == ("the wallet is there now", False)


def test_both_runs_of_a_retried_instance_are_shown(page: Page, stories: Stories) -> None:
    page.open(f"#/instances/{stories.retried()}", wait="Retried 1 time")
    page.sees("Retried by ada: topped up")
    sent = "Send 12.50 EUR from account orders:A-1001 to wallet w-alice"
    shown = [" ".join(one.text.split("\u00a0")) for one in page.all(".step .step-text")]
    assert [text.split("\n")[0] for text in shown[:5]] == [
        sent, "Look up the wallet", "Book in the ledger", sent, "Book in the ledger",
    ]  # fmt: skip
    assert "1st run, before a retry" in shown[0]
    assert "run again, after a retry" in shown[3]


def test_the_records_of_the_log_are_shown(page: Page, backend: Backend, stories: Stories) -> None:
    page.open(f"#/instances/{stories.waiting()}", wait=WHY_IT_WAITS)
    backend.kafka_away = True
    page.press("Event log")
    page.sees("Kafka is away")
    backend.kafka_away = False
    page.press("Try again")
    page.sees("3 records.")
    page.sees("Does not count: the engine that wrote it had been replaced by another")
    page.sees("Can’t be read: <img")
    page.press("InstanceStarted")
    page.sees('"amount": 9223372036854775808')
    assert other(page.complaints(), 503) == []


@pytest.mark.parametrize(
    ("story", "act", "confirm", "told"),
    [
        ("waiting", "Abort", "Abort it", "It has ended. Succeeded."),
        ("waiting", "Send event", "Send event", "It has ended. Succeeded."),
        ("paused", "Resume", "Resume it", "Nothing of it is paused."),
        ("failed", "Retry", "Retry it", "It is still running."),
    ],
)
def test_a_button_that_has_become_wrong_says_why(
    page: Page, backend: Backend, stories: Stories, story: str, act: str, confirm: str, told: str
) -> None:
    id = getattr(stories, story)()
    page.open(f"#/instances/{id}", wait="12.50 EUR")
    page.press(act)
    page.button(confirm, "dialog")
    stories.somebody_else(id, act)
    page.sees(f"It has changed meanwhile, so nothing was sent. {told}")
    assert not page.button(confirm, "dialog").is_enabled()
    page.keys(Keys.ESCAPE)
    page.press(act)
    page.sees(f"{act}: {told}")
    assert page.all("dialog") == []
    assert backend.commands == []


def test_a_pause_that_nobody_has_seen_is_not_resumed(page: Page, backend: Backend, stories: Stories) -> None:
    id = stories.paused()
    page.open(f"#/instances/{id}", wait="12.50 EUR")
    page.press("Resume")
    page.button("Resume it", "dialog")
    stories.paused_again(id)
    page.sees("It was resumed, and is paused again.")
    assert not page.button("Resume it", "dialog").is_enabled()
    assert backend.commands == []


def test_somebody_who_was_quicker_at_the_same_moment_is_told_by_the_server(
    page: Page, backend: Backend, stories: Stories
) -> None:
    id = stories.failed()
    stories.retryable(id)
    page.open(f"#/instances/{id}", wait="It has failed")
    page.press("Retry")
    backend.reject = Rejection(rejections.NOT_RETRYABLE, "the instance is running already")
    page.press("Retry it")
    page.sees("That did not work: the instance is running already")
    assert "Trying again is safe" not in page.text
    assert other(page.complaints(), 409) == []


def test_while_kafka_is_away_an_act_says_so_and_can_be_repeated(page: Page, backend: Backend, stories: Stories) -> None:
    page.open(f"#/instances/{stories.waiting()}", wait=WHY_IT_WAITS)
    backend.kafka_away = True
    page.press("Abort")
    page.press("Abort it")
    page.sees("That did not work: Kafka is away. Trying again is safe: it has its effect once.")
    backend.kafka_away = False
    page.press("Try again")
    page.sees("It was aborted")
    assert len(commands(backend, AbortInstance)) == 1
    assert other(page.complaints(), 503) == []


def test_a_definition_is_checked_while_it_is_typed(page: Page, backend: Backend) -> None:
    page.open("#/workflows/new", wait="No errors.")
    page.write("Definition in YAML", "name: refund\nstages:\n- wait_event: {evnt: approved}\n")
    page.sees("event")
    page.sees("1 error")
    assert not page.button("Create workflow").is_enabled()
    page.press("Line 3")
    page.until(lambda: page.is_focused("Definition in YAML"))
    page.write("Definition in YAML", "name: refund\nstages:\n- wait_event: {event: '${what}'}\n")
    page.sees("No errors.")
    page.press("Create workflow")
    page.sees("Run it")
    [created] = commands(backend, CreateWorkflow)
    assert created.name == "refund"


def test_a_workflow_is_run_by_a_form_of_its_variables(page: Page, backend: Backend, stories: Stories) -> None:
    workflow = stories.workflow()
    backend.ends_at_once = False
    page.open(f"#/workflows/{workflow.id}", wait='amount: "1250"')
    page.write("order needed", "B-7")
    page.write("wallet needed", "w-bob")
    page.press("Start")
    page.sees("There is no instance with this id")  # this backend has no history of it
    [run] = commands(backend, RunWorkflow)
    assert run.variables == {"order": "B-7", "wallet": "w-bob"}
    assert other(page.complaints(), 404) == []


def test_a_trigger_is_tested_with_a_real_message(page: Page, stories: Stories) -> None:
    trigger = stories.trigger(stories.workflow())
    page.open(f"#/triggers/{trigger.id}", wait='event.status == "SUCCEEDED"')
    page.press("Test with it")
    page.press("Test")
    page.sees("The filter does not let this message pass")
    message = page.field("Message").get_attribute("value") or ""
    assert json.loads(message) == {"status": "PENDING", "reference": "A-1001"}
    page.write("Message", message.replace("PENDING", "SUCCEEDED"))
    page.press("Test")
    page.sees("It would start the workflow.")
    page.sees("order A-1001")
    page.write("Message", "[1]")
    page.press("Test")
    page.sees("The payload must be an object")


def test_the_overview_says_what_needs_a_person_and_what_waits_longest(page: Page, stories: Stories) -> None:
    workflow = stories.workflow()
    stories.statistics(workflow, stories.waiting(workflow))
    stories.paused()
    page.open("#/overview", wait="account @orders:A-1001 has insufficient funds")
    page.sees("2 Waiting")
    page.sees("Waiting longest")
    page.press("The same as a table")
    page.sees("7 6 1 0")
    page.open(f"#/workflows/{workflow.id}", wait="Send 1")
    page.sees("The whole instance")


def test_many_are_acted_on_after_a_look_at_what_would_happen(page: Page, backend: Backend, stories: Stories) -> None:
    workflow = stories.workflow()
    for _ in range(3):
        stories.waiting(workflow)
    stories.failed(workflow=workflow)
    page.open(f"#/search?workflow={workflow.id}", wait="approved since")
    page.press("Act on all of them")
    page.write("Reason", "the bank is closed")
    page.press("Show what it would do")
    page.sees("Abort 3 instances Nothing has happened yet.")
    assert page.violations() == []
    assert commands(backend, StartBulk) == []
    page.press("Abort 3 instances")
    page.sees("Bulk actions: Abort")
    page.sees("0 of 3")
    [started] = commands(backend, StartBulk)
    assert (started.action, started.reason) == ("abort", "the bank is closed")
    assert str(workflow.id) in bytes(started.filter).decode()
    assert page.violations() == []
    page.press("Stop it")
    page.sees("Stopping")


def test_all_instances_are_acted_on_only_when_that_is_said(page: Page, backend: Backend, stories: Stories) -> None:
    stories.waiting()
    page.open(wait="approved since")
    page.press("Act on all of them")
    page.press("Show what it would do")
    page.sees("There are no filters: it acts on every instance of this installation.")
    assert "Nothing has happened yet." not in page.text
    page.one("dialog input[type=checkbox]").click()
    page.press("Show what it would do")
    page.sees("Abort 1 instance Nothing has happened yet.")
    assert commands(backend, StartBulk) == []


def test_a_bulk_action_acts_on_what_is_shown_also_on_the_second_page_of_a_text(
    page: Page, backend: Backend, stories: Stories
) -> None:
    workflow = stories.workflow()
    for _ in range(MORE_THAN_A_PAGE):
        backend.keys[stories.waiting(workflow)] = {"many"}
    stories.waiting(workflow)
    page.open("#/search?q=many&state=waiting", wait="approved since")
    page.press("Older →")
    page.until(lambda: "cursor=" in page.driver.current_url)
    page.until(lambda: page.button("Act on all of them").is_enabled())
    page.press("Act on all of them")
    page.sees("Filters: State Waiting With many")
    page.press("Show what it would do")
    page.sees("Nothing has happened yet.")
    page.driver.back()
    page.misses("What to do")  # it would act on what is not shown any more
    page.driver.forward()
    page.until(lambda: page.button("Act on all of them").is_enabled())
    page.press("Act on all of them")
    page.press("Show what it would do")
    page.sees("Nothing has happened yet.")
    page.press("Abort 28 instances")  # this backend knows no keys here
    page.sees("Bulk actions: Abort")
    [started] = commands(backend, StartBulk)
    assert json.loads(bytes(started.filter)) == {"key": "many", "state": ["waiting"], "running": True}


def test_enter_twice_only_shows_what_a_bulk_action_would_do(page: Page, backend: Backend, stories: Stories) -> None:
    stories.waiting()
    page.open("#/search?state=waiting", wait="approved since")
    page.press("Act on all of them")
    page.write("Reason", "why not")
    page.keys(Keys.ENTER, Keys.ENTER)
    page.sees("Abort 1 instance Nothing has happened yet.")
    page.keys(Keys.ENTER, Keys.ENTER)
    page.field("Reason").send_keys(Keys.ENTER)
    page.sees("Abort 1 instance Nothing has happened yet.")
    assert commands(backend, StartBulk) == []


def test_an_instance_has_all_its_amounts_or_none(page: Page) -> None:
    def heading(*sends: Any) -> list[str]:
        given = {"workflow": {"config": {"stages": [{"send": send} for send in sends]}}}
        found = page.call("domain/definitions.js", "amountsOfInstance", given)
        return [one if isinstance(one, str) else f"{one['amount']} {one['asset']}" for one in found]

    page.open()
    euros, cents = {"amount": {"amount": "+1250", "asset": "EUR/2"}}, {"amount": {"amount": "100", "asset": "EUR/2"}}
    dollars, payment = {"amount": {"amount": "1250", "asset": "USD/2"}}, {"source": {"payment": {"id": "pay-1"}}}
    assert heading(euros) == heading(euros, euros) == ["1250 EUR/2"]
    assert heading(euros, cents) == ["1250 EUR/2", "100 EUR/2"]
    assert heading(euros, dollars) == ["1250 EUR/2", "1250 USD/2"]
    assert heading(payment, euros) == ["payment", "1250 EUR/2"]
    unknown = {"amount": {"amount": "${amount}", "asset": "EUR/2"}}
    assert heading() == heading(unknown, cents) == heading(euros, cents, dollars) == []


def test_no_name_turns_the_text_around_it(page: Page, stories: Stories) -> None:
    stories.waiting(stories.workflow("pay\u202eabc"))
    page.open("#/search?state=waiting", wait="pay\ufffdabc")
    assert "\u202e" not in page.text


FAILURES = [
    (
        "account @orders:1 has insufficient funds",
        "INSUFFICIENT_FUND",
        "The account orders:1 does not have enough money.",
    ),
    ("connection refused", "", "The service can’t be reached."),
    ("no connection after 5 s", "", "The service can’t be reached."),
    ("timeout after 30 s", "", "The service did not answer in time."),
    ("wallet is closed by its owner", "VALIDATION", "The service refuses the request as wrong."),
    ("payment refused by the bank", "", None),
    ("beneficiary bank not connected to SEPA instant", "", None),
    ("limit reset tomorrow", "", None),
    ("Transfer not enough approvals", "", None),
    ("currency pair conflict of interest", "", None),
]


def test_failures_in_plain_words(page: Page) -> None:
    page.open()
    for text, code, what in FAILURES:
        found = page.call("domain/failures.js", "explain", text, code)
        assert (found and found["what"]) == what, text


MONEY = [
    ((1250, "EUR/2"), "12.50 EUR"),
    ((5, "EUR/2"), "0.05 EUR"),
    ((0, "EUR/2"), "0.00 EUR"),
    ((-1250, "EUR/2"), "−12.50 EUR"),
    ((1234567, "JPY"), "1 234 567 JPY"),
    ((1234567, "JPY/0"), "1 234 567 JPY"),
    (("123456789012345678901234567890", "ETH/18"), "123 456 789 012.345678901234567890 ETH"),
    (("12.5", "EUR/2"), "12.5 EUR/2"),
    ((100, "a/b/2"), "100 a/b/2"),
]
DURATIONS = [(0, "0 ms"), (0.25, "0.3 ms"), (12.4, "12 ms"), (1250, "1.2 s"), (59_999, "59 s"), (60_000, "1 min"),
             (3_725_000, "1 h 2 min"), (90_000_000, "1 d 1 h")]  # fmt: skip
TEXTS = [
    "",
    "1250",
    "1s",
    "true",
    "a: b",
    "- a",
    "#x",
    "a #b",
    "${order}",
    "'q'",
    "é\n",
    "2026-03-01",
    "0x1F",
    "~",
    " a ",
    HOSTILE,
    "1e5",
    "@a",
    "<<",
    "-.inf",
    "... a",
    "a\r#b",
    "a\x7f\x85#b",
    "a\u2028#b",
    "\ufeff",
]


def test_formats(page: Page) -> None:
    page.open()

    def plain(text: str) -> str:
        return text.replace("\u00a0", " ").replace("\u202f", " ")

    assert [plain(page.call("base/formats.js", "money", *given)) for given, _ in MONEY] == [text for _, text in MONEY]
    assert [plain(page.call("base/formats.js", "duration", given)) for given, _ in DURATIONS] == [
        text for _, text in DURATIONS
    ]


def test_a_definition_as_yaml_is_the_same_definition(page: Page) -> None:
    page.open()
    definition = {
        "name": "odd",
        "stages": [
            *STAGES,
            {"noop": {}},
            {"update": {"account": {"id": "a", "metadata": {text: text for text in TEXTS}}}},
        ],
        "lists": [[], {}, [1, [2, {"a": None}]], [[True]]],
    }
    written = page.call("domain/yaml.js", "yaml", definition)
    assert decode_yaml(written.encode(), 100_000) == definition


FORGETFUL = """
const parse = JSON.parse;
JSON.parse = (text, revive) => parse(text, revive && function (key, value) { return revive.call(this, key, value); });
"""
"""Makes the browser one that does not tell how a number was written."""


def test_a_copy_of_a_definition_has_all_digits_in_older_browsers_too(page: Page, stories: Stories) -> None:
    """A rounded amount would be paid."""
    stages = [{"send": {**SEND, "amount": {"amount": 1_000_000_000_000_000_001, "asset": "ETH/18"}}}]
    workflow = stories.workflow("12345678901234567890", stages)
    page.open()
    page.driver.execute_script(FORGETFUL)
    page.visit(f"#/workflows/new?from={workflow.id}")
    written = page.one("textarea").get_attribute("value") or ""
    assert decode_yaml(written.encode(), 100_000) == {"name": "12345678901234567890", "stages": stages}
    page.load()
