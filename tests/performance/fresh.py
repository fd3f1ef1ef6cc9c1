"""A fresh installation, as `orchestration dev` has it, in a folder that goes away with it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from deploy.installation import Installation, Options

NOOP: Final[dict[str, Any]] = {"stages": [{"noop": {}}]}


@contextmanager
def fresh_installation() -> Iterator[Installation]:
    """It, with a sandbox."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Installation(Options(0, Path(folder), sandbox=True, quiet=True)) as installation,
    ):
        yield installation
