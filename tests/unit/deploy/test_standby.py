"""What `orchestration dev` has loaded runs when it is told to, and not if nobody is there any more to tell it."""

import os
import subprocess
import sys

SECONDS = 60.0


def test_it_runs_once_it_is_told() -> None:
    assert "unknown setting ORCHESTRATION_PROT" in ended("api", b"1").stderr


def test_it_does_not_run_when_whoever_would_tell_it_has_gone() -> None:
    done = ended("api", b"")
    assert (done.returncode, done.stderr) == (0, "")


def test_all_that_a_command_runs_is_loaded_before() -> None:
    """The command itself loads no module of ours any more."""
    program = (
        "import sys; from deploy import standby, cli\n"
        "def run(*_, **__):\n"
        "    from schemas.settings import {0}Settings, load\n"
        "    import deploy.process as process\n"
        "    process.run = lambda settings, work, **context: work.close()\n"
        "    before = set(sys.modules)\n"
        "    process.run_{1}(load({0}Settings))\n"
        "    print(sorted(name for name in set(sys.modules) - before if name.split('.')[0] in {2}))\n"
        "standby.commands = run\n"
        "standby.os.read = lambda *_: b'1'\n"
        "standby.os.close = lambda _: None\n"
        "standby.main(0, '{1}')\n"
    )
    ours = ("api", "engine", "projections", "schemas", "deploy")
    for settings, command in (("Api", "api"), ("Engine", "engine"), ("Projections", "projections")):
        text = program.format(settings, command, ours)
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=SECONDS, check=True)
        assert done.stdout == "[]\n", command


def ended(command: str, told: bytes) -> subprocess.CompletedProcess[str]:
    """What became of a command with a wrong setting that was told so much."""
    reading, writing = os.pipe()
    os.write(writing, told)
    os.close(writing)
    try:
        return subprocess.run(
            [sys.executable, "-m", "deploy.standby", str(reading), command],
            pass_fds=[reading],
            env=os.environ | {"ORCHESTRATION_PROT": "1"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    finally:
        os.close(reading)
