"""One answer to Prometheus with the metrics of all workers, whichever of them is asked.

Each sample has the label `worker`, so counters never seem to go back, and CPU and memory are those of each process.
"""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.workers.place import Place, own_path

PATH: Final = "/metrics"
ASK_SECONDS: Final = 4.0
"""How long a worker may take to answer. Prometheus gives up after 5 s, and then sees none of them."""
WORKER_UP: Final = "orchestration_api_worker_up"
_REQUEST: Final = f"GET {PATH} HTTP/1.0\r\n\r\n".encode()
_OK: Final = f" {HTTPStatus.OK} ".encode()


class AllMetrics:
    """An application whose `/metrics` are those of all workers. On a worker's own socket, they are its own.

    Args:
        app: of the worker.
        place: of the worker.
    """

    def __init__(self, app: ASGIApp, place: Place):
        self._app = app
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        app = self._app
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] in ("GET", "HEAD"):
            _, port = scope["server"]
            if port is not None:
                app = Response(await self._of_all(), media_type=CONTENT_TYPE_LATEST)
        await app(scope, receive, send)

    async def _of_all(self) -> str:
        numbers = range(self._place.workers)
        answers = await asyncio.gather(*(_metrics_of(self._place.folder, number) for number in numbers))
        return merged(dict(zip(numbers, answers, strict=True)))


async def _metrics_of(folder: Path, number: int) -> str | None:
    """The metrics of a worker; None if it does not answer."""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            reader, writer = await asyncio.open_unix_connection(own_path(folder, number))
            try:
                writer.write(_REQUEST)
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    return body.decode() if _OK in head.partition(b"\r\n")[0] else None


def merged(answers: Mapping[int, str | None]) -> str:
    """One answer out of several, in the text format of Prometheus, where all samples of a metric come together.

    Args:
        answers: of the workers, by their numbers; None of one that did not answer.
    """
    ups = [_labelled(f"{WORKER_UP} {int(answer is not None)}", number) for number, answer in answers.items()]
    samples = {f"# HELP {WORKER_UP} Whether the worker answers.": [f"# TYPE {WORKER_UP} gauge", *ups]}
    for number, answer in answers.items():
        for line in (answer or "").splitlines():
            if line.startswith("# HELP "):
                of_metric = samples.setdefault(line, [])
            elif not line.startswith("#"):
                of_metric.append(_labelled(line, number))
            elif not of_metric:
                of_metric.append(line)
    return "".join(f"{line}\n" for head, lines in samples.items() for line in (head, *lines))


def _labelled(sample: str, number: int) -> str:
    """A sample with the label of a worker."""
    name, brace, rest = sample.partition("{")
    if brace:
        return f'{name}{{worker="{number}",{rest}'
    name, _, value = sample.partition(" ")
    return f'{name}{{worker="{number}"}} {value}'
