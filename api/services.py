"""What every operation has at hand, and what it is made of."""

import time
from collections.abc import Callable
from uuid import UUID

import msgspec
from msgspec import Struct

from api.command_log import KafkaCommandLog
from api.ids import new_id
from api.log_reader import KafkaLogReader
from api.metrics import Metrics
from api.ports import CommandLog, InstanceRow, Links, LogReader, ReadModel, ReadPositions
from api.streams.hub import Hub
from projections.database import Postgres
from projections.ports import Database
from projections.queries.followed import FollowedInstances
from projections.queries.positions import ReadPositions as QueriedPositions
from projections.queries.read_model import ReadModel as QueriedReadModel
from schemas.kafka import Kafka, clients_of
from schemas.repeats import Repeats
from schemas.settings import ApiSettings, StackSettings, load
from schemas.stack.links import LinkFetcher


class Services(Struct, frozen=True):
    """The outside world of the operations, and how they are set."""

    settings: ApiSettings
    read_model: ReadModel
    positions: ReadPositions
    command_log: CommandLog
    links: Links
    streams: Hub
    log_reader: LogReader
    new_id: Callable[[], UUID] = new_id
    """An id that nothing has yet."""
    repeats: Repeats = msgspec.field(default_factory=Repeats)
    """Faults that requests have met."""


class Outside(Struct, frozen=True, kw_only=True):
    """What a process of the API reaches, and its clocks. A simulation has them of its own."""

    kafka: Kafka
    database: Database
    links: Links
    clock: Callable[[], float] = time.time
    """Seconds since 1970."""
    monotonic: Callable[[], float] = time.monotonic
    """Seconds that only go forwards."""
    new_id: Callable[[], UUID] = new_id


def outside(settings: ApiSettings) -> Outside:
    """Kafka and Postgres as the settings say, and the stack as the environment says.

    Raises:
        SettingsError: the settings for Kafka or the stack can't be used.
    """
    return Outside(kafka=clients_of(settings), database=Postgres(settings), links=LinkFetcher(load(StackSettings)))


def services_of(
    settings: ApiSettings, metrics: Metrics, outside: Outside, render: Callable[[InstanceRow], object]
) -> Services:
    """The services of a process, not opened.

    Args:
        settings: of the API.
        metrics: counts what is appended.
        outside: what they reach.
        render: makes an instance what streams show.
    """
    read_model = QueriedReadModel(settings, outside.database, outside.monotonic)
    positions = QueriedPositions(settings, outside.database)
    command_log = KafkaCommandLog(
        outside.kafka, settings, metrics, positions, clock=outside.clock, monotonic=outside.monotonic
    )
    followed = FollowedInstances(outside.database)
    streams = Hub(followed, positions, render, metrics.streams, settings.max_streams)
    log_reader = KafkaLogReader(outside.kafka, settings)
    return Services(settings, read_model, positions, command_log, outside.links, streams, log_reader, outside.new_id)
