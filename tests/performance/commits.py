"""Commits beside each other: a work tree of each, with its environment, and installations of them."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from deploy.embedded.child import Child

ROOT: Final = Path(__file__).resolve().parents[2]
LOCK: Final = "requirements.lock"
READY: Final = re.compile(r"^ready (http\S+)$", re.MULTILINE)
READY_SECONDS: Final = 240.0
"""The first start prepares Kafka for quick starts, which takes twenty seconds on a machine that is not busy."""
STOP_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1
SHOWN_LINES: Final = 15


class CommitError(Exception):
    """A commit does not exist, can't be installed, or does not run."""


class Commit(NamedTuple):
    """A commit that can be run."""

    name: str
    """As the user says it."""
    id: str
    folder: Path
    """Its work tree."""
    python: Path

    @property
    def short(self) -> str:
        """For people."""
        return self.id[:10]

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which its own modules are found first."""
        return {**os.environ, "PYTHONPATH": str(self.folder)}


class Running(NamedTuple):
    """An installation."""

    url: str
    pid: int


@contextmanager
def checked_out(base: str, head: str, root: Path = ROOT) -> Iterator[tuple[Commit, Commit]]:
    """Two commits in work trees of their own, which go at the end.

    Args:
        base: a commit, branch or tag.
        head: the other one.
        root: of the repository.

    Raises:
        CommitError: there is no such commit, or it can't be installed.
    """
    with tempfile.TemporaryDirectory(prefix="orchestration-commits-") as folder, ExitStack() as stack:
        found = [(name, _git(root, "rev-parse", "--verify", f"{name}^{{commit}}")) for name in (base, head)]
        commits = []
        for place, (name, id) in zip(("base", "head"), found, strict=True):
            tree = Path(folder) / place
            _git(root, "worktree", "add", "--detach", str(tree), id)
            stack.callback(_git, root, "worktree", "remove", "--force", str(tree))
            commits.append(Commit(name, id, tree, _python(tree, root)))
        yield commits[0], commits[1]


@contextmanager
def running(commit: Commit) -> Iterator[Running]:
    """An installation of a commit as `orchestration dev --sandbox` has it, on data of its own.

    Raises:
        CommitError: it does not start.
    """
    with tempfile.TemporaryDirectory(prefix="orchestration-data-") as folder:
        output = Path(folder) / "output"
        child = Child(
            [
                *(str(commit.python), "-P", "-m", "deploy.cli", "dev", "--sandbox"),
                *("--port", "0", "--data-dir", str(Path(folder) / "data")),
            ],
            pid_file=Path(folder) / "pid",
            output=output,
            grace_seconds=STOP_SECONDS,
            environment=commit.environment,
            directory=Path(folder),
        )
        try:
            yield Running(_ready(child, output, commit), child.process.pid)
        finally:
            child.stop(STOP_SECONDS)


def _ready(child: Child, output: Path, commit: Commit) -> str:
    """The URL of an installation, once it is ready."""
    deadline = time.monotonic() + READY_SECONDS
    while not (found := READY.search(output.read_text(errors="replace"))):
        if child.returncode is not None or time.monotonic() > deadline:
            last = "\n".join(output.read_text(errors="replace").splitlines()[-SHOWN_LINES:])
            raise CommitError(f"{commit.name} ({commit.short}) does not start:\n{last}")
        time.sleep(POLL_SECONDS)
    return found[1]


def _python(tree: Path, root: Path) -> Path:
    """The Python that runs a work tree: ours if it has the same lock, else one of its own.

    One environment for both commits also means one Java with one ahead-of-time cache, so neither is quicker by that.
    """
    python = Path(sys.executable)
    if (tree / LOCK).read_bytes() != (root / LOCK).read_bytes():
        # Not the Python of our environment: it has no pip.
        base = str(getattr(sys, "_base_executable", sys.executable))
        _run(base, str(tree / "deploy" / "bootstrap.py"), "--version")
        python = tree / ".venv" / "bin" / "python"
    code = "import deploy, engine; print(deploy.__file__, engine.__file__)"
    loaded = _run(str(python), "-P", "-c", code, environment={**os.environ, "PYTHONPATH": str(tree)})
    if not all(Path(file).is_relative_to(tree.resolve()) for file in loaded.split()):
        raise CommitError(f"{python} does not run {tree}, but {loaded}")
    return python


def _git(root: Path, *arguments: str) -> str:
    return _run("git", "-C", str(root), *arguments)


def _run(*command: str, environment: dict[str, str] | None = None) -> str:
    """What a command says.

    Raises:
        CommitError: it fails.
    """
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if ended.returncode != 0:
        raise CommitError(f"{' '.join(command)}:\n{ended.stderr.strip()}")
    return ended.stdout.strip()
