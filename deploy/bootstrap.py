#!/usr/bin/env python3
"""From a fresh checkout to a running demo or test with nothing but Python 3.11 and pip.

    python3 deploy/bootstrap.py demo            # any command of `orchestration` with its options
    python3 deploy/bootstrap.py test [args]     # linters, types, import rules, then pytest with these arguments

Makes `.venv` beside `pyproject.toml` and installs the versions in `requirements.lock` into it; skipped while neither
file changed. Standard library only, and the outer pip installs: `ensurepip` need not be there.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import venv
from typing import Any, NoReturn

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
STAMP = VENV / "installed.json"
INPUTS = (ROOT / "pyproject.toml", ROOT / "requirements.lock")
MIN_PYTHON = (3, 11)
USAGE = "usage: bootstrap.py test [pytest arguments] | bootstrap.py <orchestration command> [options]"

CHECKS = (
    ("ruff", "check"),
    ("ruff", "format", "--check"),
    ("mypy",),
    ("lint-imports",),
)

PYTEST = ("pytest", "-q", "-n", "logical", "--maxprocesses", "4", "--dist", "loadfile")
"""A worker per core, each with a Kafka and a Postgres of its own: much of the time tests wait for deadlines."""


def main(arguments: list[str]) -> int:
    """Install what the command needs, then run it; returns its exit status."""
    if sys.version_info < MIN_PYTHON:
        _fail("Python {}.{} or newer is needed, this is {}.{}".format(*MIN_PYTHON, *sys.version_info[:2]))
    if not arguments:
        _fail(USAGE)
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
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    wanted = f"{ROOT}[{','.join(sorted(extras))}]"
    # The user's pip settings for other installs must not decide where this one goes.
    environment = {**os.environ, "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_ROOT_USER_ACTION": "ignore"}
    status = subprocess.call(  # noqa: S603 - the command is our own
        [*pip, "install", "--quiet", "-c", str(INPUTS[1]), "-e", wanted], env=environment
    )
    if status != 0:
        _fail("pip could not install the dependencies, see its message above")
    STAMP.write_text(json.dumps({"digest": digest, "extras": sorted(extras)}))


def _test(arguments: list[str]) -> int:
    for check in (*CHECKS, (*PYTEST, *arguments)):
        print("$ " + " ".join(check), flush=True)
        status = subprocess.call([str(BIN / check[0]), *check[1:]], cwd=ROOT)  # noqa: S603 - our own commands
        if status != 0:
            print(f"bootstrap: {check[0]} failed", file=sys.stderr)
            return status
    return 0


def _runs(python: pathlib.Path) -> bool:
    """Whether the environment works; one whose Python was removed or upgraded is made anew."""
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
