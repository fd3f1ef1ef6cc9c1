import pytest

from schemas.epochs import EpochFilter, check_claim
from schemas.fillers import filler, is_filler
from schemas.log_integrity import LogFault
from tests.ports.log import StoredRecord

CLAIM = b"PartitionClaimed"


def event(offset: int, epoch: int, type_: bytes | None = b"StageStarted") -> StoredRecord:
    headers = [("epoch", b"%d" % epoch)] if type_ is None else [("type", type_), ("epoch", b"%d" % epoch)]
    return StoredRecord(offset, b"k", b"{}", headers)


def claim(offset: int) -> StoredRecord:
    return StoredRecord(offset, b"", b"{}", [("type", CLAIM)])


def a_filler(offset: int) -> StoredRecord:
    made = filler(0)
    return StoredRecord(offset, made.key, made.value, made.headers)


def test_what_belongs_to_the_newest_claim_counts() -> None:
    epochs = EpochFilter()
    read = [claim(0), event(1, 0), claim(2), event(3, 0), event(4, 2), a_filler(5), event(6, 2)]
    assert [record.offset for record in read if epochs.admits(record)] == [1, 4, 6]
    assert epochs.epoch == 2


@pytest.mark.parametrize(("known", "epoch"), [(3, 5), (3, 8), (-1, 0), (-1, 8)])
def test_a_record_of_a_claim_that_is_not_in_the_log_stops_its_reader(known: int, epoch: int) -> None:
    with pytest.raises(LogFault, match=f"partition 2: the record at offset 9 belongs to a claim at offset {epoch}"):
        EpochFilter(known, 2).admits(event(9, epoch))


@pytest.mark.parametrize(
    "record",
    [
        event(9, 2),
        event(9, 9),
        event(9, 10),
        event(9, 2**62),
        event(9, 2**70),
        event(9, 5, None),
        event(9, 5, b"Foreign"),
        a_filler(9),
    ],
)
def test_what_nobody_of_us_can_have_written_is_skipped(record: StoredRecord) -> None:
    assert not EpochFilter(3).admits(record)


def test_what_a_filler_lies_behind_stops_nobody() -> None:
    epochs = EpochFilter(3, repaired=20)
    assert not epochs.admits(event(9, 5))
    assert epochs.admits(event(10, 3))
    assert not epochs.admits(event(19, 5))
    with pytest.raises(LogFault):
        epochs.admits(event(20, 5))


@pytest.mark.parametrize("found", [None, claim(5), a_filler(5), event(7, 3)])
def test_a_claim_that_is_there_or_has_expired_is_fine(found: StoredRecord | None) -> None:
    check_claim(1, 5, found)


def test_another_record_where_the_claim_was_is_a_fault() -> None:
    with pytest.raises(LogFault, match="the claim at offset 5 is not there") as caught:
        check_claim(1, 5, event(5, 3))
    assert (caught.value.reason, caught.value.partition) == ("claim", 1)


def test_a_filler_is_known_by_its_type() -> None:
    assert is_filler(a_filler(1))
    assert not is_filler(claim(1))
    assert not is_filler(StoredRecord(1, b"", b"", []))
