"""Activities of the ledger (contract: `workflows`, "Activities"; `stack-api`, "Ledger")."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from engine.activities.operations import Operation, Request, segment
from schemas.activities import ADD_ACCOUNT_METADATA, CREATE_TRANSACTION, GET_ACCOUNT
from schemas.stack.answers import Answer, ignore, read, read_as
from schemas.stack.errors import NotSendable


def _get_account(given: Mapping[str, Any], key: str) -> Request:
    ledger = segment("ledger name", given["ledger"])
    # The ledger's newer API lives below `v2`: `v2/accounts/transactions` are the transactions of a ledger `accounts`.
    if ledger == "v2":
        raise NotSendable("'v2' can't be a ledger name")
    return Request(method="GET", path=f"/api/ledger/{ledger}/accounts/{segment('account', given['id'])}")


class _Account(Struct):
    metadata: dict[str, Any] | None = None


class _AccountAnswer(Struct):
    data: _Account


def _account(answer: Answer) -> Any:
    return read(answer, _AccountAnswer)


def _add_account_metadata(given: Mapping[str, Any], key: str) -> Request:
    ledger, account = segment("ledger name", given["ledger"]), segment("account", given["id"])
    return Request(
        method="POST",
        path=f"/api/ledger/v2/{ledger}/accounts/{account}/metadata",
        body=given["metadata"],
        idempotency_key=key,
    )


def _create_transaction(given: Mapping[str, Any], key: str) -> Request:
    return Request(
        method="POST",
        path=f"/api/ledger/v2/{segment('ledger name', given['ledger'])}/transactions",
        body=given["data"],
        idempotency_key=key,
    )


class _Posting(Struct):
    source: str
    destination: str
    amount: int
    asset: str


class _Transaction(Struct):
    id: int
    postings: list[_Posting]
    timestamp: str
    metadata: dict[str, str] | None = None
    reverted: bool = False
    reference: str | None = None


class _TransactionAnswer(Struct):
    data: _Transaction


def _transaction(answer: Answer) -> Any:
    """The transaction in the form that clients of the older ledger know: a list, and `txid` beside `id`."""
    created = read_as(answer, _TransactionAnswer).data
    transaction = {
        "id": created.id,
        "txid": created.id,
        "postings": [
            {
                "source": posting.source,
                "destination": posting.destination,
                "amount": posting.amount,
                "asset": posting.asset,
            }
            for posting in created.postings
        ],
        "metadata": created.metadata or {},
        "timestamp": created.timestamp,
        "reverted": created.reverted,
    }
    if created.reference:
        transaction["reference"] = created.reference
    return {"data": [transaction]}


OPERATIONS: Final = {
    GET_ACCOUNT: Operation(_get_account, _account),
    ADD_ACCOUNT_METADATA: Operation(_add_account_metadata, ignore),
    CREATE_TRANSACTION: Operation(_create_transaction, _transaction),
}
