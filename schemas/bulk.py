"""What bulk operations can do."""

from typing import Final, Literal, get_args

Action = Literal["abort", "resume", "retry"]

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
