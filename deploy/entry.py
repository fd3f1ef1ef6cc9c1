"""Where the command `orchestration` begins: help in boxes and colours for who asks for help, and no delay for others.

rich-click changes click's classes, so that has to happen before commands are made of them.
"""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich_click.utils import CommandGroupDict

NAME: Final = "orchestration"

PANELS: "Final[list[CommandGroupDict]]" = [
    {"name": "Use an installation", "commands": ["workflows", "instances", "triggers", "stats", "test", "completion"]},
    {"name": "Try it on this machine", "commands": ["demo", "dev", "sandbox"]},
    {"name": "Run it", "commands": ["api", "engine", "projections", "topics", "migrate"]},
    {"name": "Look into it", "commands": ["doctor", "log", "verify", "rebuild", "bench"]},
]
"""Where `orchestration --help` shows which command. One that is missing here has a panel of its own."""


GROUPS: Final = frozenset({"workflows", "work", "w", "instances", "ins", "i", "triggers", "trig", "t", "topics"})
"""Groups by all their names: alone, each shows its help. A command alone runs, and its errors are plain lines."""


def main() -> None:
    """Run a command."""
    from deploy.client.completion import COMPLETION

    # A shell that asks for completions gives no arguments; and made beautiful, commands complete no names.
    if COMPLETION not in os.environ and asks_for_help(sys.argv[1:]):
        _beautify()
    from deploy.cli import main as commands

    commands(prog_name=NAME)


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for help, or is a group's name alone."""
    is_alone = not arguments or (len(arguments) == 1 and arguments[0] in GROUPS)
    return is_alone or not {"-h", "--help"}.isdisjoint(arguments)


def _beautify() -> None:
    import rich_click.rich_click as style
    from rich_click.patch import patch

    style.TEXT_MARKUP = None
    style.MAX_WIDTH = 120
    style.COMMAND_GROUPS = {NAME: PANELS}
    patch()


if __name__ == "__main__":
    main()
