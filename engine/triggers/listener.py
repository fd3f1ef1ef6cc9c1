"""One topic that is listened to: its consumer group, messages in, commands for the triggers that they fire out.

Each topic has a group and a listener of its own, so one that is away, or holds what nobody can read, stops none of the
others. Where a listener begins is decided before the first message is taken (see `positions`).
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final

from engine.errors import AppendFailed, ReadFailed
from engine.metrics import Metrics
from engine.ports import Clock, EventLog
from engine.triggers.definitions import DefinitionsReader
from engine.triggers.errors import TopicAway, TopicChanged, TopicError
from engine.triggers.failures import FilterFailures
from engine.triggers.matching import Message, NoEnvelope, fire, read_message, size_of
from engine.triggers.positions import Positions, is_same_topic
from schemas.commands import Command
from schemas.kafka import (
    FoundTopic,
    Kafka,
    KafkaFault,
    Member,
    Membership,
    NameTaken,
    Place,
    TopicFinder,
    UnreadableRecords,
    staying,
)
from schemas.log_integrity import LogFault
from schemas.process_name import ProcessName
from schemas.records import Record
from schemas.repeats import Repeats
from schemas.settings import EngineSettings

logger = logging.getLogger(__name__)

MAX_MESSAGES: Final = 200
"""Messages that are taken at once; each may fire several triggers."""

CHUNK_SECONDS: Final = 20.0
"""How long the messages taken at once may occupy the listener, whose expressions may be slow; the rest is taken again.
Much longer, and the group would think that it is gone."""

MAX_BYTES_AT_ONCE: Final = 64 * 1024
"""Size of the messages that are read before others of the engine have their turn. Those that fire nothing wait for
nothing: without it, megabytes of them would stop the engine until `CHUNK_SECONDS` are over."""

MAX_UNSENT_BYTES: Final = 4 * 1024 * 1024
"""Size of the commands that wait to be sent together. Each one carries its message and the workflow, so without it a
few large ones that fire many triggers would fill the memory."""

TAKE_SECONDS: Final = 1.0
"""How long to wait for messages before positions are written and the topic is looked at."""

NOTE_SECONDS: Final = 1.0
"""Between two writes of positions. After a crash, messages of this time come again, which fire nothing twice."""

SKIPPED_SECONDS: Final = 10.0
"""Between two lines about skipped messages. A megabyte of compressed records would become a gigabyte of lines."""

LOOK_SECONDS: Final = 5.0
"""How long it may go unnoticed, while no message comes, that a topic was made, deleted or got a new partition."""

CLOCK_SKEW_MS: Final = 60_000
"""How far the clock of a producer may be behind ours. Without it the first messages of a topic that is made later could
count as its history."""

ENDS_SECONDS: Final = 10.0
"""Deadline of looking where a topic ends."""

LAST_POSITIONS_SECONDS: Final = 2.0
"""How long a stop may wait for the last positions. Without them a few messages come again."""

FIRST_PAUSE_SECONDS: Final = 1.0
MAX_PAUSE_SECONDS: Final = 30.0
"""Pauses before a topic is tried again double up to this; without them a lasting fault would be a busy loop."""

MAX_AWAY_SECONDS: Final = 2.0
"""The same while Kafka is away: how long it may be back before we notice."""

AWAY: Final = (KafkaFault, OSError, AppendFailed, ReadFailed)
"""Errors that tell that Kafka is away, but for some of the first."""

MAX_FAILURES_UNREADY: Final = 3
"""Failures in a row after which the engine counts as ready without the topic: it does all its other work."""


class Listener:
    """Listens to one topic for triggers, sharing its partitions with the other engines.

    Args:
        topic: its name.
        kafka: where the topic is.
        settings: the engine's place in the group.
        name: of the engine in the group.
        log: appends the commands.
        reader: the current triggers and workflows.
        positions: where listening goes on.
        finder: tells whether the topic exists.
        failures: is told of filters that could not be evaluated.
        check: raises if the settings do not fit the log: commands would go where nobody reads them.
        metrics: what the engine counts.
        clock: the time.
    """

    def __init__(
        self,
        topic: str,
        kafka: Kafka,
        settings: EngineSettings,
        *,
        name: ProcessName,
        log: EventLog,
        reader: DefinitionsReader,
        positions: Positions,
        finder: TopicFinder,
        failures: FilterFailures,
        check: Callable[[], Awaitable[None]],
        metrics: Metrics,
        clock: Clock,
    ):
        self.topic = topic
        self.trouble: str | None = None
        """Why the topic is not listened to at the moment."""
        self._group = f"{settings.topic_prefix}orchestration-triggers.{topic}"
        self._kafka, self._settings, self._name = kafka, settings, name
        self._log, self._reader, self._failures, self._check = log, reader, failures, check
        self._positions, self._finder, self._metrics, self._clock = positions, finder, metrics, clock
        self._found = FoundTopic("", 0)
        self._away_since_ms: int | None = None
        self.settled = False
        """Whether it has listened, or the topic is known to be in trouble."""
        self._failed = 0
        self._look_at = self._note_at = 0.0
        self._skipped = Repeats(SKIPPED_SECONDS, lambda: self._clock.monotonic())
        self._next: dict[int, int] = {}
        self._unsent: list[tuple[str, Command]] = []
        self._unsent_bytes = 0

    async def run(self) -> None:
        """Listen until cancelled. Whatever goes wrong is told and tried again."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._listen()
            except TopicAway as away:
                self.settled = True
                self._away_since_ms = self._away_since_ms or self._now_ms()
                self._tell(away)
                pause = LOOK_SECONDS
            except NameTaken as error:
                self._name.taken(error.name)
                pause = FIRST_PAUSE_SECONDS
            except TopicChanged as change:
                self._tell(change)
                pause = FIRST_PAUSE_SECONDS
            except Exception as error:
                pause = min(max(FIRST_PAUSE_SECONDS, 2**self._failed), _longest_pause(error))
                self._failed += 1
                self.settled = self.settled or self._failed >= MAX_FAILURES_UNREADY
                self._tell(error)
            await asyncio.sleep(pause)

    def _tell(self, error: Exception) -> None:
        """Show why the topic is not listened to; in the log once for each reason."""
        expected = isinstance(error, (*AWAY, TopicError, LogFault))
        trouble = str(error) if isinstance(error, TopicError | KafkaFault | LogFault) else repr(error)
        if trouble != self.trouble:
            text = "topic %s is not listened to for triggers: %s"
            logger.warning(text, self.topic, trouble, exc_info=None if expected else error)
        self.trouble = trouble
        self._metrics.trigger_topic_up.labels(self.topic).set(0)

    async def _listen(self) -> None:
        """Be a member of the topic's group until something goes wrong, which is raised."""
        found = await self._finder.find(self.topic)
        if found is None:
            raise TopicAway(f"topic {self.topic} does not exist")
        self._found, self._next, self._unsent, self._unsent_bytes = found, {}, [], 0
        await self._check()
        await self._see_first()
        member = self._new_member()
        async with staying(member, lambda: self._write_last_positions(member)):
            await member.start()
            self.settled = True
            self._look_at = self._clock.monotonic() + LOOK_SECONDS
            while True:
                await self._take(member)
                self._listens()

    def _listens(self) -> None:
        if self.trouble is not None:
            logger.info("topic %s is listened to", self.topic)
        self.trouble, self._failed = None, 0
        self._metrics.trigger_topic_up.labels(self.topic).set(1)

    async def _see_first(self) -> None:
        """Write down where a topic ends that is listened to for the first time: its history fires nothing."""
        await self._positions.catch_up()
        if not self._positions.knows(self.topic):
            await self._positions.begin(self.topic, self._found.id, await self._first_begins())

    async def _first_begins(self) -> list[int]:
        """Where the partitions end now. What came since this engine saw that the topic was away is no history either.

        That goes by the times of the messages: a topic that was copied from elsewhere has a history at once.
        """
        places = [Place(self.topic, number) for number in range(self._found.partitions)]
        async with asyncio.timeout(ENDS_SECONDS), self._kafka.reader(committed_only=True) as reader:
            begins = await reader.ends(places)
            if self._away_since_ms is not None:
                since = dict.fromkeys(places, self._away_since_ms - CLOCK_SKEW_MS)
                for place, first in (await reader.first_since(since)).items():
                    begins[place] = begins[place] if first is None else first
        return [begins[place] for place in places]

    def _new_member(self) -> Member:
        membership = Membership(
            group=self._group,
            member_id=self._name.current,
            session_timeout_seconds=self._settings.engine_session_timeout_seconds,
            committed_only=True,
            own_topic=False,
        )
        return self._kafka.member(self.topic, membership, begin=self._begin)

    async def _begin(self, member: Member, places: Collection[Place]) -> Mapping[Place, int]:
        """Where partitions begin that this engine was given."""
        await self._write_positions(member)
        await self._positions.catch_up()
        begins = {}
        for place, (oldest, end) in (await member.limits(places)).items():
            offset = self._positions.begin_of(self.topic, place.partition, self._found.id)
            if not oldest <= offset <= end:
                logger.warning("messages from offset %d on have expired", offset, extra={"source": self._source(place)})
            begins[place] = min(max(offset, oldest), end)
        return begins

    async def _take(self, member: Member) -> None:
        fetched = await member.take(TAKE_SECONDS, MAX_MESSAGES)
        if fetched:
            # What was defined before a message came has to be known before it is judged. And what was read came from
            # this topic only if it is still there now.
            await asyncio.gather(self._reader.catch_up(), self._look())
            await self._judge_all(member, fetched)
        elif self._clock.monotonic() >= self._look_at:
            await self._look()
        if self._clock.monotonic() >= self._note_at:
            await self._write_positions(member)

    async def _look(self) -> None:
        """Look whether the topic is still the same.

        Raises:
            TopicAway, TopicChanged: it is not.
        """
        found = await self._finder.find(self.topic)
        if found is None:
            raise TopicAway(f"topic {self.topic} was deleted")
        if not is_same_topic(self._found.id, found.id):
            raise TopicChanged(f"topic {self.topic} was deleted and created again")
        if found.partitions != self._found.partitions:
            raise TopicChanged(f"topic {self.topic} has {found.partitions} partitions now")
        self._look_at = self._clock.monotonic() + LOOK_SECONDS

    async def _judge_all(self, member: Member, fetched: Mapping[Place, Sequence[Record]]) -> None:
        until = self._clock.monotonic() + CHUNK_SECONDS
        done: dict[int, int] = {}
        bytes_at_once = 0
        for place, records in fetched.items():
            for record in records:
                if self._clock.monotonic() > until:
                    member.seek(place, record.offset)
                    break
                bytes_at_once += len(record.value or b"")
                if bytes_at_once > MAX_BYTES_AT_ONCE:
                    bytes_at_once = 0
                    await asyncio.sleep(0)
                await self._judge(place, record)
                done[place.partition] = record.offset + 1
                self._metrics.trigger_messages.inc()
        await self._send()
        self._next.update(done)

    async def _write_positions(self, member: Member) -> None:
        """Write down how far the partitions are that this engine still has."""
        self._note_at = self._clock.monotonic() + NOTE_SECONDS
        mine = {place.partition for place in member.assignment}
        moved, self._next = {number: offset for number, offset in self._next.items() if number in mine}, {}
        if moved:
            await self._positions.move(self.topic, self._found, moved)
            await member.commit({Place(self.topic, number): offset for number, offset in moved.items()})

    async def _write_last_positions(self, member: Member) -> None:
        with contextlib.suppress(AppendFailed, TimeoutError):
            async with asyncio.timeout(LAST_POSITIONS_SECONDS):
                await self._write_positions(member)

    def _source(self, place: Place) -> str:
        """Names a partition in commands and events. One of a topic that was created again has another name."""
        return (
            f"{place.topic}:{self._found.id}/{place.partition}"
            if self._found.id
            else f"{place.topic}/{place.partition}"
        )

    async def _judge(self, place: Place, record: Record) -> None:
        """Collect the commands that a record fires."""
        source = self._source(place)
        try:
            message: Message = read_message(source, record.offset, record.value, record.headers)
        except NoEnvelope as error:
            self._metrics.skipped_messages.labels(self.topic, error.reason).inc()
            self._tell_skipped(error, source, record.offset)
            return
        definitions = self._reader.definitions
        for trigger in definitions.triggers(message.type):
            command = await fire(trigger, message, definitions, self._failures)
            if command is not None:
                self._unsent.append((trigger.id, command))
                self._unsent_bytes += size_of(command)
                if self._unsent_bytes > MAX_UNSENT_BYTES:
                    await self._send()

    def _tell_skipped(self, error: NoEnvelope, source: str, offset: int) -> None:
        """Log that a message is skipped, now and then: a topic may have millions of them in a row."""
        count = self._skipped.met("skipped")
        if count is not None:
            more = f" (and {count - 1} others since the last line like this)" if count > 1 else ""
            logger.warning("a message is skipped: %s%s", error, more, extra={"source": source, "offset": offset})

    def _now_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)

    async def _send(self) -> None:
        """Append the collected commands. Each trigger gets its own in the order of the messages."""
        if self._unsent:
            await self._log.send(self._unsent, self._now_ms())
        self._unsent, self._unsent_bytes = [], 0


def _longest_pause(error: Exception) -> float:
    away = isinstance(error, AWAY) and not isinstance(error, UnreadableRecords)
    return MAX_AWAY_SECONDS if away else MAX_PAUSE_SECONDS
