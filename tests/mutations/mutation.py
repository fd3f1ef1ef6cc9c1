"""A mutation: a small change of one file that breaks a promise."""

from dataclasses import dataclass
from pathlib import Path


class DoesNotApply(Exception):
    """The text that a mutation replaces is not in its file exactly once: the code has changed since."""


@dataclass(frozen=True)
class Mutation:
    """A planted bug.

    Attributes:
        name: short, for `--only`.
        path: the file, from the root of the sources.
        old: text that is in the file exactly once.
        new: what takes its place.
        harm: what a user would lose.
        without_effect: why nothing can be lost by it after all, if that has been shown; such a mutation is not run.
    """

    name: str
    path: str
    old: str
    new: str
    harm: str
    without_effect: str = ""

    def mutated(self, root: Path) -> str:
        """The file's text with the bug.

        Args:
            root: of the sources.

        Raises:
            DoesNotApply: the old text is not there, or several times.
        """
        path = root / self.path
        text = path.read_text() if path.exists() else ""
        count = text.count(self.old)
        if count != 1:
            raise DoesNotApply(f"{self.name}: the text to replace is {count} times in {self.path}")
        return text.replace(self.old, self.new)
