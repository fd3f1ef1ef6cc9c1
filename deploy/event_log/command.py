"""`orchestration log`: reads, and writes to the terminal."""

import asyncio
import time
from typing import Final

import click

from deploy.event_log.reading import EventLog, Query, Span
from deploy.event_log.shown import as_json, as_line
from deploy.progress import Progress
from schemas.kafka import Kafka, clients_of
from schemas.settings import KafkaSettings

FLUSH_SECONDS: Final = 0.2
"""Lines wait for others so long, at most. To write each by itself takes longer than to read it."""


def show(settings: KafkaSettings, query: Query, *, json: bool, kafka: Kafka | None = None) -> None:
    """Write to standard output what a query asks for.

    Args:
        settings: which log.
        query: what of it.
        json: as JSON, one object a line.
        kafka: where it is; as the settings say when not given.

    Raises:
        EventLogError: it is not there.
        KafkaFault: Kafka is away or refuses.
    """
    asyncio.run(_show(kafka or clients_of(settings), settings, query, json=json))


async def _show(kafka: Kafka, settings: KafkaSettings, query: Query, *, json: bool) -> None:
    progress, output, count, read = Progress("records"), _Output(), 0, 0
    where = ""

    def chosen(span: Span) -> None:
        nonlocal where
        where = f"partition {span.place.partition} of {span.place.topic}, offsets {span.start} to {span.limits.end}"

    def show(done: int, total: int) -> None:
        nonlocal read
        read = done
        output.flush(progress)
        if done < total:
            progress.show(done, total)

    async for entry in EventLog(kafka, settings, show).entries(query, chosen):
        count += 1
        output.write(as_json(entry) if json else as_line(entry, with_id=query.id is None), progress)
    output.flush(progress)
    progress.end(f"{count:,} records of {where}; {read:,} were read in {progress.seconds:.1f} s")


class _Output:
    """Standard output, a few lines at a time."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._flushed_at = time.monotonic()

    def write(self, line: str, progress: Progress) -> None:
        self._lines.append(line)
        if time.monotonic() - self._flushed_at > FLUSH_SECONDS:
            self.flush(progress)

    def flush(self, progress: Progress) -> None:
        self._flushed_at = time.monotonic()
        if self._lines:
            progress.clear()
            click.echo("\n".join(self._lines))
            self._lines.clear()
