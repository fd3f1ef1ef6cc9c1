"""A command of ours that has loaded its code, and runs once it is told to.

Kafka takes some seconds to start, and to load our modules takes one: `orchestration dev` lets both happen side by side.

    python -m deploy.standby <descriptor> <command>

The descriptor is the reading end of a pipe: one byte tells the command to run. It does not if the pipe ends before.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final

from deploy.cli import main as commands
from deploy.entry import NAME

MODULES: Final[Mapping[str, Sequence[str]]] = {
    "api": ("deploy.process", "api.app"),
    "engine": ("deploy.process", "engine.process"),
    "projections": ("deploy.process", "projections.process"),
    "sandbox": ("deploy.sandbox.server",),
}
"""What each command loads when it runs."""


def main(descriptor: int, command: str) -> None:
    """Load what a command needs, wait, and run it."""
    for module in MODULES[command]:
        import_module(module)
    if os.read(descriptor, 1):
        os.close(descriptor)
        commands([command], prog_name=NAME)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
