"""Activities: calls of the stack, as the engine plans them, the history shows them and the caller makes them.

Each function builds the `input` of one activity in the shape of the contract (`workflows`, "Activities"): what
is optional and not given is left out, `metadata` is always a map and `sources` always a list. Amounts are integers of
any size in the asset's smallest unit; timestamps are RFC 3339 texts in UTC.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

GET_ACCOUNT: Final = "GetAccount"
ADD_ACCOUNT_METADATA: Final = "AddAccountMetadata"
CREATE_TRANSACTION: Final = "CreateTransaction"
GET_PAYMENT: Final = "GetPayment"
CREATE_TRANSFER_INITIATION: Final = "CreateTransferInitiation"
GET_WALLET: Final = "GetWallet"
LIST_WALLETS: Final = "ListWallets"
CREDIT_WALLET: Final = "CreditWallet"
DEBIT_WALLET: Final = "DebitWallet"


class Activity(msgspec.Struct, frozen=True):
    """One call of the stack.

    Attributes:
        name: Which call, one of the constants of this module.
        input: What it is called with, and what the history shows under the name.
    """

    name: str
    input: dict[str, Any]


def get_account(ledger: str, address: str) -> Activity:
    """Read an account of a ledger; the answer is `{data: {address, metadata, …}}`."""
    return Activity(GET_ACCOUNT, {"id": address, "ledger": ledger})


def add_account_metadata(ledger: str, address: str, metadata: Mapping[str, str]) -> Activity:
    """Set metadata of an account. Generated clients require `id`, hand-written readers know `account`."""
    return Activity(
        ADD_ACCOUNT_METADATA, {"id": address, "account": address, "ledger": ledger, "metadata": dict(metadata)}
    )


def create_transaction(
    ledger: str,
    *,
    postings: Sequence[Mapping[str, Any]] = (),
    script: str = "",
    metadata: Mapping[str, str],
    reference: str = "",
    timestamp: str = "",
) -> Activity:
    """Move money on a ledger, by postings `{source, destination, amount, asset}` or by a script.

    Histories show both fields a second time, see `shown_input`.
    """
    data: dict[str, Any] = {"script": {"plain": script}} if script else {"postings": list(postings)}
    data["metadata"] = dict(metadata)
    data |= _given(reference=reference, timestamp=timestamp)
    return Activity(CREATE_TRANSACTION, {"ledger": ledger, "data": data})


def get_payment(payment_id: str) -> Activity:
    """Read a payment; the answer is `{data: {initialAmount, asset, …}}`."""
    return Activity(GET_PAYMENT, {"id": payment_id})


def create_transfer_initiation(
    *,
    amount: int,
    asset: str,
    provider: str,
    type: str,
    destination: str,
    source: str = "",
    connector_id: str = "",
    waiting_validation: bool,
    metadata: Mapping[str, str],
) -> Activity:
    """Pay through a payment service provider; `type` is `TRANSFER` or `PAYOUT`."""
    return Activity(
        CREATE_TRANSFER_INITIATION,
        {
            "amount": amount,
            "asset": asset,
            "provider": provider,
            "type": type,
            **_given(source=source),
            "destination": destination,
            **_given(connectorID=connector_id),
            "waitingValidation": waiting_validation,
            "metadata": dict(metadata),
        },
    )


def get_wallet(wallet_id: str) -> Activity:
    """Read a wallet; the answer is `{data: {id, ledger, metadata, …}}`."""
    return Activity(GET_WALLET, {"id": wallet_id})


def list_wallets(name: str) -> Activity:
    """Find the wallets of a name; the answer is `{cursor: {data: [{id, ledger, metadata, …}]}}`."""
    return Activity(LIST_WALLETS, {"name": name})


def account_subject(address: str) -> dict[str, Any]:
    """An account as the source of a credit or the destination of a debit."""
    return {"type": "ACCOUNT", "identifier": address}


def wallet_subject(wallet_id: str, balance: str) -> dict[str, Any]:
    """A wallet's balance as the source of a credit."""
    return {"type": "WALLET", "identifier": wallet_id, "balance": balance}


def credit_wallet(
    wallet_id: str,
    *,
    amount: Mapping[str, Any],
    balance: str,
    sources: Sequence[Mapping[str, Any]] = (),
    metadata: Mapping[str, str],
    timestamp: str = "",
) -> Activity:
    """Add `{amount, asset}` to a wallet's balance, from the sources (subjects), or from `world` without sources."""
    data = {
        "amount": dict(amount),
        "balance": balance,
        "sources": list(sources),
        "metadata": dict(metadata),
        **_given(timestamp=timestamp),
    }
    return Activity(CREDIT_WALLET, {"id": wallet_id, "data": data})


def debit_wallet(
    wallet_id: str,
    *,
    amount: Mapping[str, Any],
    balances: Sequence[str],
    destination: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str],
    timestamp: str = "",
) -> Activity:
    """Take `{amount, asset}` from a wallet's balances, to the destination (a subject) or, without one, to `world`."""
    data: dict[str, Any] = {"amount": dict(amount), "balances": list(balances)}
    if destination is not None:
        data["destination"] = dict(destination)
    data["metadata"] = dict(metadata)
    data |= _given(timestamp=timestamp)
    return Activity(DEBIT_WALLET, {"id": wallet_id, "data": data})


class _Transaction(msgspec.Struct):
    ledger: msgspec.Raw
    data: msgspec.Raw


_TRANSACTION: Final = msgspec.json.Decoder(_Transaction)


def shown_input(name: str, given: msgspec.Raw) -> msgspec.Raw:
    """The input of an activity as histories show it.

    Generated clients read `ledger` and `data` of a transaction; `Ledger` and `Data` repeat them for hand-written
    readers (contract: `http-api`, ActivityHistory).

    Args:
        name: of the activity.
        given: its input as JSON.
    """
    if name != CREATE_TRANSACTION:
        return given
    fields = _TRANSACTION.decode(given)
    ledger, data = bytes(fields.ledger), bytes(fields.data)
    return msgspec.Raw(b'{"ledger":%s,"data":%s,"Ledger":%s,"Data":%s}' % (ledger, data, ledger, data))


def _given(**texts: str) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text}
