"""What is wrong with a file, so that it can't be used."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from deploy.errors import DeployError

MAX_SHOWN: Final = 50
"""Most problems of a file that are shown. A file in another format has one per line."""


class Problem(NamedTuple):
    """Something that is wrong with a file.

    Attributes:
        message: what is wrong, and what would be right.
        line, column: where, from 1; 0 for the file as a whole.
    """

    message: str
    line: int = 0
    column: int = 0


class Unusable(DeployError):
    """A file can't be used.

    Args:
        file: which.
        problems: why; at least one.
    """

    def __init__(self, file: Path, problems: Sequence[Problem]):
        self.file, self.problems = file, problems
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """One line for each problem: `file:line:column: what is wrong`."""
        shown = [
            f"{self.file}:{problem.line}:{problem.column}: {problem.message}"
            if problem.line
            else f"{self.file}: {problem.message}"
            for problem in self.problems[:MAX_SHOWN]
        ]
        left_out = len(self.problems) - len(shown)
        return shown + ([f"{self.file}: and {left_out} more"] if left_out else [])
