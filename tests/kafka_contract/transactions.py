"""What must hold of `ports.Transactions`."""

import pytest

from schemas.kafka import (
    Fenced,
    Place,
)
from tests.kafka_contract.subjects import (
    BATCH_BYTES,
    PARTITIONS,
    Subject,
    decided,
    make,
    put,
    read,
    read_all,
    some,
    transacting,
    values,
)


class TransactionsContract:
    """`ports.Transactions`, and what readers of committed records see."""

    async def test_all_of_a_transaction_is_seen(self, subject: Subject) -> None:
        one, other = await make(subject, "one"), await make(subject, "other")
        transactions = transacting(subject, "w")
        try:
            await transactions.open()
            assert await transactions.partitions(one) == PARTITIONS
            text = "x" * (BATCH_BYTES // 4)
            for n in range(2):
                await transactions.commit({Place(one, 0): some(*[f"{n}{text}"] * 9), Place(other, 2): some(f"{n}")})
        finally:
            await transactions.close()
        for topic in (one, other):
            await decided(subject, topic)
        for committed_only in (True, False):
            found = [await read_all(subject, topic, committed_only=committed_only) for topic in (one, other)]
            assert found[0][0] == [f"0{text}"] * 9 + [f"1{text}"] * 9
            assert found[1][2] == ["0", "1"]
        async with subject.kafka.reader(committed_only=True) as reader:
            place = Place(other, 2)
            assert await reader.ends([place]) == {place: 4}, "each transaction ends with a marker"

    async def test_it_is_told_where_transactions_have_ended(self, subject: Subject) -> None:
        topic = await make(subject)
        place = Place(topic, 0)
        await put(subject, topic, {0: some("a", "b")})
        writers = [transacting(subject, name) for name in ("w", "x")]
        try:
            for writer in writers:
                await writer.open()
                await writer.append({place: some("c")})
            for writer in writers:
                await writer.commit()
        finally:
            for writer in writers:
                await writer.close()
        await decided(subject, topic)
        await put(subject, topic, {0: some("d")})
        for start, stop, marks in ((0, 7, {4, 5}), (0, 4, set()), (5, 6, {5}), (4, 6, {4, 5}), (6, 7, set())):
            async with subject.kafka.reader() as reader:
                assert await reader.marks(place, start, stop) == marks

    async def test_a_transaction_is_seen_when_it_is_committed(self, subject: Subject) -> None:
        topic = await make(subject)
        place = Place(topic, 0)
        transactions = transacting(subject, "w")
        try:
            await transactions.open()
            assert await transactions.append({place: some("a", "b")}) == {place: 0}
            second = {place: some("c"), Place(topic, 1): some("d")}
            assert await transactions.append(second) == {place: 2, Place(topic, 1): 0}
            async with subject.kafka.reader(committed_only=True) as reader:
                assert await reader.ends([place]) == {place: 0}
                await transactions.commit()
                await transactions.append({place: some("e")})
                await transactions.commit({place: some("f")})
        finally:
            await transactions.close()
        await decided(subject, topic)
        assert await read_all(subject, topic, committed_only=True) == {0: [*"abcef"], 1: ["d"], 2: []}

    async def test_who_opens_aborts_what_the_one_before_has_appended(self, subject: Subject) -> None:
        topic = await make(subject)
        place = Place(topic, 0)
        before, after, later = (transacting(subject, "w") for _ in range(3))
        try:
            await before.open()
            await before.append({place: some("a")})
            await after.open()
            with pytest.raises(Fenced):
                await before.append({place: some("b")})
            await after.append({place: some("c")})
            await later.open()
            with pytest.raises(Fenced):
                await after.commit()
        finally:
            for transactions in (before, after, later):
                await transactions.close()
        assert (await read_all(subject, topic, committed_only=True))[0] == []

    async def test_who_opens_shuts_the_one_before_out(self, subject: Subject) -> None:
        topic = await make(subject)
        before, after = (transacting(subject, "w") for _ in range(2))
        try:
            await before.open()
            await before.commit({Place(topic, 0): some("a")})
            await after.open()
            with pytest.raises(Fenced):
                await before.commit({Place(topic, 0): some("b")})
            await after.commit({Place(topic, 0): some("c")})
        finally:
            await before.close()
            await after.close()
        await decided(subject, topic)
        assert (await read_all(subject, topic, committed_only=True))[0] == ["a", "c"]

    async def test_what_was_left_open_is_aborted_by_the_next(self, subject: Subject) -> None:
        topic = await make(subject)
        place = Place(topic, 0)
        await put(subject, topic, {0: some("a")})
        await subject.leave_open(subject.topic("w"), {place: some("b", "c")})
        await put(subject, topic, {0: some("d")})
        async with subject.kafka.reader(committed_only=True) as reader:
            assert await reader.ends([place]) == {place: 1}, "nothing behind an open transaction is decided"
            reader.read_from({place: 0})
            assert values(await read(reader, place, 1)) == ["a"]
            assert await reader.take(0.1) == {}
            transactions = transacting(subject, "w")
            try:
                await transactions.open()
            finally:
                await transactions.close()
            assert values(await read(reader, place, 1)) == ["d"]
            assert await reader.ends([place]) == {place: 5}
        assert await read_all(subject, topic, committed_only=True) == {0: ["a", "d"], 1: [], 2: []}
        assert (await read_all(subject, topic))[0] == ["a", "b", "c", "d"]

    async def test_transactions_that_end_side_by_side_leave_a_mark_each(self, subject: Subject) -> None:
        topic = await make(subject)
        place, other = Place(topic, 0), Place(topic, 1)
        first, second, aborting = (transacting(subject, name) for name in ("v", "w", "w"))
        try:
            await first.open()
            await second.open()
            assert await first.append({place: some("a"), other: some("b")}) == {place: 0, other: 0}
            assert await second.append({place: some("c", "d")}) == {place: 1}
            async with subject.kafka.reader() as reader, subject.kafka.reader(committed_only=True) as waiting:
                reader.read_from({place: 0})
                assert values(await read(reader, place, 3)) == ["a", "c", "d"], "this one waits for no transaction"
                assert await waiting.ends([place]) == {place: 0}
                await first.commit()
                waiting.read_from({place: 0})
                assert values(await read(waiting, place, 1)) == ["a"]
                assert await waiting.ends([place]) == {place: 1}, "the other one is not decided"
                await aborting.open()
                await decided(subject, topic)
                assert await waiting.ends([place, other]) == {place: 5, other: 2}
                await put(subject, topic, {0: some("e")})
                found = await read(reader, place, 1)
                assert [(record.offset, record.value) for record in found] == [(5, b"e")]
                assert values(await read(waiting, place, 1)) == ["e"]
        finally:
            for transactions in (first, second, aborting):
                await transactions.close()
        assert await read_all(subject, topic) == {0: [*"acde"], 1: ["b"], 2: []}
