"""What must hold of `ports.Member`."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from schemas.kafka import (
    Limits,
    Member,
    Membership,
    NameTaken,
    Place,
)
from tests.kafka_contract.subjects import (
    DEADLINE_SECONDS,
    PARTITIONS,
    Subject,
    content,
    make,
    numbers,
    put,
    some,
    transacting,
    until,
    values,
)

TRIES = 3
"""Of what has to be done while something lasts for seconds: a machine may stand still for as long."""
PATIENT: dict[str, Any] = {"session_timeout_seconds": 2 * DEADLINE_SECONDS}
"""A session of members that outlasts every wait: who gets what they had before its end has not waited for it."""


@dataclass
class Log:
    """What a member was told and handed."""

    assigned: list[frozenset[int]] = field(default_factory=list)
    revoked: list[frozenset[int]] = field(default_factory=list)
    values: Counter[str] = field(default_factory=Counter)
    asked: list[set[int]] = field(default_factory=list)


class MemberContract:
    """`ports.Member`."""

    @asynccontextmanager
    async def member(
        self,
        subject: Subject,
        topic: str,
        log: Log | None = None,
        *,
        begin: int | None = None,
        **place: Any,
    ) -> AsyncIterator[Member]:
        """A member of the test's group, started; it begins everywhere at an offset, or where its owner says."""
        log = log or Log()
        place = {"session_timeout_seconds": subject.session_seconds, **place}

        async def decide(member: Member, places: Collection[Place]) -> Mapping[Place, int]:
            log.asked.append({place.partition for place in places})
            return {place: max(begin or 0, limits.oldest) for place, limits in (await member.limits(places)).items()}

        def assigned(places: frozenset[Place]) -> None:
            log.assigned.append(frozenset(place.partition for place in places))

        def revoked(places: frozenset[Place]) -> None:
            log.revoked.append(frozenset(place.partition for place in places))

        member = subject.kafka.member(
            topic,
            Membership(group=subject.topic("group"), **place),
            begin=None if begin is None else decide,
            assigned=assigned,
            revoked=revoked,
        )
        try:
            await member.start()
            yield member
        finally:
            await member.close()

    async def test_everything_is_handed_over_from_where_it_begins(self, subject: Subject) -> None:
        topic = await make(subject)
        await put(subject, topic, {0: some("a", "b", "c"), 1: some("d"), 2: some("e", "f")})
        log = Log()
        async with self.member(subject, topic, log, begin=1) as member:
            assert member.assignment == {Place(topic, number) for number in range(PARTITIONS)}
            assert member.partitions() == PARTITIONS
            await self.take(member, log, 3)
            assert log.values == Counter("bcf")
            assert log.asked == [{0, 1, 2}]
            assert log.assigned == [frozenset({0, 1, 2})]
            assert member.highwater(Place(topic, 0)) == 3
            assert member.silence_seconds <= subject.session_seconds
            member.seek(Place(topic, 0), 0)
            await self.take(member, log, 6)
            assert log.values["a"] == 1
            assert log.values["b"] == 2

    async def take(self, member: Member, log: Log, count: int) -> None:
        """Take until so many records came."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DEADLINE_SECONDS):
                while log.values.total() < count:
                    for records in (await member.take(0.2)).values():
                        log.values.update(values(records))
        assert log.values.total() >= count, f"not all have come: {log}, {member.silence_seconds=:.1f}"
        assert log.values.total() == count

    async def test_a_partition_is_held_until_its_owner_begins(self, subject: Subject) -> None:
        topic = await make(subject)
        await put(subject, topic, {number: some(f"a{number}", f"b{number}") for number in range(PARTITIONS)})
        first, second = Place(topic, 0), Place(topic, 1)
        async with self.member(subject, topic) as member:
            assert await member.take(0.1) == {}
            member.resume(first)
            assert await member.take(0.1) == {}
            member.start_at(first, 1)
            assert content(await member.take(DEADLINE_SECONDS)) == {first: ["b0"]}
            member.pause(first)
            member.start_at(second, 0)
            await put(subject, topic, {0: some("c0"), 1: some("c1")})
            found: list[str] = []
            while len(found) < 3:
                taken = await member.take(DEADLINE_SECONDS)
                assert list(taken) == [second]
                found += values(taken[second])
            assert found == ["a1", "b1", "c1"]
            member.resume(first)
            assert values((await member.take(DEADLINE_SECONDS))[first]) == ["c0"]
            await put(subject, topic, {0: some("d0"), 1: some("d1")})
            assert await member.take(0.2, places=[]) == {}
            assert content(await member.take(DEADLINE_SECONDS, places=[second])) == {second: ["d1"]}
            assert content(await member.take(DEADLINE_SECONDS)) == {first: ["d0"]}

    async def test_the_end_of_a_partition_lies_behind_the_marks_of_transactions(self, subject: Subject) -> None:
        """Though nobody is handed them, and nothing follows."""
        topic = await make(subject)
        place, log = Place(topic, 0), Log()
        async with self.member(subject, topic, log, begin=0) as member:
            transactions = transacting(subject, "w")
            try:
                await transactions.open()
                for value in ("a", "b"):
                    await transactions.commit({place: some(value)})
            finally:
                await transactions.close()
            await self.take(member, log, 2)
            async with asyncio.timeout(DEADLINE_SECONDS):
                while member.highwater(place) != 4:
                    assert await member.take(0.2) == {}

    async def test_nothing_is_asked_of_partitions_of_others(self, subject: Subject) -> None:
        topic = await make(subject)
        async with self.member(subject, topic) as member:
            other = Place(topic, 7)
            member.start_at(other, 0)
            member.seek(other, 0)
            member.pause(other)
            member.resume(other)
            assert member.highwater(other) is None
            assert await member.commit({other: 5})
            assert await member.commit({})

    async def test_the_group_keeps_what_its_members_commit(self, subject: Subject) -> None:
        topic = await make(subject)
        places = [Place(topic, number) for number in range(2)]
        async with self.member(subject, topic) as member:
            assert await member.committed(places[0]) == 0
            assert await member.commit({places[0]: 5, places[1]: 7, Place(topic, 9): 1}, DEADLINE_SECONDS)
            assert [await member.committed(place) for place in places] == [5, 7]
        async with self.member(subject, topic) as member:
            assert [await member.committed(place) for place in places] == [5, 7]

    @pytest.mark.parametrize("offset", [0, 9])
    async def test_an_offset_that_kafka_does_not_have(self, subject: Subject, offset: int) -> None:
        topic = await make(subject)
        place = Place(topic, 0)
        await put(subject, topic, {0: some("a", "b", "c")})
        await subject.expire(place, 2)
        log = Log()
        async with self.member(subject, topic, log) as member:
            member.start_at(place, offset)
            await self.take(member, log, 1)
            assert log.values == Counter("c"), "the oldest is the first"
        log = Log()
        async with self.member(subject, topic, log, begin=0) as member:
            await self.take(member, log, 1)
            member.seek(place, offset)
            await self.take(member, log, 2)
            assert (log.values, log.asked) == (Counter("cc"), [{0, 1, 2}, {0}]), "it is decided again"

    async def test_members_share_the_partitions(self, subject: Subject) -> None:
        topic = await make(subject, partitions=4)
        logs = [Log(), Log()]
        everything = {number: some(f"{number}") for number in range(4)}
        async with self.member(subject, topic, logs[0], begin=0) as first:
            await put(subject, topic, everything)
            await self.take(first, logs[0], 4)
            async with self.member(subject, topic, logs[1], begin=1) as second:
                await until(lambda: len(logs[0].assigned) == 2)
                kept, gone = numbers(first.assignment), numbers(second.assignment)
                assert (len(kept), kept | gone) == (2, {0, 1, 2, 3})
                assert logs[0].revoked == [gone]
                assert logs[1].revoked == []
                assert logs[0].assigned == [{0, 1, 2, 3}, kept]
                await put(subject, topic, everything)
                await self.take(second, logs[1], 2)
                await self.take(first, logs[0], 6)
                assert await first.take(0.2) == {}
                assert logs[0].values == Counter("0123") + Counter(map(str, kept)), "what it keeps goes on"
                assert logs[1].values == Counter(map(str, gone)), "what moves is handed over by the other one"
                assert (logs[0].asked, logs[1].asked) == ([{0, 1, 2, 3}], [gone])
            taking = asyncio.create_task(self.take(first, logs[0], 10))
            await until(lambda: len(first.assignment) == 4)
            await taking
            assert logs[0].asked == [{0, 1, 2, 3}, gone]
            assert logs[0].values == Counter("01230123") + Counter(map(str, gone)), "again from where it begins"

    async def test_limits_are_told_while_a_fetch_waits_for_records(self, subject: Subject) -> None:
        topic = await make(subject)
        told = {Place(topic, 0): Limits(0, 0)}
        for _ in range(TRIES):
            async with self.member(subject, topic, begin=0, fetch_wait_seconds=2.8) as member:
                assert await member.take(0.2) == {}  # from then on a fetch is under way
                with suppress(TimeoutError):
                    async with asyncio.timeout(2.0):
                        assert await member.limits([Place(topic, 0)]) == told
                        return
        raise AssertionError("each time they came with the end of the fetch")

    async def test_records_keep_coming_while_a_group_waits_for_a_member_that_is_gone(self, subject: Subject) -> None:
        topic, log = await make(subject, partitions=2), Log()
        async with self.member(subject, topic, log) as member:
            async with self.member(subject, topic, member_id="gone"):
                await until(lambda: len(log.assigned) == 2)
                (place,) = member.assignment
                member.start_at(place, 0)
            newcomer = self.member(subject, topic)
            joining = asyncio.create_task(newcomer.__aenter__())
            found: list[str] = []
            sent: list[str] = []
            try:
                while not joining.done():
                    sent.append(f"r{len(sent)}")
                    await put(subject, topic, {place.partition: some(sent[-1])})
                    async with asyncio.timeout(DEADLINE_SECONDS):
                        while len(found) < len(sent):
                            found += values((await member.take(DEADLINE_SECONDS)).get(place, ()))
                    await asyncio.sleep(subject.session_seconds / 60)
                assert found == sent, "each once, and in order"
                assert len(sent) > 5, "one after the other came while the group waited"
                assert log.assigned[-1] == {place.partition}
                assert log.revoked[1:] == []
            finally:
                await joining
                await newcomer.__aexit__(None, None, None)

    async def test_a_member_keeps_where_it_is_through_a_rebalance(self, subject: Subject) -> None:
        topic, log = await make(subject, partitions=2), Log()
        async with self.member(subject, topic, log) as member:
            for number in range(2):
                member.start_at(Place(topic, number), 0)
            await put(subject, topic, {number: some("a", "b", "c") for number in range(2)})
            for number in range(2):
                place = Place(topic, number)
                assert values((await member.take(DEADLINE_SECONDS, 1, [place]))[place]) == ["a"]
            async with self.member(subject, topic):
                await until(lambda: len(log.assigned) == 2)
                (kept,) = member.assignment
                (gone,) = log.revoked[0]
                assert values((await member.take(DEADLINE_SECONDS))[kept]) == ["b", "c"]
                member.pause(kept)
                member.start_at(Place(topic, gone), 0)
                await put(subject, topic, {number: some("d") for number in range(2)})
                assert await member.take(0.2) == {}
            await until(lambda: len(log.assigned) == 3)
            assert await member.take(0.2) == {}, "one is paused still, the other one held"
            member.resume(kept)
            assert content(await member.take(DEADLINE_SECONDS)) == {kept: ["d"]}
            assert member.highwater(kept) == 4

    async def test_a_member_with_a_name_comes_back_to_what_it_had(self, subject: Subject) -> None:
        topic = await make(subject, partitions=4)
        log = Log()
        async with self.member(subject, topic, log, member_id="one", **PATIENT):
            async with self.member(subject, topic, member_id="two", **PATIENT) as second:
                await until(lambda: len(log.assigned) == 2)
                had = second.assignment
                assert len(had) == 2
            async with self.member(subject, topic, member_id="two", **PATIENT) as second:
                await until(lambda: second.assignment)
                assert second.assignment == had
                assert len(log.assigned) == 2, "nobody else noticed"

    @pytest.mark.parametrize("name", [None, "two"])
    async def test_a_member_that_leaves_hands_over_at_once(self, subject: Subject, name: str | None) -> None:
        topic, log = await make(subject, partitions=2), Log()
        async with (
            self.member(subject, topic, log, member_id="one", **PATIENT) as first,
            self.member(subject, topic, member_id=name, **PATIENT) as second,
        ):
            await until(lambda: len(log.assigned) == 2)
            await second.close(leave=True)
            await until(lambda: len(first.assignment) == 2)

    async def test_a_member_whose_name_another_one_took_is_told(self, subject: Subject) -> None:
        topic, log = await make(subject, partitions=2), Log()
        async with (
            self.member(subject, topic, begin=0, member_id="one") as first,
            self.member(subject, topic, log, begin=0, member_id="one") as second,
        ):
            assert second.assignment == first.assignment
            with pytest.raises(NameTaken):  # noqa: PT012 - it does not know at once
                async with asyncio.timeout(DEADLINE_SECONDS):
                    while True:
                        assert await first.take(1.0) == {}
            await first.close(leave=True)
            await put(subject, topic, {0: some("a")})
            await self.take(second, log, 1)
            assert await second.commit({Place(topic, 0): 1}, DEADLINE_SECONDS), "it has the name still"
            assert log.assigned == [{0, 1}]
            assert log.revoked == []

    async def test_a_topic_of_others_is_not_made_and_found_when_it_is_there(self, subject: Subject) -> None:
        topic, finder, log = subject.topic("theirs"), subject.kafka.topic_finder(), Log()
        options: dict[str, Any] = {"own_topic": False, "member_id": "one"}
        async with self.member(subject, topic, begin=0, **options) as member:
            assert await member.take(0.3) == {}
            assert await finder.find(topic) is None
        finder.close()
        await make(subject, "theirs")
        await put(subject, topic, {0: some("a")})
        async with self.member(subject, topic, log, begin=0, **options) as member:
            await until(lambda: len(member.assignment) == PARTITIONS)
            await self.take(member, log, 1)

    async def test_only_what_was_committed_is_handed_over(self, subject: Subject) -> None:
        topic, log = await make(subject), Log()
        await subject.leave_open(subject.topic("w"), {Place(topic, 0): some("b")})
        await put(subject, topic, {0: some("c"), 1: some("d")})
        async with self.member(subject, topic, log, begin=0, committed_only=True) as member:
            assert await member.limits([Place(topic, 0)]) == {Place(topic, 0): Limits(0, 0)}
            await self.take(member, log, 1)
            transactions = transacting(subject, "w")
            try:
                await transactions.open()
            finally:
                await transactions.close()
            await self.take(member, log, 2)
        assert log.values == Counter("cd")
