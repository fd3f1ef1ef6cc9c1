"""Java's ahead-of-time cache for Kafka: classes loaded and linked, and which methods are worth compiling.

With it Kafka starts in half the time, and the optimizing compiler knows from the start what it otherwise finds out
during the first minutes, at the cost of as much processor time as the broker itself. Java writes the cache at the end
of a training run (JEP 483, 514 and 515, Java 25), which we make once, with the records and clients of our kind.

<cache>/orchestration/kafka-4.3.1/aot-<Java and class path>
    Java's cache. Empty: the training failed, and is not tried again until the file is deleted.
"""

import hashlib
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from deploy.embedded.errors import EmbeddedError
from deploy.embedded.jars import locked

logger = logging.getLogger(__name__)

TRAINING_TIMEOUT_SECONDS: Final = 60.0
"""Deadline of the training's load, which takes eight seconds. Without it a hanging Kafka would hang the first start."""
MAX_CACHES: Final = 4
"""How many caches are kept. Each belongs to one installed Java and takes 75 MB; the oldest is deleted for a new one."""
WITHOUT_CACHE: Final = ("-XX:TieredStopAtLevel=1",)
"""Without a cache, the optimizing compiler pays off only after minutes of full load."""
WITH_OPTIMIZER: Final = "-XX:TieredStopAtLevel=4"
"""For the training, also where somebody has turned the optimizing compiler off (`JAVA_TOOL_OPTIONS`)."""

Broker = Callable[[Path, Sequence[str]], AbstractContextManager[str]]
"""Runs a Kafka in a folder with JVM options and gives its bootstrap servers; at the end it is stopped in order."""


def aot_options(java: Path, jars: Sequence[Path], folder: Path, broker: Broker | None) -> tuple[str, ...]:
    """JVM options that use the cache, which is made first if it isn't there.

    Args:
        java: the Java that will run Kafka.
        jars: the class path.
        folder: where caches are kept.
        broker: runs the Kafka that is trained; without it a cache is used, but not made.

    Returns:
        Options for a Kafka without a cache if Java does not know such caches, or if the training failed.
    """
    cache = folder / f"aot-{_digest(java, jars)}"
    if not cache.exists():
        if broker is None or not _supported(java):
            return WITHOUT_CACHE
        with locked(folder / "lock"):
            # Another process may have finished while we waited for the lock.
            if not cache.exists():
                _make(cache, broker)
    return (f"-XX:AOTCache={cache}",) if cache.stat().st_size else WITHOUT_CACHE


def _digest(java: Path, jars: Sequence[Path]) -> str:
    release = java.parent.parent / "release"
    parts = [str(java), release.read_text() if release.exists() else "", *map(str, jars)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _supported(java: Path) -> bool:
    command = [str(java), "-XX:+PrintFlagsFinal", "-version"]
    flags = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 - our own
    return " AOTCacheOutput " in flags


def _make(cache: Path, broker: Broker) -> None:
    sys.stderr.write("preparing Kafka for quick starts (once; takes about 20 seconds)\n")
    new = cache.with_name(cache.name + ".new")
    new.unlink(missing_ok=True)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="orchestration-") as folder,
            broker(Path(folder), [WITH_OPTIMIZER, f"-XX:AOTCacheOutput={new}"]) as bootstrap_servers,
        ):
            subprocess.run(  # noqa: S603 - the command is our own
                [sys.executable, "-P", "-m", "deploy.embedded.training", bootstrap_servers],
                check=True,
                capture_output=True,
                timeout=TRAINING_TIMEOUT_SECONDS,
            )
    except (EmbeddedError, OSError, subprocess.SubprocessError) as error:
        logger.warning("Kafka could not be prepared, so its starts take longer: %s", error)
    if new.exists():
        new.replace(cache)
    else:
        cache.touch()
    caches = sorted(cache.parent.glob("aot-*"), key=lambda path: path.stat().st_mtime)
    for old in caches[:-MAX_CACHES]:
        old.unlink()
