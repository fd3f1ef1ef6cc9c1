"""What is said of files that can't be used: everything at once, with line and column."""

from pathlib import Path

import pytest

from deploy.scenarios.files import find_files, read_cases
from deploy.scenarios.problems import MAX_SHOWN, Problem, Unusable
from tests.unit.deploy.scenarios.told import cases, problems

LONG = {
    "activities": "AddAccountMetadata, CreateTransaction, CreateTransferInitiation, CreditWallet, DebitWallet, "
    "GetAccount, GetPayment, GetWallet or ListWallets",
    "duration": "write a duration as in workflows, such as 90s, 1h30m or 720h (30 days)",
    "fields": "starts, variables, given, arrivals, events, faults, abort, until, name, expect",
    "moment": "a duration such as 1h30m, or a date and time such as 2026-03-01T10:00:00Z",
}
HEAD = "workflow: {stages: []}\nscenarios:\n- name: it\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a\n- b\n", ["1:1: a scenario file is a mapping with `workflow` and `scenarios`"]),
        ("", ["1:1: a scenario file is a mapping with `workflow` and `scenarios`"]),
        ("workflow: {stages: []}\n", ["1:1: `scenarios` is missing"]),
        ("workflow: {stages: []}\nscenarios: []\n", ["2:1: must not be empty"]),
        ("workflow: 1\nscenarios:\n- {}\n", [
            "1:11: must be a text or a mapping (`key: value`), not the number 1: write \"1\"",
            "3:3: `name` is missing",
        ]),
        ("workflow: {stages: []}\nscenarios:\n- name: a\n- name: a\n", [
            "3:9: 2 scenarios are named `a`",
            "4:9: 2 scenarios are named `a`",
        ]),
    ],
)  # fmt: skip
def test_files_as_a_whole(tmp_path: Path, text: str, told: list[str]) -> None:
    assert problems(tmp_path, text) == told


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("  outcom: x", "4:3: unknown field `outcom`: the fields here are {fields}"),
        ("  wallets: {}", "4:3: unknown field `wallets`: it belongs in `given` or `expect`"),
        ("  variabels: {}", "4:3: unknown field `variabels`: did you mean `variables`?"),
        ("  expect: {waits_for: x}", "4:12: unknown field `waits_for`: did you mean `waitsFor`?"),
        ("  variables: {amount: 1250}", '4:23: must be a text, not the number 1250: write "1250"'),
        ("  variables: {yes: true}", '4:20: must be a text, not true: write "true"'),
        ("  variables: [a]", "4:3: must be a mapping (`key: value`), not a list"),
        ("  abort: 30 days", "4:10: '30 days' is not a duration: {duration}"),
        ("  abort: -1s", "4:10: '-1s' is below zero: {duration}"),
        ("  abort: 60", '4:10: must be {moment}, not the number 60: write "60"'),
        ("  abort: 2025-01-01T00:00:00Z", "4:10: '2025-01-01T00:00:00Z' is before the start of the instance"),
        ("  abort: 48h\n  starts: 9999-12-31T00:00:00Z", "4:10: '48h' after the start is behind the year 9999"),
        ("  starts: 2026-01-01", "4:11: '2026-01-01' is not a date and time: write one such as 2026-03-01T10:00:00Z"),
        ("  events: [{event: a, at: 1s, after: 1s}]", "4:12: `at` and `after` exclude each other"),
        ("  events: [1]", '4:12: must be a text or a mapping (`key: value`), not the number 1: write "1"'),
        ("  events: ['']", "4:12: must not be empty"),
        (
            "  faults: [{activity: CreditWalet}]",
            "4:23: must be {activities}, not `CreditWalet`: did you mean `CreditWallet`?",
        ),
        ("  faults: [{activity: GetWallet, times: 0}]", "4:41: must be a whole number from 1 on, not 0"),
        ("  faults: [{activity: GetWallet, times: x}]", "4:41: must be a whole number from 1 on or always, not `x`"),
        ("  faults: [{activity: GetWallet, status: 200}]", "4:42: must be a whole number from 400 to 599, not 200"),
        (
            "  faults: [{activity: GetWallet, kind: drop, status: 503}]",
            "4:46: `status` belongs to kind `error`, not to `drop`",
        ),
        ("  faults: [{activity: GetWallet, kind: slow}]", "4:12: kind `slow` needs a `delay`, such as 70s"),
        ("  faults: [{activity: GetWallet, delay: 1s}]", "4:34: `delay` belongs to kind `slow`, not to `error`"),
        (
            "  faults: [{activity: GetWallet, kind: slow, delay: 1h}]",
            "4:53: a call can be slow for at most 600 seconds",
        ),
        (
            "  faults: [{activity: GetWallet, kind: slow, delay: 1s, done: false}]",
            "4:57: what a slow call asks for is always done",
        ),
        (
            "  expect: {outcome: success}",
            "4:21: must be aborted, delayed, failed, paused, retrying, running, succeeded or waiting, not `success`: "
            "did you mean `succeeded`?",
        ),
        ("  expect: {error: x}", "4:12: an `error` needs `outcome: failed` or `outcome: aborted`"),
        ("  expect: {waitsFor: x}", "4:12: `waitsFor` needs `outcome: waiting`"),
        ("  expect: {outcome: waiting, duration: 1s}", "4:30: an instance that is waiting has no duration yet"),
        (
            "  expect: {stages: [RunSend]}",
            "4:21: must be delay, noop, send, update or wait_event, or a mapping (`key: value`), not `RunSend`: "
            "did you mean `send`?",
        ),
        ("  given: {ledgers: {default: {users:1: {balances: {eur: 1}}}}}", "4:52: `eur` is not an asset such as EUR/2"),
        (
            "  given: {ledgers: {default: {'a b': {}}}}",
            "4:31: `a b` is not the address of an account, such as users:7",
        ),
        ("  given: {wallets: {'a:b': {}}}", "4:21: `a:b` is not an id of letters, digits, - and _"),
        (
            "  expect: {wallets: {a: {balances: {EUR/2: {}}}}}",
            "4:37: `EUR/2` is not a balance, as in `main: {{EUR/2: 1250}}`",
        ),
        (
            "  given: {payments: {p: {amount: 1.5, asset: E}}}",
            "4:34: must be a whole number from 0 on, not the number 1.5",
        ),
        ("  given: {payments: {p: {}}}", "4:22: `amount` is missing\n4:22: `asset` is missing"),
        (
            "  expect: {transfers: [{type: PAY}]}",
            "4:31: must be PAYOUT or TRANSFER, not `PAY`: did you mean `PAYOUT`?",
        ),
        ("  arrivals: [{payments: {}}]", "4:14: `at` is missing"),
    ],
)
def test_fields_of_a_scenario(tmp_path: Path, field: str, told: str) -> None:
    assert problems(tmp_path, HEAD + field) == told.format(**LONG).split("\n")


