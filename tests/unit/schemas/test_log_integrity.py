from collections.abc import Callable

import pytest

from schemas.log_integrity import (
    LogFault,
    check_begin,
    check_commands,
    check_end,
    check_identity,
    check_records,
    follows,
)
from tests.ports.log import StoredRecord


def records(*offsets: int) -> list[StoredRecord]:
    return [StoredRecord(offset, b"", b"", []) for offset in offsets]


@pytest.mark.parametrize(
    "check",
    [
        lambda: check_begin(3, 7, 7),
        lambda: check_begin(3, 7, 0),
        lambda: check_end(3, 7, 7),
        lambda: check_end(3, 7, 8),
        lambda: check_end(3, 0, 0),
        lambda: check_identity("a", "a"),
        lambda: check_identity("", "b"),
        lambda: check_identity("a", ""),
        lambda: check_commands(3, 7, 7),
        lambda: check_commands(3, 0, 0),
        lambda: check_records(3, 7, [], 0),
        lambda: check_records(3, 7, records(7, 8, 10, 12), 7),
        lambda: check_records(3, 7, records(8), 0),
    ],
)
def test_what_fits_passes(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize(
    ("check", "reason", "text"),
    [
        (lambda: check_begin(3, 7, 9), "gap", "topic events, partition 3: the 2 records from offset 7 on were deleted"),
        (lambda: check_end(3, 7, 6), "cut", "it ends at offset 6, but had records up to 7"),
        (lambda: check_end(3, 7, 0), "cut", "topic events, partition 3: it ends at offset 0"),
        (lambda: check_identity("a", "b"), "remade", "topic events: the topic was deleted and created again"),
        (lambda: check_identity("a", "b", "commands", 3), "remade", "topic commands, partition 3: "),
        (lambda: check_commands(3, 7, 6), "commands", "topic commands, partition 3: it ends at offset 6"),
        (lambda: check_records(3, 7, records(0, 1), 0), "cut", "it ended before offset 7"),
        (lambda: check_records(3, 7, records(9), 9), "gap", "the 2 records from offset 7 on were deleted"),
        (lambda: check_records(3, 7, records(8), 8), "gap", "the 1 records from offset 7 on were deleted"),
        (lambda: check_records(3, 7, records(9), 0), "gap", "the records from offset 7 to 8 are missing"),
        (lambda: check_records(3, 7, records(7, 8, 11), 0), "gap", "the records from offset 9 to 10 are missing"),
    ],
)
def test_what_does_not_fit_is_a_fault(check: Callable[[], None], reason: str, text: str) -> None:
    with pytest.raises(LogFault) as caught:
        check()
    assert caught.value.reason == reason
    assert text in str(caught.value)
    assert "orchestration topics repair" in str(caught.value)


@pytest.mark.parametrize(
    ("offsets", "fits"),
    [((7,), True), ((7, 8, 9), True), ((8,), False), ((6, 7), False), ((7, 9), False), ((0, 1), False)],
)
def test_records_follow_without_holes(offsets: tuple[int, ...], fits: bool) -> None:
    assert follows(records(*offsets), 7) is fits
