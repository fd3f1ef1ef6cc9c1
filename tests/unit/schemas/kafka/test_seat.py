"""A seat in a consumer group, whose coordinator answers by a script. Without Kafka."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest

from schemas.kafka import Membership, NameTaken
from schemas.kafka.client import Client
from schemas.kafka.closing import close
from schemas.kafka.seat import Seat, _assignor, _Coordinator
from schemas.kafka.static_members import NAME_TAKEN, LeaveRequest, NamedHeartbeatRequest
from schemas.settings import KafkaSettings

TOPIC = "ledger"
UNKNOWN_MEMBER, REBALANCE, NOT_COORDINATOR = 25, 27, 16
NODE = 7


class Answer:
    """What a broker answers."""

    def __init__(self, error_code: int = 0, **fields: Any):
        self.error_code = error_code
        self.__dict__ |= fields


class Group:
    """A group on a broker: it answers what it is told to, and else that all is well."""

    def __init__(self) -> None:
        self.answers: dict[type, list[Answer | Exception]] = {}
        self.asked: list[Any] = []
        self.generation = 0
        self.members = ["id-1"]
        self.places: list[int] = [0, 1]

    async def send(self, client: Any, node: int, request: Any, **_: Any) -> Answer:
        await asyncio.sleep(0)
        self.asked.append(request)
        scripted = self.answers.get(type(request))
        if scripted:
            answer = scripted.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        return self._answer(request)

    def _answer(self, request: Any) -> Answer:
        match request:
            case JoinGroupRequest():
                self.generation += 1
                kafka_id = request._member_id or f"id-{self.generation}"
                return Answer(member_id=kafka_id, leader_id="", generation_id=self.generation, group_protocol="sticky")
            case SyncGroupRequest():
                given = ConsumerProtocolMemberAssignment(0, [(TOPIC, self.places)], b"")
                return Answer(member_assignment=given.encode())
            case DescribeGroupsRequest():
                members = [(member, "", "", b"", b"") for member in self.members]
                return Answer(groups=[(0, "group", "Stable", "consumer", "sticky", members)])
        return Answer()

    def count(self, kind: type) -> int:
        return sum(isinstance(request, kind) for request in self.asked)


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    group = Group()

    async def nothing(*_: Any) -> None:
        """Connect."""

    async def node(*_: Any) -> int:
        return NODE

    async def ready(*_: Any, **__: Any) -> bool:
        return True

    def send(client: Any, *given: Any, **options: Any) -> Any:
        return group.send(client, *given, **options)

    for name, fake in {"bootstrap": nothing, "_wait_on_metadata": nothing, "coordinator_lookup": node}.items():
        monkeypatch.setattr(Client, name, fake)
    monkeypatch.setattr(Client, "ready", ready)
    monkeypatch.setattr(Client, "send", send)
    return group


class Seated:
    """A seat that has joined."""

    def __init__(self, name: str | None):
        membership = Membership(group="group", member_id=name, session_timeout_seconds=0.4)
        self.told: list[tuple[set[int], bool]] = []
        self.seat = Seat(KafkaSettings(), TOPIC, membership, rebalancing=lambda: None, seated=self.seated)

    def seated(self, places: frozenset[TopicPartition], knows_all: bool) -> None:
        self.told.append(({place.partition for place in places}, knows_all))

    @property
    def coordinator(self) -> _Coordinator:
        assert self.seat._coordinator is not None
        return self.seat._coordinator

    async def fails(self) -> None:
        """Wait until something is wrong, which is raised."""
        async with asyncio.timeout(60):
            while True:
                self.seat.check()
                await asyncio.sleep(0.01)

    async def until_told(self, times: int) -> None:
        async with asyncio.timeout(60):
            while len(self.told) < times:  # noqa: ASYNC110 - it sets no event
                await asyncio.sleep(0.01)


Sit = Callable[[str | None], Any]


@pytest.fixture
async def sit(group: Group) -> AsyncIterator[Sit]:
    seats: list[Seated] = []

    async def join(name: str | None) -> Seated:
        seats.append(Seated(name))
        await seats[-1].seat.start([])
        return seats[-1]

    yield join
    for seated in seats:
        await close(seated.seat, 1.0)


async def test_a_seat_tells_what_it_has(group: Group, sit: Sit) -> None:
    seated = await sit("engine-1")
    assert [places for places, _ in seated.told] == [{0, 1}]
    group.answers[HeartbeatRequest] = [Answer(REBALANCE)]
    group.places = [1]
    await seated.until_told(2)
    assert seated.told[1] == ({1}, True)
    assert group.count(NamedHeartbeatRequest) == 0, "nobody doubts its name"


async def test_a_member_whose_name_was_taken_is_told_and_does_not_take_it_back(group: Group, sit: Sit) -> None:
    seated = await sit("engine-1")
    group.answers[HeartbeatRequest] = [Answer(UNKNOWN_MEMBER)]
    group.answers[NamedHeartbeatRequest] = [Answer(NAME_TAKEN)]
    with pytest.raises(NameTaken):
        await seated.fails()
    (asked,) = [request for request in group.asked if isinstance(request, NamedHeartbeatRequest)]
    assert asked._fields == ("group", 1, "id-1", "engine-1")
    with pytest.raises(NameTaken) as raised:
        await seated.fails()  # again
    assert raised.value.name == "engine-1"
    assert group.count(JoinGroupRequest) == 1


async def test_a_member_whose_session_ended_joins_again_and_does_not_know_what_happened(group: Group, sit: Sit) -> None:
    seated = await sit("engine-1")
    group.answers[HeartbeatRequest] = [Answer(UNKNOWN_MEMBER)]
    # The first answers are of a coordinator that moves.
    group.answers[NamedHeartbeatRequest] = [KafkaConnectionError(), Answer(NOT_COORDINATOR), Answer(UNKNOWN_MEMBER)]
    await seated.until_told(2)
    assert seated.told[1] == ({0, 1}, False)
    assert group.count(NamedHeartbeatRequest) == 3
    group.answers[HeartbeatRequest] = [Answer(REBALANCE)]
    await seated.until_told(3)
    assert seated.told[2] == ({0, 1}, True)


async def test_a_member_whose_join_was_not_answered_does_not_take_itself_for_another_one(
    group: Group, sit: Sit
) -> None:
    seated = await sit("engine-1")
    group.answers[HeartbeatRequest] = [Answer(UNKNOWN_MEMBER)]
    # The group took it in, and the connection broke before it said so. By now the name is that of the new member.
    group.answers[JoinGroupRequest] = [KafkaConnectionError()]
    group.answers[NamedHeartbeatRequest] = [Answer(UNKNOWN_MEMBER), Answer(NAME_TAKEN)]
    await seated.until_told(2)
    seated.seat.check()
    assert seated.told[1] == ({0, 1}, False)


async def test_a_member_without_a_name_joins_again_without_asking(group: Group, sit: Sit) -> None:
    seated = await sit(None)
    group.answers[HeartbeatRequest] = [Answer(UNKNOWN_MEMBER)]
    await seated.until_told(2)
    assert seated.told[1] == ({0, 1}, False)
    assert group.count(NamedHeartbeatRequest) == 0


@pytest.mark.parametrize("request_of", [JoinGroupRequest, SyncGroupRequest])
async def test_a_member_that_joins_again_is_told_that_its_name_was_taken(
    group: Group, sit: Sit, request_of: type
) -> None:
    seated = await sit("engine-1")
    group.answers[HeartbeatRequest] = [Answer(REBALANCE)]
    group.answers[request_of] = [Answer(NAME_TAKEN)]
    with pytest.raises(NameTaken):
        await seated.fails()


async def test_a_rebalance_that_was_missed_is_known(group: Group, sit: Sit) -> None:
    seated = await sit("engine-1")
    group.generation += 1
    group.answers[HeartbeatRequest] = [Answer(REBALANCE)]
    await seated.until_told(2)
    assert seated.told[1] == ({0, 1}, False)


@pytest.mark.parametrize(
    ("leaves", "name", "members", "asked"),
    [
        (True, "engine-1", ["id-1", "id-2"], LeaveRequest),
        (True, "engine-1", ["id-1"], None),
        (False, "engine-1", ["id-1", "id-2"], None),
        (True, None, ["id-1"], LeaveGroupRequest),
        (False, None, ["id-1"], LeaveGroupRequest),
    ],
)
async def test_who_leaves_at_the_end(
    group: Group, sit: Sit, leaves: bool, name: str | None, members: list[str], asked: type | None
) -> None:
    seated = await sit(name)
    group.members = members
    if leaves:
        seated.seat.leave_for_good()
    await close(seated.seat, 1.0)
    assert {type(request) for request in group.asked} & {LeaveRequest, LeaveGroupRequest} == (
        {asked} if asked else set()
    )


async def test_each_member_of_a_process_remembers_what_it_has_itself() -> None:
    first, second = _assignor(), _assignor()
    first.on_assignment(ConsumerProtocolMemberAssignment(0, [(TOPIC, [1])], b""))
    first.on_generation_assignment(3)
    assert second.metadata([TOPIC]).user_data == b""
    told = first.parse_member_metadata(first.metadata([TOPIC]))
    assert (told.partitions, told.generation) == ([TopicPartition(TOPIC, 1)], 3)


async def test_what_a_member_has_is_of_a_generation(group: Group, sit: Sit) -> None:
    seated = await sit("engine-1")
    group.answers[HeartbeatRequest] = [Answer(REBALANCE)]
    await seated.until_told(2)
    assert seated.coordinator._assignors[0].generation == 2


async def test_a_seat_that_nobody_uses_is_given_up_also_after_an_error() -> None:
    seat = Seated("engine-1").seat
    state = seat._subscription
    with contextlib.suppress(ValueError), seat.in_use():
        assert state.fetcher_idle_time == 0
        raise ValueError
    await asyncio.sleep(0.01)
    assert state.fetcher_idle_time > 0
    await close(seat, 0.1)
