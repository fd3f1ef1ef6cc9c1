#!/usr/bin/env python3
"""From a fresh checkout to a running demo or test with nothing but Python 3.11 and pip.

    python3 deploy/bootstrap.py demo            # any command of `orchestration` with its options
    python3 deploy/bootstrap.py test [args]     # linters, types, import rules, then pytest with these arguments
    python3 deploy/bootstrap.py requirements [--only] [extra …]   # the part of the lock for us and these extras

Makes `.venv` beside `pyproject.toml` and installs what `requirements.lock` names into it, by version and hash; skipped
while neither file changed. Standard library only, and the outer pip installs: `ensurepip` need not be there.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import venv
from typing import Any, NoReturn

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
STAMP = VENV / "installed.json"
INPUTS = (ROOT / "pyproject.toml", ROOT / "requirements.lock")
MIN_PYTHON = (3, 11)
USAGE = (
    "usage: bootstrap.py test [pytest arguments] | bootstrap.py requirements [--only] [extra …] | "
    "bootstrap.py <orchestration command> [options]"
)

INSTALLERS = 2
"""How many pip run at once, each with a part of the packages: what they do is unpack, on one core each."""

CHECKS = (("ruff", "check"), ("ruff", "format", "--check"))
"""They take no time, and come first."""
CHECKS_BESIDE = (("mypy",), ("lint-imports",))
"""They run while pytest does, and end it when they fail."""
POLL_SECONDS = 0.2
TIDYING_SECONDS = 60.0
"""How long pytest may take to end what it has started."""

WORKERS = min(4, (os.cpu_count() or 1) + 1)
"""One more than there are cores: it waits for the seeds of the simulation, which run in processes of their own. With
still one more, the suite takes as long, and tests run out of time."""
PYTEST = ("pytest", "-q", "-n", str(WORKERS), "--dist", "loadfile", "--no-loadscope-reorder")
"""Files come in the order that `tests/conftest.py` gives them. By the number of their tests, the one that takes longest
would come last, and one worker would wait for the other."""


def main(arguments: list[str]) -> int:
    """Install what the command needs, then run it; returns its exit status."""
    if sys.version_info < MIN_PYTHON:
        _fail("Python {}.{} or newer is needed, this is {}.{}".format(*MIN_PYTHON, *sys.version_info[:2]))
    if not arguments:
        _fail(USAGE)
    if arguments[0] == "requirements":
        sys.stdout.write(requirements(set(arguments[1:]) - {"--only"}, only="--only" in arguments))
        return 0
    testing = arguments[0] == "test"
    _install({"local", "test"} if testing else {"local"})
    if testing:
        return _test(arguments[1:])
    command = str(BIN / "orchestration")
    os.execv(command, [command, *arguments])  # noqa: S606 - the command is the user's


def _install(extras: set[str]) -> None:
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in INPUTS)).hexdigest()
    python = BIN / "python"
    done = _stamp() if _runs(python) else {}
    if done.get("digest") == digest:
        if extras <= set(done["extras"]):
            return
        extras |= set(done["extras"])
    if subprocess.call([sys.executable, "-m", "pip", "--version"], stdout=subprocess.DEVNULL) != 0:
        _fail(f"{sys.executable} has no pip")
    print(f"installing into {VENV} …", flush=True)
    if not _runs(python):
        venv.create(VENV, clear=True, with_pip=False, symlinks=True)
    STAMP.unlink(missing_ok=True)
    # Everything is in the lock with its hashes, so pip takes nothing else, and ours is built without looking further.
    lines = _entries(requirements(extras | {"build"}))
    parts = [VENV / f"requirements-{number}.txt" for number in range(INSTALLERS)]
    for number, part in enumerate(parts):
        part.write_text("\n".join(lines[number::INSTALLERS]))
    _pip(python, *(("--require-hashes", "--no-deps", "--requirement", str(part)) for part in parts))
    _pip(python, ("--no-deps", "--no-build-isolation", "--editable", str(ROOT)))
    STAMP.write_text(json.dumps({"digest": digest, "extras": sorted(extras)}))


def _pip(python: pathlib.Path, *calls: tuple[str, ...]) -> None:
    """Run pip with these arguments, several times at once."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python), "install", "--quiet"]
    if not sys.dont_write_bytecode:  # or what is loaded would be compiled at each start
        pip.append("--no-compile")  # most is never loaded, and the rest is compiled when it is
    # The user's pip settings for other installs must not decide where this one goes.
    environment = {**os.environ, "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_ROOT_USER_ACTION": "ignore"}
    running = [subprocess.Popen([*pip, *arguments], env=environment) for arguments in calls]  # noqa: S603 - our own
    statuses = [process.wait() for process in running]
    if any(statuses):
        _fail("pip could not install the dependencies, see its message above")


