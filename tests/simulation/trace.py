"""The last steps of a simulation, for whoever has to find out why a seed fails."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

KEPT: Final = 50
"""Steps that are shown. More would tell nobody more; remembering all would slow every seed down."""


class Trace:
    """Remembers the last steps. They are put into words when somebody asks."""

    def __init__(self) -> None:
        self._steps: deque[tuple[float, str, str | Callable[..., str], tuple[Any, ...]]] = deque(maxlen=KEPT)

    def add(self, who: str, what: "str | Callable[..., str]", *args: Any) -> None:
        """Remember a step.

        Args:
            who: to whom it happens, such as the name of a process.
            what: the words, or what makes them of the arguments.
            args: see `what`.
        """
        self._steps.append((asyncio.get_running_loop().time(), who, what, args))

    def lines(self) -> list[str]:
        """The steps in words: seconds since the start, who, what."""
        return [
            f"{at:10.3f} s  {who:<14} {what if isinstance(what, str) else what(*args)}"
            for at, who, what, args in self._steps
        ]
