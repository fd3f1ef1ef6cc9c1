"""Activities of the payments service (contract: `workflows`, "Activities"; `stack-api`, "Payments")."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from engine.activities.operations import Operation, Request, segment
from schemas.activities import CREATE_TRANSFER_INITIATION, GET_PAYMENT
from schemas.stack.answers import Answer, ignore, read
from schemas.stack.errors import Refused


class _Payment(Struct, rename="camel"):
    initial_amount: int
    asset: Annotated[str, Meta(min_length=1)]


class _PaymentAnswer(Struct):
    data: _Payment


def _get_payment(given: Mapping[str, Any], key: str) -> Request:
    return Request(method="GET", path=f"/api/payments/payments/{segment('payment id', given['id'])}")


def _payment(answer: Answer) -> Any:
    return read(answer, _PaymentAnswer)


def _create_transfer_initiation(given: Mapping[str, Any], key: str) -> Request:
    optional = {
        "sourceAccountID": given.get("source"),
        "connectorID": given.get("connectorID"),
        "provider": given["provider"].upper(),
    }
    body = {
        "reference": key,
        "amount": given["amount"],
        "asset": given["asset"],
        "destinationAccountID": given["destination"],
        **{name: text for name, text in optional.items() if text},
        "type": given["type"],
        "description": f"{given['provider']} {given['type']}".strip(),
        "validated": not given["waitingValidation"],
        "metadata": given["metadata"],
    }
    return Request(method="POST", path="/api/payments/transfer-initiations", body=body, idempotency_key=key)


def _transfer_initiation(answer: Answer) -> None:
    """Nothing, and a CONFLICT is success.

    The reference names this very activity of this instance, so only an earlier call of it, whose answer was lost, can
    have used it. Better than the reference server, which reports such a payout as failed although the money is on its
    way.
    """
    try:
        ignore(answer)
    except Refused as refused:
        if refused.code != "CONFLICT":
            raise


OPERATIONS: Final = {
    GET_PAYMENT: Operation(_get_payment, _payment),
    CREATE_TRANSFER_INITIATION: Operation(_create_transfer_initiation, _transfer_initiation),
}
