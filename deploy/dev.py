"""`orchestration dev`: everything on this machine until Ctrl-C."""

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from types import FrameType

from deploy.errors import Stopped
from deploy.installation import Installation, Options


def run(options: Options) -> None:
    """Run everything until the user asks to stop.

    Raises:
        DeployError: something can't start or go on; nothing is left running.
        Stopped: the user asked to stop before everything was ready.
    """
    installation = Installation(options)
    with stop_signals(installation), installation:
        sys.stdout.write(f"ready {installation.url}\n")
        if installation.console_url:
            sys.stdout.write(f"console {installation.console_url}\n")
        sys.stdout.write("for doctor, log, verify and other programs, in another terminal:\n")
        for name, value in installation.environment.items():
            sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
        sys.stdout.flush()
        with contextlib.suppress(Stopped):
            installation.supervise()


@contextlib.contextmanager
def stop_signals(installation: Installation) -> Iterator[None]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into `Stopped`; the next one kills everything at once."""

    def handle(number: int, _: FrameType | None) -> None:
        if installation.stopping:
            installation.kill()
            os._exit(128 + number)
        installation.stopping = True
        raise Stopped

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