def test_everything_is_said_at_once_and_in_order(tmp_path: Path) -> None:
    text = HEAD + "  nmae: x\n  abort: soon\n- abort: 1s\n"
    assert [problem.split(":")[0] for problem in problems(tmp_path, text)] == ["4", "5", "6"]


def test_defaults_are_held_against_the_start_of_a_scenario(tmp_path: Path) -> None:
    text = f"defaults: {{abort: '2026-02-01T00:00:00Z'}}\n{HEAD}  starts: 2026-03-01T00:00:00Z\n"
    assert problems(tmp_path, text) == ["1:19: '2026-02-01T00:00:00Z' is before the start of the instance"]


def test_yaml_that_cannot_be_read(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "workflow: [\n")
    assert problem.startswith("2:1: malformed YAML: ")
    assert problems(tmp_path, "a: 1\na: 2\n") == ["2:1: key 'a' occurs twice"]


def test_a_workflow_beside(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text("stages:\n  - noop: {}\n")
    (case,) = cases(tmp_path, "workflow: flow.yaml\nscenarios: [{name: it}]\n")
    assert case.workflow.stages == [{"noop": {}}]


def test_a_workflow_that_does_not_exist(tmp_path: Path) -> None:
    assert problems(tmp_path, "workflow: flow.yaml\nscenarios: [{name: it}]\n") == [
        f"1:11: there is no workflow {tmp_path / 'flow.yaml'}"
    ]


def test_a_workflow_that_could_not_be_created(tmp_path: Path) -> None:
    file = tmp_path / "flow.yaml"
    file.write_text("stages:\n  - nop: {}\n  - delay: {duration: soon}\n")
    scenarios = tmp_path / "flow.scenarios.yaml"
    scenarios.write_text("workflow: flow.yaml\nscenarios: [{name: it}]\n")
    with pytest.raises(Unusable) as unusable:
        read_cases(scenarios)
    assert unusable.value.file == file
    assert unusable.value.lines() == [
        f'{file}:2:5: stages[0]: unknown stage "nop"; did you mean `noop`?',
        f'{file}:3:23: stages[1].delay.duration: must be a duration such as 1h30m or 250ms, not "soon"',
    ]


def test_a_workflow_inside_that_could_not_be_created(tmp_path: Path) -> None:
    text = "workflow:\n  stages:\n  - delay: {}\nscenarios: [{name: it}]\n"
    assert problems(tmp_path, text) == ["3:5: stages[0].delay: one of duration, until is required"]


def test_what_is_wrong_in_an_alias_is_shown_where_it_was_written(tmp_path: Path) -> None:
    text = HEAD + "  given: &given {payments: {p: {amount: 1}}}\n- name: b\n  given: *given\n"
    assert problems(tmp_path, text) == ["4:29: `asset` is missing"]


def test_defaults_are_beneath_what_a_scenario_says(tmp_path: Path) -> None:
    (first, second) = cases(
        tmp_path,
        """
        workflow: {stages: []}
        defaults:
          variables: {a: "1", b: "2"}
          given:
            ledgers: {default: {x: {balances: {EUR/2: 1}}, y: {balances: {EUR/2: 1}}}}
            wallets: {w: {name: W}}
          events: [one]
          until: 1h
        scenarios:
          - name: first
            variables: {b: "3"}
            given: {ledgers: {default: {x: {balances: {USD/2: 5}}}, other: {z: {}}}, wallets: {v: {}}}
            events: []
          - name: second
        """,
    )
    assert first.setup.variables == {"a": "1", "b": "3"}
    assert set(first.setup.given.ledgers) == {"default", "other"}
    assert first.setup.given.ledgers["default"]["x"].balances == {"USD/2": 5}
    assert first.setup.given.ledgers["default"]["y"].balances == {"EUR/2": 1}
    assert set(first.setup.given.wallets) == {"w", "v"}
    assert (first.setup.events, first.setup.until) == ([], "1h")
    assert (second.setup.events, second.setup.variables) == (["one"], {"a": "1", "b": "2"})
    assert (first.line, second.line) == (11, 15)


def test_files_are_found_in_folders(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    files = [inner / "b.scenarios.yml", tmp_path / "a.scenarios.yaml", tmp_path / "z.yaml"]
    for file in files:
        file.write_text("")
    found = find_files([tmp_path, tmp_path / "z.yaml", tmp_path / "a.scenarios.yaml"])
    assert found == [tmp_path / "a.scenarios.yaml", inner / "b.scenarios.yml", tmp_path / "z.yaml"]
    with pytest.raises(Unusable, match="there is no such file or folder"):
        find_files([tmp_path / "nothing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(Unusable, match=r"no file in this folder ends with \.scenarios\.yaml"):
        find_files([tmp_path / "empty"])


def test_very_many_problems_are_cut(tmp_path: Path) -> None:
    lines = Unusable(tmp_path, [Problem("x", 1, 1)] * (MAX_SHOWN + 3)).lines()
    assert len(lines) == MAX_SHOWN + 1
    assert lines[-1] == f"{tmp_path}: and 3 more"
