"""The command line's acts: reasons, resumes, and what is shown of who did what; on an API in this process."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click
import pytest
from click.testing import CliRunner, Result

from api import app
from deploy.cli import main
from deploy.client import acts, connection
from deploy.client.timeline import View
from engine.core.decisions import ActivityDone
from engine.core.retries import Failure
from schemas.settings import variable
from schemas.stack.answers import Answer
from schemas.stack.errors import NoAnswer
from schemas.stack.transport import Transport
from tests.unit.api.test_acts import Guard
from tests.unit.api.whole import Whole

URL: Final = "http://orchestration.test"
PAUSES: Final = '{"activityMaxAttempts": 1, "stages": [{"update": {"account": {"id": "users:7", "metadata": {}}}}]}'
WAITS: Final = '{"name": "waits", "stages": [{"wait_event": {"event": "go"}}, {"noop": {}}]}'
TIME: Final = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"

READING: Final = {
    *("workflows list", "workflows show", "workflows validate", "workflows schema"),
    *("instances list", "instances find", "instances show", "instances describe", "instances watch", "instances log"),
    *("instances bulk list", "instances bulk show", "instances bulk watch"),
    *("triggers list", "triggers show", "triggers test", "triggers occurrences list"),
}
"""They change nothing."""

Run = Callable[..., Result]


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> Whole:
    monkeypatch.setattr(app, "make_guard", lambda settings: Guard("anna"))
    return Whole()


@pytest.fixture
def run(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line against the API."""

    async def send(
        self: Transport, method: str, url: str, *, headers: dict[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        target = url.removeprefix(URL + whole.client.base)
        answer = await whole.client.call(method, target, body or b"", headers or {})
        return Answer(answer.status, answer.body)

    monkeypatch.setattr(Transport, "send", send)
    runner = CliRunner(env={variable("client_url"): URL + whole.client.base, "TZ": "UTC"})

    def call(*arguments: str, stdin: str | None = None, exit_code: int = 0) -> Result:
        result = runner.invoke(main, arguments, input=stdin)
        assert result.exit_code == exit_code, (arguments, result.output, result.exception)
        return result

    return call


def made(result: Result) -> str:
    return result.stdout.split()[-1]


def started(run: Run, definition: str) -> str:
    workflow = made(run("workflows", "create", "-", stdin=definition))
    return made(run("workflows", "run", workflow))


def verbs(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from verbs(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def test_only_verbs_that_change_nothing_take_no_reason() -> None:
    groups = ("workflows", "instances", "triggers")
    without = {
        verb
        for verb, command in verbs(main)
        if verb.startswith(groups) and not any("--reason" in parameter.opts for parameter in command.params)
    }
    assert "instances bulk list" in without
    assert without <= READING


def test_acting_verbs_send_the_reason(run: Run, whole: Whole, tmp_path: Path) -> None:
    why: Any = ("--reason", "Zoë: 100 % sure")
    workflow = made(run("workflows", "create", "-", *why, stdin=WAITS))
    first, second = (made(run("workflows", "run", "waits", *why)) for _ in range(2))
    run("instances", "send-event", first, "go", *why)
    run("instances", "stop", second, *why)
    trigger = made(run("triggers", "create", "X", workflow, *why))
    run("triggers", "delete", trigger, *why)
    run("workflows", "delete", workflow, *why)
    assert len(whole.commands) == 8
    commands: list[Any] = whole.commands
    assert {(command.by, command.reason) for command in commands} == {("anna", why[1])}


def test_a_long_reason_is_refused_by_the_api(run: Run, whole: Whole) -> None:
    refused = run("workflows", "create", "-", "--reason", "x" * 501, stdin=WAITS, exit_code=3)
    assert "X-Reason: has 501 characters; at most 500 are allowed" in refused.stderr
    assert whole.commands == []


def test_what_was_done_is_shown(run: Run, whole: Whole) -> None:
    id = started(run, WAITS)
    run("instances", "stop", id, "--reason", "asked by [31mcustomer")
    shown = run("instances", "show", id).stdout
    assert re.search(rf"^WHEN +WHAT +BY +REASON\n{TIME}  started  anna\n{TIME}  aborted  anna  asked by", shown, re.M)
    told = run("instances", "log", id).stdout.splitlines()
    assert [re.sub(rf"^{TIME}  ", "", line) for line in told] == [
        "started  by anna",
        "stage wait_event  for go",
        "aborted  by anna: asked by [31mcustomer",
        "stage wait_event failed  canceled",
        "instance aborted",
    ]
    listed = json.loads(run("instances", "log", id, "--json").stdout)
    assert listed[0]["what"] == "started"
    assert all({"at", "what"} <= one.keys() for one in listed)
    for kind in ("workflows", "triggers"):
        name = made(run("triggers", "create", "X", "waits")) if kind == "triggers" else "waits"
        assert re.search(rf"^{TIME}  created  anna$", run(kind, "show", name).stdout, re.M)


def test_a_paused_activity_is_resumed(run: Run, whole: Whole) -> None:
    id = started(run, PAUSES)
    none = run("instances", "resume", id, exit_code=3)
    assert f"instance {id} has no paused activity" in none.stderr
    asyncio.run(whole.input(id, ActivityDone(whole.call_of(id).token, failure=Failure("no", 503))))
    assert (
        run("instances", "resume", id, "--reason", "there again").stdout
        == f"resumed AddAccountMetadata of instance {id}\n"
    )
    assert "resumed  by anna: there again" in run("instances", "log", id).stdout
    run("instances", "resume", id, exit_code=3)


def test_an_instance_of_a_trigger_names_it_in_its_log() -> None:
    at = "2026-03-01T10:00:00Z"
    instance = {"createdAt": at, "terminated": False, "trigger": {"triggerID": "t-1"}, "acts": [], "status": []}
    assert acts.happenings(View(instance, [], [])) == [acts.Happening(at, "started", "by trigger t-1")]


def test_activities_in_the_log() -> None:
    times = [f"2026-03-01T10:00:0{second}Z" for second in range(5)]
    instance = {"createdAt": times[0], "terminated": True, "terminatedAt": times[4], "error": "no", "status": []}
    stage = {"name": "RunUpdate", "input": {"account": {"id": "a"}}, "startedAt": times[1], "terminated": True}
    stage |= {"terminatedAt": times[3], "error": "no"}
    call = {"name": "GetAccount", "attempt": 3, "startedAt": times[1], "terminated": True, "terminatedAt": times[2]}
    told = [(one.what, one.about) for one in acts.happenings(View(instance, [stage], [[call]]))]
    assert told == [
        ("started", ""),
        ("stage update", "account a"),
        ("activity GetAccount", ""),
        ("activity GetAccount succeeded", "after 3 attempts"),
        ("stage update failed", "no"),
        ("instance failed", "no"),
    ]


def test_pauses_and_passes_are_in_the_log(run: Run, whole: Whole) -> None:
    """Also if nobody is known: without authorization and reasons the API tells no acts."""
    id = started(run, PAUSES)
    asyncio.run(whole.input(id, ActivityDone(whole.call_of(id).token, failure=Failure("no", 503))))

    def told() -> list[str]:
        return [re.sub(rf"^{TIME}  ", "", line) for line in run("instances", "log", id).stdout.splitlines()]

    assert "activity AddAccountMetadata paused  after attempt 1: no" in told()
    run("instances", "stop", id)
    run("instances", "retry", id)
    assert [line for line in told() if not line.startswith("stage")] == [
        "started  by anna",
        "activity AddAccountMetadata",
        "aborted  by anna",
        "activity AddAccountMetadata failed  canceled; before: no",
        "instance aborted",
        "retried  by anna",
        "activity AddAccountMetadata",
    ]
    instance = json.loads(run("instances", "show", id, "--json").stdout) | {"acts": []}
    history = [
        {"name": "RunNoop", "input": {}, "startedAt": "9026-03-01T10:00:00Z", "terminated": True, "retries": 0}
        | {"terminatedAt": "9026-03-01T10:00:01Z", "error": "no"},
        {"name": "RunNoop", "input": {}, "startedAt": "9026-03-01T10:00:02Z", "terminated": False},
    ]
    found = acts.happenings(View(instance, history, [[], []]))
    assert [one.what for one in found][1:5] == [
        "stage noop failed",
        "instance failed",
        "retried",
        "stage noop",
    ] or found


def test_an_aborted_instance_runs_once_more(run: Run) -> None:
    instance = started(run, WAITS)
    assert "is running" in run("instances", "retry", instance, exit_code=3).output
    run("instances", "stop", instance)
    told = run("instances", "retry", instance, "--reason", "it was not meant").stdout
    assert f"instance {instance} runs again (retry 1)" in told
    shown = json.loads(run("instances", "show", instance, "--json").stdout)
    assert (shown["terminated"], shown["retries"]) == (False, 1)


def test_whoever_stops_too_late_is_told_so(run: Run) -> None:
    instance = started(run, WAITS)
    run("instances", "send-event", instance, "go")
    assert run("instances", "stop", instance).stdout == f"instance {instance} has succeeded before\n"


def test_a_bulk_operation_needs_a_filter(run: Run) -> None:
    told = run("instances", "bulk", "start", "abort", "--yes", exit_code=2).stderr
    assert "say which instances to abort: give a filter, or --all" in told


NAMELESS: Final = '{"stages": [{"wait_event": {"event": "go"}}]}'


@pytest.mark.parametrize(
    "words",
    [
        *("workflows run", "workflows delete", "workflows show", "triggers delete", "stats", "instances find"),
        *(
            "instances list --key",
            "instances list --error",
            "instances list --created-after",
            "instances list --workflow",
        ),
        *("instances bulk start abort --yes --no-wait --workflow", f"workflows run {UUID(int=1)} --idempotency-key"),
        *(
            f"triggers create PAID {UUID(int=1)} --{option}"
            for option in ("filter", "version", "name", "idempotency-key")
        ),
        *(f"instances send-event {UUID(int=1)}", f"instances send-event {UUID(int=1)} go --idempotency-key"),
    ],
)
def test_an_empty_text_is_no_name_and_no_filter(run: Run, words: str) -> None:
    """It is most likely a variable of a script that was not set. And one workflow has no name."""
    instance = started(run, NAMELESS)
    told = run(*words.split(), "", exit_code=2).stderr
    assert "is empty: is a variable not set?" in told
    assert len(json.loads(run("workflows", "list", "--json").stdout)) == 1
    (left,) = json.loads(run("instances", "list", "--json").stdout)
    assert (left["id"], left["terminated"]) == (instance, False)


@pytest.mark.parametrize(
    "words",
    ["workflows run waits --variable", "workflows run waits --reason", "triggers test x", "instances find"],
)
def test_what_is_not_utf8_is_refused_before_anything_is_sent(run: Run, whole: Whole, words: str) -> None:
    """Status 1 would say that the instance has failed."""
    run("workflows", "create", "-", stdin=WAITS)
    told = run(*words.split(), b"name=Zo\xeb".decode(errors="surrogateescape"), exit_code=2).stderr
    assert "is not UTF-8" in told
    assert not whole.database.tables.instances


@contextmanager
def losing_answers(monkeypatch: pytest.MonkeyPatch, ending: str = "") -> Iterator[None]:
    """Requests are carried out, and the answers to those whose URL ends so get lost."""
    send = Transport.send

    async def lose(self: Transport, method: str, url: str, **more: Any) -> Answer:
        answer = await send(self, method, url, **more)
        if url.endswith(ending):
            raise NoAnswer("the connection broke")
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(Transport, "send", lose)
        patch.setattr(connection, "PAUSES_SECONDS", ())
        yield


def key_told(lost: Result) -> str:
    """With which key a command says to try again."""
    (key,) = re.findall(r"--idempotency-key ([0-9a-f-]+)", " ".join(lost.output.split()))
    return str(key)


def test_a_run_that_nobody_answers_says_how_to_try_again(
    run: Run, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have started. Run again without its key, it would run twice."""
    workflow = made(run("workflows", "create", "-", stdin=WAITS))
    with losing_answers(monkeypatch, "/instances"):
        lost = run("workflows", "run", workflow, exit_code=4)
    key = key_told(lost)
    again = made(run("workflows", "run", workflow, "--idempotency-key", key))
    assert list(whole.database.tables.instances) == [again]


TWO_APPROVALS: Final = '{"stages": [{"wait_event": {"event": "go"}}, {"wait_event": {"event": "go"}}]}'


def test_an_event_that_nobody_answers_says_how_to_try_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have come. Sent again without its key, it would be the second approval."""
    instance = started(run, TWO_APPROVALS)
    with losing_answers(monkeypatch):
        lost = run("instances", "send-event", instance, "go", exit_code=4)
    key = key_told(lost)
    run("instances", "send-event", instance, "go", "--idempotency-key", key)
    shown = json.loads(run("instances", "show", instance, "--json").stdout)
    assert [stage.get("terminatedAt") is not None for stage in shown["status"]] == [True, False]


def test_a_trigger_that_nobody_answers_says_how_to_try_again(
    run: Run, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be there. Created again without its key, each message would run the workflow twice."""
    create = ("triggers", "create", "PAID", made(run("workflows", "create", "-", stdin=WAITS)))
    with losing_answers(monkeypatch, "/triggers"):
        lost = run(*create, exit_code=4)
    key = key_told(lost)
    again = made(run(*create, "--idempotency-key", key))
    assert list(whole.database.tables.triggers) == [again]


NEEDS: Final = """
{"name": "pays", "stages": [
  {"update": {"account": {"id": "users:${user}", "metadata": {"order": "${order}"}}}}
]}
"""


def test_variables_that_are_missing_or_unknown_are_warned_of(run: Run) -> None:
    run("workflows", "create", "-", stdin=NEEDS)
    assert run("workflows", "run", "pays", "-v", "user=7", "-v", "order=A-1").stderr == ""
    assert run("workflows", "run", "pays", "-v", "user=7").stderr == ""  # metadata may be empty
    told = run("workflows", "run", "pays", "-v", "usr=7").stderr.splitlines()
    assert told == [
        'warning: the workflow has no variable "usr"; did you mean `user`?',
        'warning: the workflow needs the variable "user", which is not given',
    ]


def test_what_a_trigger_can_not_mean_is_warned_of(run: Run) -> None:
    run("workflows", "create", "-", stdin=NEEDS)
    create = ("triggers", "create", "PAID", "pays")
    assert run(*create, "--filter", "event.total > 5", "--vars", "user=event.id").stderr == ""
    told = run(*create, "--filter", "let x = 1; total > x", "--vars", "user=customer.id").stderr.splitlines()
    assert told == [
        'warning: filter: "total" is always nil, since the message\'s payload is `event`; did you mean `event.total`?',
        'warning: vars.user: "customer" is always nil, since the message\'s payload is `event`; '
        "did you mean `event.customer`?",
    ]
    assert "needs the variable" in run(*create).stderr


def test_triggers_of_a_deleted_workflow_are_warned_of(run: Run) -> None:
    run("workflows", "create", "-", stdin=WAITS)
    trigger = made(run("triggers", "create", "PAID", "waits"))
    assert run("triggers", "test", trigger, "{}").stderr == ""
    told = run("workflows", "delete", "waits").stderr
    assert told == f"warning: trigger {trigger} is for it, and leaves an error for each message: delete it, too\n"
    assert "is deleted, so a message would leave an error" in run("triggers", "test", trigger, "{}").stderr


def test_a_warning_that_can_not_be_had_stops_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow, send = made(run("workflows", "create", "-", stdin=NEEDS)), Transport.send

    async def send_no_get(self: Transport, method: str, url: str, **more: Any) -> Answer:
        return Answer(403, b"{}") if method == "GET" else await send(self, method, url, **more)

    monkeypatch.setattr(Transport, "send", send_no_get)
    assert run("workflows", "run", workflow).stdout.startswith("started instance ")
    trigger = run("triggers", "create", "PAID", workflow)
    assert trigger.stdout.startswith("created trigger ")
    run("triggers", "test", made(trigger), "{}")
    assert run("workflows", "delete", workflow).stdout == f"deleted workflow {workflow}\n"


def test_what_a_new_workflow_can_not_mean_is_warned_of(run: Run) -> None:
    assert run("workflows", "create", "-", stdin=WAITS).stderr == ""
    told = run("workflows", "create", "-", stdin='{"stages": [{"delay": {"duration": "0s"}}]}')
    assert "warning: stages[0].delay.duration: the duration is not above zero" in told.stderr
    assert told.stdout.startswith("created workflow ")
