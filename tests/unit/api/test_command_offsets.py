"""What the API does when `commands` is not the log any more that the read model follows from."""

import asyncio
import logging
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from api.command_log import KafkaCommandLog
from api.command_offsets import CATCH_UP_SECONDS, LOOK_AGAIN_SECONDS, CommandOffsets, Taken
from api.errors import CommandLogUnavailable, CommandsCut, CommandsLost
from api.metrics import Metrics
from api.waiting import Admission
from schemas.commands import AbortInstance
from schemas.kafka import NewTopic, Place
from schemas.kafka.memory import MemoryCluster, MemoryKafka
from schemas.log_faults import LogFaults
from schemas.settings import ApiSettings
from tests.simulation.loop import simulate
from tests.unit.api.fakes import Backend, make_client
from tests.unit.api.test_command_log import Seen, soon

KEY = UUID(int=1)
OTHER = UUID(int=5)


class Subject:
    """A command log on a cluster in memory, with a read model that a test sets."""

    def __init__(self) -> None:
        self.cluster, self.seen = MemoryCluster(), Seen()
        self.make_topic()
        admission = Admission(1)
        self.metrics = Metrics(admission, admission)
        self.log = KafkaCommandLog(MemoryKafka(self.cluster), ApiSettings(), self.metrics, self.seen)

    def make_topic(self) -> None:
        self.cluster.create(NewTopic("commands", 1, 1))

    async def append(self) -> int:
        return (await self.log.append(KEY, AbortInstance(), soon())).offset

    @property
    def shown(self) -> bool:
        text = self.metrics.exposition()[0].decode()
        return 'orchestration_log_fault{partition="0",reason="commands",topic="commands"} 1.0' in text


@pytest.fixture
async def subject() -> Subject:
    return Subject()


async def test_a_command_behind_all_that_are_known_is_accepted(subject: Subject) -> None:
    for offset in range(5):
        assert await subject.append() == offset
        subject.seen.cause = offset
    assert not subject.shown


async def test_a_command_that_gets_the_offset_of_a_decided_one_is_refused(
    subject: Subject, caplog: pytest.LogCaptureFixture
) -> None:
    subject.seen.cause = 1  # a process that was just started, and has appended nothing itself
    caplog.set_level(logging.INFO)
    with pytest.raises(CommandsCut, match="was not carried out"):
        await subject.append()
    assert subject.shown
    assert "topic commands, partition 0: it ends at offset 0, but had commands up to 2" in caplog.text


async def test_commands_that_this_process_has_appended_itself_are_known(subject: Subject) -> None:
    for _ in range(3):
        await subject.append()
    subject.cluster.delete("commands")
    subject.make_topic()
    with pytest.raises(CommandsLost, match="nobody can tell"):
        await subject.append()


async def test_lost_commands_that_nobody_has_decided_do_not_stop_it_for_ever() -> None:
    now, seen, registry = 100.0, Seen(), CollectorRegistry()
    offsets = CommandOffsets(seen, LogFaults(registry), lambda: now)
    for offset in range(1000):
        offsets.appended(3, offset, await offsets.taken(3, soon()))
    seen.cause = 99  # of the others there is nothing that a repair could know of
    with pytest.raises(CommandsLost):  # carried out, since it comes right behind what was decided
        offsets.appended(3, 100, await offsets.taken(3, soon()))
    now += LOOK_AGAIN_SECONDS
    with pytest.raises(CommandsCut):  # the read model may be behind
        await offsets.taken(3, soon())
    now += CATCH_UP_SECONDS
    offsets.appended(3, 101, await offsets.taken(3, soon()))
    labels = {"topic": "commands", "partition": "3", "reason": "commands"}
    assert registry.get_sample_value("orchestration_log_fault", labels) is None


async def test_what_the_read_model_learns_of_lost_commands_counts() -> None:
    now, seen = 100.0, Seen()
    offsets = CommandOffsets(seen, LogFaults(CollectorRegistry()), lambda: now)
    for offset in range(10):
        offsets.appended(3, offset, await offsets.taken(3, soon()))
    taken = await offsets.taken(3, soon())
    seen.cause = 9
    with pytest.raises(CommandsCut):
        offsets.appended(3, 5, taken)
    now += CATCH_UP_SECONDS
    with pytest.raises(CommandsCut):
        offsets.appended(3, 6, await offsets.taken(3, soon()))


async def test_an_older_copy_of_the_read_model_makes_nothing_forgotten(subject: Subject) -> None:
    for _ in range(3):
        await subject.append()
    subject.seen.cause = 7
    for _ in range(5):
        subject.cluster.append(Place("commands", 0), [StoredCommand()])
    assert await subject.append() == 8
    subject.seen.cause = -1
    subject.cluster.log(Place("commands", 0)).cut(3)
    with pytest.raises(CommandsCut):
        await subject.append()


class StoredCommand:
    """What another process has appended."""

    key, value, headers, timestamp_ms = b"k", b"v", (), 0


async def test_nothing_is_appended_while_the_partition_is_known_to_be_cut(subject: Subject) -> None:
    subject.seen.cause = 20
    for _ in range(3):
        with pytest.raises(CommandsCut):
            await subject.append()
    assert len(subject.cluster.records("commands")[0]) == 1


async def test_it_goes_on_after_a_repair() -> None:
    now, seen, registry = 100.0, Seen(), CollectorRegistry()
    offsets = CommandOffsets(seen, LogFaults(registry), lambda: now)
    seen.cause = 20
    for more in range(2):
        with pytest.raises(CommandsCut):
            offsets.appended(3, 5, await offsets.taken(3, soon()))
        with pytest.raises(CommandsCut):
            await offsets.taken(3, soon())
        offsets.appended(4, 21 + more, await offsets.taken(4, soon()))
        now += LOOK_AGAIN_SECONDS
    labels = {"topic": "commands", "partition": "3", "reason": "commands"}
    assert registry.get_sample_value("orchestration_log_fault", labels) == 1
    offsets.appended(3, 21, await offsets.taken(3, soon()))
    assert registry.get_sample_value("orchestration_log_fault", labels) is None
    assert await offsets.taken(3, soon()) == Taken(20, 21)


def test_before_the_read_model_was_seen_nothing_is_appended() -> None:
    async def scenario() -> None:
        subject = Subject()
        subject.seen.loaded = False
        with pytest.raises(CommandLogUnavailable, match="the read model can't be reached"):
            await subject.log.append(KEY, AbortInstance(), soon(0.01))
        waiting = asyncio.create_task(subject.append())
        await asyncio.sleep(0)
        assert not subject.cluster.records("commands")[0]
        subject.seen.loaded, subject.seen.cause = True, 0
        subject.seen.loads.set()
        with pytest.raises(CommandsCut):
            await waiting

    simulate(scenario())


async def test_the_client_is_told_to_try_again_later() -> None:
    backend = Backend()
    backend.commands_cut = True
    workflow = backend.add_workflow(KEY)
    answer = await make_client(backend).call("POST", f"/workflows/{workflow.id}/instances")
    assert answer.error == (503, "INTERNAL")
    assert answer.headers["retry-after"] == "1"
    assert "the log of commands was cut" in answer.json()["errorMessage"]
