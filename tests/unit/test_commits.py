"""Commits in work trees of their own: the right code runs, and nothing is left."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.performance import commits
from tests.performance.commits import CommitError, checked_out, running


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One with two commits, whose modules say which they are of."""
    root = tmp_path / "repository"
    for package in ("deploy", "engine"):
        (root / package).mkdir(parents=True)
    (root / "requirements.lock").write_text("nothing\n")
    git(root, "init", "-b", "main")
    for name in ("first", "second"):
        for package in ("deploy", "engine"):
            (root / package / "__init__.py").write_text(f"NAME = {name!r}\n")
        (root / "deploy" / "cli.py").write_text(f"print('{name} does not start')\n")
        git(root, "add", "-A")
        git(root, "commit", "-m", name)
    return root


def git(root: Path, *arguments: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=e@example.com", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", str(root), *who, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_each_commit_runs_its_own_code(repository: Path) -> None:
    with checked_out("HEAD~1", "main", repository) as found:
        assert [commit.id for commit in found] == [git(repository, "rev-parse", name) for name in ("HEAD~1", "HEAD")]
        said = [
            subprocess.run(
                [commit.python, "-P", "-c", "import engine; print(engine.NAME)"],
                env=commit.environment,
                check=True,
                capture_output=True,
                text=True,
            ).stdout.strip()
            for commit in found
        ]
        assert said == ["first", "second"]
        assert git(repository, "worktree", "list").count("\n") == 2
    assert git(repository, "worktree", "list").count("\n") == 0
    assert not any(commit.folder.exists() for commit in found)


def test_a_commit_beside_itself(repository: Path) -> None:
    with checked_out("main", "main", repository) as (base, head):
        assert base.id == head.id
        assert base.folder != head.folder


def test_another_lock_gets_an_environment_of_its_own(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = list[tuple[str, ...]]()
    run = commits._run

    def installing(*command: str, environment: dict[str, str] | None = None) -> str:
        if "--version" in command:
            installed.append(command)
            python = Path(command[1]).parents[1] / ".venv" / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.symlink_to(sys.executable)
            return ""
        return run(*command, environment=environment)

    monkeypatch.setattr(commits, "_run", installing)
    (repository / "requirements.lock").write_text("more\n")
    git(repository, "commit", "-am", "third")
    with checked_out("HEAD~1", "HEAD", repository) as (base, head):
        assert base.python == base.folder / ".venv" / "bin" / "python"
        assert head.python == Path(sys.executable)
        assert [command[1:] for command in installed] == [(str(base.folder / "deploy" / "bootstrap.py"), "--version")]


@pytest.mark.parametrize("names", [("nothing", "main"), ("main", "--all")])
def test_an_unknown_commit_is_told_and_leaves_nothing(repository: Path, names: tuple[str, str]) -> None:
    with pytest.raises(CommitError, match="git"), checked_out(*names, repository):
        pytest.fail("there is no such commit")
    assert git(repository, "worktree", "list").count("\n") == 0


def test_a_commit_that_does_not_start_says_why(repository: Path) -> None:
    with (
        checked_out("HEAD~1", "HEAD", repository) as (base, _),
        pytest.raises(CommitError, match=r"HEAD~1 \(.{10}\) does not start:\nfirst does not start"),
        running(base),
    ):
        pytest.fail("it does not start")
