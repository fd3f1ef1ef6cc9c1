"""Groups with aliases, and completion."""

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from deploy.cli import main
from deploy.client import completion
from deploy.client.groups import Aliased


def test_aliases_work() -> None:
    result = CliRunner(env={}).invoke(main, ["t", "o", "l", "--help"])
    assert result.stdout.startswith("Usage: main triggers occurrences list [OPTIONS] TRIGGER\n")


def test_no_alias_has_two_meanings() -> None:
    groups: list[Aliased] = [main]
    while groups:
        group = groups.pop()
        assert isinstance(group, Aliased)
        taken = [name for command in group.commands.values() for name in (command.name, *vars(command)["aliases"])]
        assert len(taken) == len(set(taken))
        groups += [command for command in group.commands.values() if isinstance(command, Aliased)]


def completed(*words: str) -> list[str]:
    *before, incomplete = words
    complete = ShellComplete(main, {}, "orchestration", "_ORCHESTRATION_COMPLETE")
    return [item.value for item in complete.get_completions(before, incomplete)]


def test_commands_options_and_names_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def names(profile: str | None, url: str | None, path: str, name_of: object) -> list[str]:
        assert (profile, url) == ("staging", None)
        return [f"{path}-2", "", f"{path}-1", f"{path}-1", "other"]

    monkeypatch.setattr(completion, "_names", names)
    assert completed("workfl") == ["workflows"]
    assert completed("workflows", "run", "--wa") == ["--wait"]
    assert completed("workflows", "run", "-p", "staging", "work") == ["workflows-1", "workflows-2"]
    assert completed("triggers", "show", "-p", "staging", "") == ["other", "triggers-1", "triggers-2"]


@pytest.mark.parametrize(
    ("shell", "offered"),
    [("bash", ["plain-1"]), ("zsh", ["$(id)", "Pay out", "plain-1"]), ("fish", ["$(id)", "Pay out", "plain-1"])],
)
def test_names_that_others_have_chosen_are_no_commands(
    shell: str, offered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def names(*of_what: object) -> list[str]:
        return ["plain-1", "Pay out", "$(id)", "--url=http://elsewhere", "two\nlines", "\x1b[2J", "\u202eback"]

    monkeypatch.setattr(completion, "_names", names)
    monkeypatch.setenv(completion.COMPLETION, f"{shell}_complete")
    assert completed("workflows", "show", "") == offered


def test_nothing_is_completed_when_the_api_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATION_CLIENT_URL", "http://127.0.0.1:1/api")
    monkeypatch.setattr(completion, "TIMEOUT_SECONDS", 0.05)
    assert completed("workflows", "show", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_shells_need_is_printed(shell: str) -> None:
    result = CliRunner(env={}).invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert f"_ORCHESTRATION_COMPLETE={shell}_complete" in result.stdout


def test_a_wrong_environment_is_not_taken_for_an_outcome() -> None:
    result = CliRunner(env={"ORCHESTRATION_URL": "http://localhost"}).invoke(main, ["workflows", "list"])
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: unknown setting ORCHESTRATION_URL")
