"""What reading a definition or a stage raises.

`InvalidField` is the one that the readers of single fields raise; who calls them knows whether a workflow is being
created (`InvalidDefinition`, answered 400 VALIDATION) or a stage is about to run (`StageUnresolvable`, the stage's
error).
"""

from schemas.error_texts import BoundedError


class InvalidField(ValueError):
    """A field of a stage can't be read.

    Attributes:
        path: Where, from the stage's name on, such as `send.amount.amount`; empty if the stage as a whole is meant.
        reason: What is wrong, such as `must be an integer, not "10.5"`.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}" if path else reason)
        self.path = path
        self.reason = reason


class InvalidDefinition(BoundedError, ValueError):
    """No variables can make the definition run. The message names stage, field and reason."""


class StageUnresolvable(BoundedError, ValueError):
    """The stage fails before its first activity. The message is the stage's error and names the field."""
