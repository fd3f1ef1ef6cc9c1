"""What reading a definition or a stage raises.

`InvalidField` is the one that the readers of single fields raise; who calls them knows whether a workflow is being
created (`InvalidDefinition`, answered 400 VALIDATION) or a stage is about to run (`StageUnresolvable`, the stage's
error).
"""

from typing import TypeAlias

from schemas.error_texts import BoundedError

Path: TypeAlias = tuple[str | int, ...]
"""Where something is in a definition: keys and indices from the outermost object on."""


class InvalidField(ValueError):
    """A field of a definition can't be read.

    Attributes:
        path: Where, such as `("send", "amount", "amount")`; empty if the object that is read as a whole is meant.
        reason: What is wrong, such as `must be an integer, not "10.5"`.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(located(path, reason))
        self.path = path
        self.reason = reason


def located(path: Path, reason: str) -> str:
    """The reason with its place before it: `stages[0].send.amount: must be an object, not an integer`."""
    return f"{shown_path(path)}: {reason}" if path else reason


def shown_path(path: Path) -> str:
    """A path as messages show it: `stages[0].send.amount.amount`; `""` for the whole."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


class InvalidDefinition(BoundedError, ValueError):
    """No variables can make the definition run. The message names stage, field and reason."""


class StageUnresolvable(BoundedError, ValueError):
    """The stage fails before its first activity. The message is the stage's error and names the field."""
