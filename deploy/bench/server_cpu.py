"""CPU time of the API's process, or of all its workers, from its metrics, where they can be reached."""

import re
from types import TracebackType
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

from deploy.bench.load import LoadClient

_SAMPLE: Final = re.compile(
    rb'^process_(cpu_seconds_total|start_time_seconds)(?:\{worker="\d+"\})? (\S+)$', re.MULTILINE
)


class Reading(NamedTuple):
    """What a process says of itself, and its workers."""

    started: frozenset[float]
    """Tells processes apart."""
    cpu_seconds: float
    """Of all together."""


class ServerCpu:
    """Reads the CPU seconds of the process behind a URL. A context manager.

    Args:
        url: of the API, with its base path; metrics are outside of it.
    """

    def __init__(self, url: str):
        parts = urlsplit(url)
        self._load = LoadClient(f"{parts.scheme}://{parts.netloc}", 1, tolerant=True)

    async def __aenter__(self) -> Self:
        """Connect."""
        await self._load.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self._load.__aexit__(kind, error, trace)

    async def read(self) -> Reading | None:
        """How much so far; None if it can't be told."""
        try:
            status, body = await self._load.request("GET", "/metrics")
        except OSError:
            return None
        found: dict[bytes, list[float]] = {}
        for name, value in _SAMPLE.findall(body) if status == 200 else ():
            found.setdefault(name, []).append(float(value))
        if len(found) < 2:
            return None
        return Reading(frozenset(found[b"start_time_seconds"]), sum(found[b"cpu_seconds_total"]))


def between(before: Reading | None, after: Reading | None) -> float | None:
    """CPU seconds between two readings; None if they are not of one process, as behind a load balancer."""
    if before is None or after is None or before.started != after.started:
        return None
    return after.cpu_seconds - before.cpu_seconds