def requirements(extras: set[str], *, only: bool = False) -> str:
    """The part of the lock that our dependencies and these extras need, or only these extras, hashes included.

    The lock has everything for all extras, and says of each package which others need it (`# via`).
    """
    import tomllib  # not there before Python 3.11, which gets a message of ours

    project = tomllib.loads(INPUTS[0].read_text())["project"]
    named = [
        *([] if only else project["dependencies"]),
        *(line for extra in extras for line in project["optional-dependencies"][extra]),
    ]
    wanted = {_name(line) for line in named}
    entries = _entries(INPUTS[1].read_text())
    needed_by = [(entry, set(re.findall(r"^ +#(?: via)? +(\S+)", entry, re.MULTILINE))) for entry in entries]
    found: set[str] = set()
    while found != (found := wanted | {_name(entry) for entry, parents in needed_by if parents & found}):
        pass
    return "".join(f"{entry}\n" for entry in entries if _name(entry) in found)


def _entries(lock: str) -> list[str]:
    """What a lock has of each package: its line, with the indented ones that follow."""
    return re.findall(r"^(?=\w).*(?:\n[ ]+.*)*", lock, re.MULTILINE)


def _name(requirement: str) -> str:
    """The normalized name of the package that a requirement is about."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement, maxsplit=1)[0]).lower()


def _test(arguments: list[str]) -> int:
    for check in CHECKS:
        print("$ " + " ".join(check), flush=True)
        if (status := subprocess.call(_program(check), cwd=ROOT)) != 0:  # noqa: S603 - our own commands
            return _failed(check, status)
    with contextlib.ExitStack() as stack:
        beside = [_Beside(check, stack) for check in CHECKS_BESIDE]
        tests = (*PYTEST, *arguments)
        print("$ " + " & ".join(" ".join(command) for command in (*CHECKS_BESIDE, tests)), flush=True)
        pytest = subprocess.Popen(_program(tests), cwd=ROOT, env=_keeping_bytecode())  # noqa: S603
        stack.callback(pytest.wait)  # Ctrl-C reaches it too, and it tidies up
        while pytest.poll() is None or any(check.status is None for check in beside):
            time.sleep(POLL_SECONDS)
            for check in beside:
                if check.status:
                    _interrupt(pytest)
                    print(check.output)
                    return _failed(check.command, check.status)
    return _failed(tests, pytest.returncode) if pytest.returncode else 0


def _keeping_bytecode() -> dict[str, str]:
    """The environment for the tests. They start hundreds of processes, which would each compile all of our modules."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _interrupt(process: "subprocess.Popen[bytes]") -> None:
    """End it, and let it tidy up."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(TIDYING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


class _Beside:
    """A check that runs beside something else; its output is kept."""

    def __init__(self, command: tuple[str, ...], stack: contextlib.ExitStack):
        self.command = command
        self._output = output = stack.enter_context(contextlib.closing(tempfile.TemporaryFile("w+")))  # noqa: SIM115
        self._process = subprocess.Popen(_program(command), cwd=ROOT, stdout=output, stderr=output)  # noqa: S603
        stack.callback(self._process.kill)

    @property
    def status(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.poll()

    @property
    def output(self) -> str:
        """What it has written."""
        self._output.seek(0)
        return self._output.read()


def _program(command: tuple[str, ...]) -> list[str]:
    return [str(BIN / command[0]), *command[1:]]


def _failed(command: tuple[str, ...], status: int) -> int:
    print(f"bootstrap: {command[0]} failed", file=sys.stderr)
    return status


def _runs(python: pathlib.Path) -> bool:
    """Whether the environment works; if its Python was removed or upgraded, it is made again."""
    try:
        return subprocess.call([str(python), "-c", ""], stderr=subprocess.DEVNULL) == 0  # noqa: S603
    except OSError:
        return False


def _stamp() -> dict[str, Any]:
    """What was installed last: the `digest` of our inputs and the `extras`."""
    try:
        return dict(json.loads(STAMP.read_text()))
    except (OSError, ValueError):
        return {}


def _fail(message: str) -> NoReturn:
    sys.exit(f"bootstrap: {message}")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        _fail(str(error))
