"""Every kind of answer of the stack: what becomes an output, what a refusal, and what can't be read."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.activities.attempts import OPERATIONS, as_failure
from engine.core.retries import is_final
from schemas.activities import (
    ADD_ACCOUNT_METADATA,
    CREATE_TRANSACTION,
    CREATE_TRANSFER_INITIATION,
    CREDIT_WALLET,
    DEBIT_WALLET,
    GET_ACCOUNT,
    GET_PAYMENT,
    GET_WALLET,
    LIST_WALLETS,
)
from schemas.error_texts import MAX_ERROR_BYTES
from schemas.stack.answers import Answer, printable
from schemas.stack.errors import Refused, Unreadable

HUGE = 2**70 + 1
POSTING = {"source": "world", "destination": "users:7", "amount": HUGE, "asset": "EUR/2"}
CREATED = {
    "id": 41,
    "postings": [POSTING],
    "metadata": {"order": "A-1"},
    "timestamp": "2026-03-01T10:00:05.58Z",
    "insertedAt": "…",
    "reverted": False,
    "preCommitVolumes": {"users:7": {"EUR/2": {"input": 0, "output": 0, "balance": 0}}},
}
SHOWN = {
    "id": 41,
    "txid": 41,
    "postings": [POSTING],
    "metadata": {"order": "A-1"},
    "timestamp": "2026-03-01T10:00:05.58Z",
    "reverted": False,
}
ACCOUNT = {"data": {"address": "users:7", "metadata": {}, "balances": {"EUR/2": HUGE}}}
PAYMENT = {"data": {"id": "p", "initialAmount": HUGE, "asset": "EUR/2", "adjustments": []}}
WALLET = {"data": {"id": "w", "name": "alice", "ledger": "wallets-002", "metadata": {"k": "v"}}}
WALLETS = {"cursor": {"pageSize": 15, "hasMore": False, "data": [WALLET["data"]]}}
NO_WALLETS: dict[str, Any] = {"cursor": {"pageSize": 15, "hasMore": False, "data": []}}
HOLD = {"data": {"id": "h", "walletID": "w", "asset": "EUR/2"}}


def output(name: str, status: int, body: bytes) -> Any:
    return OPERATIONS[name].output(Answer(status, body))


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


@pytest.mark.parametrize(
    ("name", "status", "answer", "expected"),
    [
        (GET_ACCOUNT, 200, ACCOUNT, ACCOUNT),
        (GET_ACCOUNT, 200, {"data": {"metadata": None}}, {"data": {"metadata": None}}),
        (GET_PAYMENT, 200, PAYMENT, PAYMENT),
        (GET_WALLET, 200, WALLET, WALLET),
        (LIST_WALLETS, 200, WALLETS, WALLETS),
        (LIST_WALLETS, 200, NO_WALLETS, NO_WALLETS),
        (CREATE_TRANSACTION, 200, {"data": CREATED}, {"data": [SHOWN]}),
        (CREATE_TRANSACTION, 201, {"data": CREATED}, {"data": [SHOWN]}),
        (
            CREATE_TRANSACTION,
            200,
            {"data": CREATED | {"reference": "r1", "metadata": None}},
            {"data": [SHOWN | {"reference": "r1", "metadata": {}}]},
        ),
        (DEBIT_WALLET, 201, HOLD | {"more": 1}, HOLD),
        (CREATE_TRANSFER_INITIATION, 200, {"data": {"id": "t"}}, None),
    ],
)
def test_a_success_becomes_the_output(name: str, status: int, answer: Any, expected: Any) -> None:
    found = output(name, status, encoded(answer))
    assert found == expected
    assert encoded(found) == encoded(expected)


@pytest.mark.parametrize("name", [ADD_ACCOUNT_METADATA, CREDIT_WALLET, DEBIT_WALLET, CREATE_TRANSFER_INITIATION])
def test_an_empty_success_has_no_output(name: str) -> None:
    assert output(name, 204, b"") is None


def test_nul_characters_in_an_answer_stay_escaped() -> None:
    answer = encoded({"data": {"metadata": {"k": "a\x00b"}}})
    assert encoded(output(GET_ACCOUNT, 200, answer)) == answer == b'{"data":{"metadata":{"k":"a\\u0000b"}}}'


GARBAGE = [
    b"<html>",
    b"null",
    b"[]",
    b'{"data": 1',
    b'"\xff"',
    b'{"data":{"metadata":{"k":"\\ud800"}}}',
    b"[" * 100_000,
    b'{"data":' * 100_000,
]


@pytest.mark.parametrize("name", sorted(OPERATIONS))
@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: str(body[:20]))
def test_garbage_is_unreadable_and_tried_again(name: str, body: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        output(name, 200, body)
    assert not is_final(name, as_failure(caught.value))
    assert str(caught.value).startswith("HTTP 200, but the answer can't be read")


@pytest.mark.parametrize("name", [GET_ACCOUNT, GET_PAYMENT, GET_WALLET, LIST_WALLETS, CREATE_TRANSACTION])
def test_an_empty_body_is_unreadable_where_an_output_is_due(name: str) -> None:
    with pytest.raises(Unreadable, match="it is empty"):
        output(name, 204, b"")


@pytest.mark.parametrize(
    ("name", "body", "where"),
    [
        (GET_ACCOUNT, '{"data": []}', "$.data"),
        (GET_ACCOUNT, '{"data": {"metadata": []}}', "$.data.metadata"),
        (GET_PAYMENT, '{"data": {"asset": "EUR/2"}}', "initialAmount"),
        (GET_PAYMENT, '{"data": {"asset": "EUR/2", "initialAmount": 1e3}}', "$.data.initialAmount"),
        (GET_PAYMENT, '{"data": {"asset": "EUR/2", "initialAmount": 10.0}}', "$.data.initialAmount"),
        (GET_PAYMENT, '{"data": {"asset": "EUR/2", "initialAmount": 1e999}}', "out of range"),
        (GET_PAYMENT, '{"data": {"asset": "EUR/2", "initialAmount": "10"}}', "$.data.initialAmount"),
        (GET_PAYMENT, '{"data": {"asset": "EUR/2", "initialAmount": true}}', "$.data.initialAmount"),
        (GET_PAYMENT, '{"data": {"asset": "", "initialAmount": 10}}', "$.data.asset"),
        (GET_WALLET, '{"data": {"id": "", "ledger": "l"}}', "$.data.id"),
        (GET_WALLET, '{"data": {"id": "w"}}', "ledger"),
        (LIST_WALLETS, '{"cursor": {"data": null}}', "$.cursor.data"),
        (LIST_WALLETS, '{"cursor": {"data": [{"id": "w"}]}}', "$.cursor.data[0]"),
        (CREATE_TRANSACTION, json.dumps({"data": [CREATED]}), "$.data"),
        (CREATE_TRANSACTION, json.dumps({"data": CREATED | {"id": "41"}}), "$.data.id"),
        (CREATE_TRANSACTION, json.dumps({"data": CREATED | {"timestamp": None}}), "$.data.timestamp"),
        (CREATE_TRANSACTION, json.dumps({"data": CREATED | {"postings": [POSTING | {"amount": 1e3}]}}), "amount"),
        (DEBIT_WALLET, '{"data": null}', "$.data"),
    ],
)
def test_another_shape_is_unreadable_and_the_error_says_where(name: str, body: str, where: str) -> None:
    with pytest.raises(Unreadable) as caught:
        output(name, 200, body.encode())
    assert where in str(caught.value)
    assert not is_final(name, as_failure(caught.value))


def test_an_answer_too_deep_to_be_recorded_is_unreadable() -> None:
    def nested(depth: int) -> bytes:
        return b'{"data":{"metadata":{"k":' + b"[" * depth + b"]" * depth + b"}}}"

    assert output(GET_ACCOUNT, 200, nested(97))
    with pytest.raises(Unreadable, match="nested deeper"):
        output(GET_ACCOUNT, 200, nested(98))


REFUSALS: list[tuple[int, bytes, str, str | None]] = [
    (400, b'{"errorCode": "VALIDATION", "errorMessage": "bad address"}', "bad address", "VALIDATION"),
    (400, b'{"errorCode": "INSUFFICIENT_FUND", "errorMessage": "no money"}', "no money", "INSUFFICIENT_FUND"),
    (500, b'{"errorCode": "INTERNAL_ERROR"}', "HTTP 500", "INTERNAL_ERROR"),
    (500, b'{"errorCode": "", "errorMessage": ""}', "HTTP 500", None),
    (500, b'{"errorCode": 7, "errorMessage": ["x"]}', "HTTP 500", None),
    (401, b'{"error": "invalid_token"}', "HTTP 401", None),
    (502, b"<html>Bad Gateway</html>", "HTTP 502", None),
    (503, b"", "HTTP 503", None),
    (503, b"[" * 100_000, "HTTP 503", None),
    (503, b'"text"', "HTTP 503", None),
    (302, b"", "HTTP 302 (redirects are not followed)", None),
    (304, b"", "HTTP 304 (redirects are not followed)", None),
    (
        400,
        b'{"errorCode": "COMPILATION_FAILED", '
        b'"errorMessage": "\\u001b[31m--> error:1:6\\u001b[0m\\r\\n  |\\n\\u0000x\\u0007"}',
        "--> error:1:6\n  |\nx",
        "COMPILATION_FAILED",
    ),
    (400, b'{"errorCode": "VALIDATION", "errorMessage": "half \\ud800 a pair"}', "half  a pair", "VALIDATION"),
    (400, b'{"errorCode": "VALIDATION", "errorMessage": "\\u0000"}', "HTTP 400", "VALIDATION"),
]


@pytest.mark.parametrize("name", sorted(OPERATIONS))
@pytest.mark.parametrize(("status", "body", "error", "code"), REFUSALS, ids=lambda value: str(value)[:30])
def test_a_refusal_keeps_the_stacks_own_words(
    name: str, status: int, body: bytes, error: str, code: str | None
) -> None:
    with pytest.raises(Refused) as caught:
        output(name, status, body)
    failure = as_failure(caught.value)
    assert (failure.error, failure.status, failure.code) == (error, status, code)
    assert is_final(name, failure) == (code in ("VALIDATION", "COMPILATION_FAILED"))


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_only_a_wallet_that_is_read_ends_by_404(name: str) -> None:
    with pytest.raises(Refused) as caught:
        output(name, 404, b"")
    assert is_final(name, as_failure(caught.value)) == (name == GET_WALLET)
    assert str(caught.value) == ("wallet not found" if name == GET_WALLET else "HTTP 404")


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - {CREATE_TRANSFER_INITIATION}))
def test_a_conflict_ends_an_activity(name: str) -> None:
    with pytest.raises(Refused) as caught:
        output(name, 409, b'{"errorCode": "CONFLICT", "errorMessage": "reference used"}')
    assert is_final(name, as_failure(caught.value))


def test_a_transfer_initiation_that_is_there_already_is_ours() -> None:
    taken = b'{"errorCode": "CONFLICT", "errorMessage": "reference used"}'
    assert output(CREATE_TRANSFER_INITIATION, 400, taken) is None


def test_long_errors_are_cut() -> None:
    body = json.dumps({"errorCode": "E" * 9000, "errorMessage": "é" * 9000}).encode()
    with pytest.raises(Refused) as caught:
        output(GET_ACCOUNT, 500, body)
    assert len(str(caught.value).encode()) <= MAX_ERROR_BYTES
    assert str(caught.value).endswith("é…")
    assert caught.value.code == "E" * 100


@given(st.text(alphabet=st.characters(), max_size=200), st.integers(min_value=3, max_value=100))
def test_printable_texts_can_be_stored_anywhere(text: str, max_bytes: int) -> None:
    kept = printable(text, max_bytes)
    assert len(kept.encode()) <= max_bytes
    assert all(char in "\n\t" or ord(char) >= 0x20 for char in kept)
    assert "\x7f" not in kept
    assert "\x1b" not in kept
