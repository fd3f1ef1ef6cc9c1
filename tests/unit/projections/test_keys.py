"""What an instance can be found by."""

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import Raw

from projections.fold import Batch
from projections.keys import MAX_KEY_CHARACTERS, MAX_KEYS, MAX_VISITED, ids_in, keys_of, normalised
from projections.rows import FoundKey
from schemas import events
from schemas.records import Recorded

AT = datetime(2026, 3, 1, 10, tzinfo=UTC)
POSTING = {"source": "world", "destination": "Users:1", "amount": 100, "asset": "EUR/2"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("  Order-1\n", "order-1"),
        ("STRASSE \N{LATIN CAPITAL LETTER SHARP S}", "strasse ss"),
        ("a\0b", "a\ufffdb"),
        ("", None),
        (" \t", None),
        ("k" * MAX_KEY_CHARACTERS, "k" * MAX_KEY_CHARACTERS),
        ("k" * (MAX_KEY_CHARACTERS + 1), None),
        # Without its letter case it has two letters for each.
        ("\N{LATIN SMALL LETTER SHARP S}" * MAX_KEY_CHARACTERS, None),
    ],
)
def test_a_key_has_no_letter_case_and_is_not_long(text: str, key: str | None) -> None:
    assert normalised(text) == key


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        ({"id": "users:1", "ledger": "default"}, ["users:1"]),
        (
            {
                "ledger": "default",
                "data": {"postings": [POSTING, POSTING], "reference": "R-1", "metadata": {"id": "m"}},
            },
            ["R-1", "world", "Users:1", "world", "Users:1"],
        ),
        ({"data": [{"id": 10**30, "txid": 12, "postings": [POSTING]}]}, [str(10**30), "12", "world", "Users:1"]),
        (
            {"id": "w", "data": {"amount": {"amount": 1}, "sources": [{"type": "ACCOUNT", "identifier": "bank"}]}},
            ["w", "bank"],
        ),
        ({"amount": 1, "type": "PAYOUT", "source": "a", "destination": "b", "connectorID": "stripe"}, ["a", "b"]),
        ({"data": {"id": "p", "sourceAccountID": "s", "destinationAccountID": None, "raw": {"id": "x"}}}, ["p", "s"]),
        ({"cursor": {"data": [{"id": "w1"}, {"id": "w2"}]}}, ["w1", "w2"]),
        ({"id": True, "txid": 1.5, "account": None, "source": []}, []),
        ([[{"id": "deep"}]], ["deep"]),
        ("id", []),
        (None, []),
    ],
)
def test_ids_of_an_activity(value: Any, ids: list[str]) -> None:
    assert ids_in(value) == ids


def test_not_all_of_a_large_answer_is_looked_at() -> None:
    wallets = [{"id": f"w{number}"} for number in range(MAX_VISITED)]
    assert ids_in({"id": "first", "data": wallets}) == ["first"]
    assert len(keys_of(f"k{number}" for number in range(1000))) == MAX_KEYS


STARTED = events.InstanceStarted(
    at=AT,
    workflow_id="w",
    stages=Raw(b"[]"),
    variables={"order": "A-1", "again": "a-1", "empty": ""},
    occurrence_id="o",
)


def folded(*happened: Any, finds_keys: bool = True) -> Batch:
    batch = Batch(finds_keys)
    for offset, event in enumerate(happened):
        batch.add(0, Recorded("i", offset + 1, event, offset, None))
    return batch


def test_the_keys_of_a_run() -> None:
    batch = folded(
        STARTED,
        events.StageStarted(at=AT, workflow_id="w", number=0, name="RunWaitEvent", input={"event": "Approved"}),
        events.EventReceived(at=AT, name="approved"),
        events.StageStarted(at=AT, workflow_id="w", number=1, name="RunSend", input={"event": "no event"}),
        events.ActivityStarted(at=AT, stage=1, index=0, name="GetPayment", input={"id": "P"}),
        events.ActivityEnded(at=AT, stage=1, index=0, attempt=1, output={"data": {"id": "P", "reference": "R"}}),
    )
    keys = ["a-1", "o", "approved", "p", "r"]
    assert list(batch.keys.values()) == [FoundKey("i", key, AT) for key in keys]
    # What came twice counts twice.
    assert batch.instances["i"].keys == 7


def test_the_first_keys_count() -> None:
    sent = [events.EventReceived(at=AT, name=f"e{number}") for number in range(MAX_KEYS + 5)]
    assert list(folded(STARTED, *sent).keys)[-1] == ("i", f"e{MAX_KEYS - 3}")
    batch = folded(*sent)
    assert batch.instances["i"].keys == MAX_KEYS + 5
    assert [found.room for found in batch.keys.values()] == list(range(MAX_KEYS, 0, -1))


def test_keys_can_be_turned_off() -> None:
    batch = folded(STARTED, events.EventReceived(at=AT, name="x"), finds_keys=False)
    assert (batch.keys, batch.instances["i"].keys) == ({}, None)
