"""Files that hold secrets: whether others than their owner may use them.

As ssh and psql do; but this only warns, since in a container a file that everybody there may read can be meant. The
group of a file may read it: that is how a process that is not root gets a Secret of Kubernetes (`fsGroup`).
"""

import stat
from pathlib import Path

from schemas.settings import KafkaSettings, ProcessSettings, variable

SECRET = ("encryption_keys_file", "kafka_ssl_keyfile")
"""Settings that name such files."""


def exposed(path: str | Path) -> str | None:
    """What others may do with a file, in words; None if that is nothing, or can't be told.

    Args:
        path: of the file; a link counts as what it leads to.
    """
    try:
        found = Path(path).stat()
    except OSError:  # who needs the file says so
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others than its owner may change {path}"
    if found.st_mode & stat.S_IROTH:
        return f"everybody on this machine may read {path}"
    return None


def exposed_files(settings: ProcessSettings) -> list[str]:
    """Such files that settings name, each in words."""
    if not isinstance(settings, KafkaSettings):
        return []
    named = [(name, getattr(settings, name)) for name in SECRET]
    return [f"{variable(name)}: {how}" for name, path in named if path is not None and (how := exposed(path))]
