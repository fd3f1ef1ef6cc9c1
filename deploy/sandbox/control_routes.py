"""The sandbox's own API, `/sandbox/…`: put payments in, look at what the stack was told, switch faults, start over."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from deploy.sandbox.endpoint import Answer, Call, Handler, json_answer
from deploy.sandbox.errors import ValidationError
from deploy.sandbox.faults import EVERY_ENDPOINT, Faults, FaultSettings
from deploy.sandbox.payments import Payment
from deploy.sandbox.stack_routes import STACK_ROUTES
from deploy.sandbox.state import Sandbox
from deploy.sandbox.values import decode

DEFAULT_PAGE_SIZE: Final = 1000
MAX_PAGE_SIZE: Final = 10_000
"""Encoding a page blocks every other request: 10,000 transactions take about 0.15 s."""
MAX_OFFSET: Final = 10**9

_payment_decoder = msgspec.json.Decoder(Payment)
_faults_decoder = msgspec.json.Decoder(FaultSettings)
_endpoint_names = frozenset(route.name for route in STACK_ROUTES)


def create_payment(sandbox: Sandbox, call: Call) -> Answer:
    """Puts a payment in; only `asset` and `initialAmount` are required: 201 with it."""
    return json_answer(201, {"data": sandbox.payments.add(decode(_payment_decoder, call.body))})


def list_transactions(sandbox: Sandbox, call: Call) -> Answer:
    """Shows a page (`offset`, `limit`) of a ledger's transactions, oldest first: 200."""
    page, has_more = _page(call, sandbox.ledgers.get(call.params["ledger"]).transactions)
    return json_answer(200, {"data": [transaction.view() for transaction in page], "hasMore": has_more})


def list_transfer_initiations(sandbox: Sandbox, call: Call) -> Answer:
    """Shows a page (`offset`, `limit`) of the transfer initiations, oldest first: 200."""
    page, has_more = _page(call, sandbox.payments.transfers)
    return json_answer(200, {"data": page, "hasMore": has_more})


def show_calls(sandbox: Sandbox, call: Call) -> Answer:
    """Shows the counters by endpoint name; endpoints that were never called are left out: 200."""
    return json_answer(200, {"data": sandbox.calls})


def show_faults(sandbox: Sandbox, call: Call) -> Answer:
    """Shows the fault switches: 200."""
    return json_answer(200, {"data": sandbox.faults.settings})


def set_faults(sandbox: Sandbox, call: Call) -> Answer:
    """Replaces the fault switches and starts their random draws over: 204."""
    settings = decode(_faults_decoder, call.body)
    for rule in settings.faults:
        if rule.endpoint != EVERY_ENDPOINT and rule.endpoint not in _endpoint_names:
            known = ", ".join(sorted(_endpoint_names))
            raise ValidationError(f"unknown endpoint '{rule.endpoint}': one of {known}, or {EVERY_ENDPOINT}")
    sandbox.faults = Faults(settings)
    return Answer(204)


def revoke_tokens(sandbox: Sandbox, call: Call) -> Answer:
    """Makes all access tokens invalid: 200 with their number."""
    return json_answer(200, {"data": {"revoked": sandbox.tokens.revoke_all()}})


def reset(sandbox: Sandbox, call: Call) -> Answer:
    """Back to the start; tokens stay valid: 204."""
    sandbox.reset()
    return Answer(204)


class ControlRoute(NamedTuple):
    """One call of the sandbox's own API."""

    method: str
    path: str
    handler: Handler
    writes: bool = False


CONTROL_ROUTES: Final = (
    ControlRoute("POST", "/sandbox/payments", create_payment, writes=True),
    ControlRoute("GET", "/sandbox/ledgers/{ledger}/transactions", list_transactions),
    ControlRoute("GET", "/sandbox/transfer-initiations", list_transfer_initiations),
    ControlRoute("GET", "/sandbox/calls", show_calls),
    ControlRoute("GET", "/sandbox/faults", show_faults),
    ControlRoute("PUT", "/sandbox/faults", set_faults),
    ControlRoute("POST", "/sandbox/tokens/revoke", revoke_tokens),
    ControlRoute("POST", "/sandbox/reset", reset),
)


def _page(call: Call, items: Sequence[Any]) -> tuple[Sequence[Any], bool]:
    offset = call.number("offset", 0, MAX_OFFSET)
    limit = call.number("limit", DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    return items[offset : offset + limit], len(items) > offset + limit
