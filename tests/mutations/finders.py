"""Which seeds have found the mutations, so that those are tried first: a whole run takes minutes then and not hours."""

from collections import Counter
from pathlib import Path
from typing import Final

import msgspec

PATH: Final = Path(__file__).with_name("found_by.json")


class Finders:
    """The seed that found each mutation the last time.

    Args:
        path: where they are kept: an object of JSON, from the name of a mutation to a seed.
        found_by: what is there.
    """

    def __init__(self, path: Path, found_by: dict[str, int]):
        self._path = path
        self.found_by = found_by

    @classmethod
    def read(cls, path: Path = PATH) -> "Finders":
        """Those that are kept."""
        return cls(path, msgspec.json.decode(path.read_bytes(), type=dict[str, int]) if path.exists() else {})

    def order(self, name: str, seeds: int) -> list[int]:
        """The seeds from 1 on, those that may find a mutation soonest first.

        Args:
            name: of the mutation.
            seeds: how many.
        """
        own, others = self.found_by.get(name), Counter(self.found_by.values())
        return sorted(range(1, seeds + 1), key=lambda seed: (seed != own, -others[seed], seed))

    def note(self, name: str, seed: int) -> None:
        """Keep who has found a mutation."""
        self.found_by[name] = seed
        text = msgspec.json.format(msgspec.json.encode(dict(sorted(self.found_by.items()))), indent=1)
        self._path.write_bytes(text + b"\n")
