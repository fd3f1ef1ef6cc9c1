"""How often Python looks for cycles among objects."""

import gc
from typing import Final

MIN_NEW_OBJECTS: Final = 20_000
"""How many new objects there are before it does. Its own 700 is reached every few requests."""


def collect_seldom() -> None:
    """Look seldom, and never at what is loaded so far: it lives as long as the process.

    Each full collection scanned it all, which took a tenth of the CPU of a server, and a seventh of that of a rebuild.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(MIN_NEW_OBJECTS)
