"""Activities of the wallets service (contract: `workflows`, "Activities"; `stack-api`, "Wallets")."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from engine.activities.operations import Operation, Request, encoded, segment
from schemas.activities import CREDIT_WALLET, DEBIT_WALLET, GET_WALLET, LIST_WALLETS
from schemas.stack.answers import Answer, check, ignore, read
from schemas.stack.errors import NotSendable, Refused

_WALLETS: Final = "/api/wallets/wallets"

_NonEmpty = Annotated[str, Meta(min_length=1)]


class _Wallet(Struct):
    id: _NonEmpty
    ledger: _NonEmpty
    metadata: dict[str, Any] | None = None


class _WalletAnswer(Struct):
    data: _Wallet


class _Cursor(Struct):
    data: list[_Wallet]


class _WalletsAnswer(Struct):
    cursor: _Cursor


class _HoldAnswer(Struct):
    data: dict[str, Any]


def _get_wallet(given: Mapping[str, Any], key: str) -> Request:
    return Request(method="GET", path=f"{_WALLETS}/{segment('wallet id', given['id'])}")


def _wallet(answer: Answer) -> Any:
    if answer.status == 404:
        # The service says so with an empty body. Taken for success, this would become a debit of wallet "".
        raise Refused("wallet not found", answer.status)
    return read(answer, _WalletAnswer)


def _list_wallets(given: Mapping[str, Any], key: str) -> Request:
    if not given["name"]:
        # Without a name the service lists all wallets, and money could go to any of them.
        raise NotSendable("the wallet name is empty")
    return Request(method="GET", path=f"{_WALLETS}?name={encoded('wallet name', given['name'])}")


def _wallets(answer: Answer) -> Any:
    """The first page: it tells none, one and several apart, which is all that a look-up by name asks."""
    return read(answer, _WalletsAnswer)


def _credit_wallet(given: Mapping[str, Any], key: str) -> Request:
    return _move(given, "credit", key)


def _debit_wallet(given: Mapping[str, Any], key: str) -> Request:
    return _move(given, "debit", key)


def _move(given: Mapping[str, Any], verb: str, key: str) -> Request:
    return Request(
        method="POST",
        path=f"{_WALLETS}/{segment('wallet id', given['id'])}/{verb}",
        body=given["data"],
        idempotency_key=key,
    )


def _hold(answer: Answer) -> Any:
    check(answer)
    return {"data": read(answer, _HoldAnswer)["data"]} if answer.body else None


OPERATIONS: Final = {
    GET_WALLET: Operation(_get_wallet, _wallet),
    LIST_WALLETS: Operation(_list_wallets, _wallets),
    CREDIT_WALLET: Operation(_credit_wallet, ignore),
    DEBIT_WALLET: Operation(_debit_wallet, _hold),
}
