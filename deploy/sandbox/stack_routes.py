"""The calls of the stack, `/api/…`: paths, names and handlers (contract: `stack-api`; names: `workflows`)."""

from typing import Final, NamedTuple

import msgspec

from deploy.sandbox.auth import TokenRequestError, configuration
from deploy.sandbox.endpoint import Answer, Call, Handler, json_answer
from deploy.sandbox.ledger import TransactionRequest
from deploy.sandbox.payments import TransferRequest
from deploy.sandbox.state import Sandbox
from deploy.sandbox.values import decode
from deploy.sandbox.wallets import Confirm, CreateBalance, CreateWallet, Credit, Debit

WALLETS_PAGE_SIZE: Final = 15

_transaction_decoder = msgspec.json.Decoder(TransactionRequest)
_metadata_decoder = msgspec.json.Decoder(dict[str, str])
_create_wallet_decoder = msgspec.json.Decoder(CreateWallet)
_create_balance_decoder = msgspec.json.Decoder(CreateBalance)
_credit_decoder = msgspec.json.Decoder(Credit)
_debit_decoder = msgspec.json.Decoder(Debit)
_confirm_decoder = msgspec.json.Decoder(Confirm)
_transfer_decoder = msgspec.json.Decoder(TransferRequest)


def create_transaction(sandbox: Sandbox, call: Call) -> Answer:
    """Commits a transaction: 200 with it."""
    ledger = sandbox.ledgers.get(call.params["ledger"])
    request = decode(_transaction_decoder, call.body)
    transaction, hit = ledger.create_transaction(request, call.idempotency_key)
    return json_answer(200, {"data": transaction.view()}, hit=hit, show_hit=True)


def add_account_metadata(sandbox: Sandbox, call: Call) -> Answer:
    """Merges metadata into an account's: 204."""
    ledger = sandbox.ledgers.get(call.params["ledger"])
    metadata = decode(_metadata_decoder, call.body)
    _, hit = ledger.add_metadata(call.params["id"], metadata, call.idempotency_key)
    return Answer(204, hit=hit, show_hit=True)


def get_account(sandbox: Sandbox, call: Call) -> Answer:
    """Shows an account: 200, also one that was never used."""
    return json_answer(200, {"data": sandbox.ledgers.get(call.params["ledger"]).account_view(call.params["id"])})


def create_ledger(sandbox: Sandbox, call: Call) -> Answer:
    """Adds a ledger: 204."""
    sandbox.ledgers.create(call.params["ledger"])
    return Answer(204)


def create_wallet(sandbox: Sandbox, call: Call) -> Answer:
    """Adds a wallet: 201 with it."""
    wallet, hit = sandbox.wallets.create(decode(_create_wallet_decoder, call.body), call.idempotency_key)
    return json_answer(201, {"data": wallet.view()}, hit=hit)


def get_wallet(sandbox: Sandbox, call: Call) -> Answer:
    """Shows a wallet with its money: 200, or 404 with an empty body."""
    return json_answer(200, {"data": sandbox.wallets.view(call.params["id"])})


def list_wallets(sandbox: Sandbox, call: Call) -> Answer:
    """Shows the first wallets of exactly the name in the query, or of all: 200."""
    names = call.queries.get("name")  # an empty one is a name that no wallet has
    found = sandbox.wallets.find(names[0] if names else None, limit=WALLETS_PAGE_SIZE + 1)
    cursor = {
        "pageSize": WALLETS_PAGE_SIZE,
        "hasMore": len(found) > WALLETS_PAGE_SIZE,
        "data": [wallet.view() for wallet in found[:WALLETS_PAGE_SIZE]],
    }
    return json_answer(200, {"cursor": cursor})


def create_balance(sandbox: Sandbox, call: Call) -> Answer:
    """Adds a balance to a wallet: 201 with it."""
    request = decode(_create_balance_decoder, call.body)
    name, hit = sandbox.wallets.create_balance(call.params["id"], request.name, call.idempotency_key)
    return json_answer(201, {"data": {"name": name, "expiresAt": None, "priority": 0}}, hit=hit)


def credit_wallet(sandbox: Sandbox, call: Call) -> Answer:
    """Moves money into a wallet: 204."""
    request = decode(_credit_decoder, call.body)
    return Answer(204, hit=sandbox.wallets.credit(call.params["id"], request, call.idempotency_key).hit)


def debit_wallet(sandbox: Sandbox, call: Call) -> Answer:
    """Moves money out of a wallet: 204, or 201 with a hold."""
    request = decode(_debit_decoder, call.body)
    hold, hit = sandbox.wallets.debit(call.params["id"], request, call.idempotency_key)
    return Answer(204, hit=hit) if hold is None else json_answer(201, {"data": hold.view()}, hit=hit)


def confirm_hold(sandbox: Sandbox, call: Call) -> Answer:
    """Gives a hold's money on: 204."""
    request = decode(_confirm_decoder, call.body or b"{}")
    return Answer(204, hit=sandbox.wallets.confirm(call.params["id"], request, call.idempotency_key).hit)


def void_hold(sandbox: Sandbox, call: Call) -> Answer:
    """Gives a hold's money back: 204."""
    return Answer(204, hit=sandbox.wallets.void(call.params["id"], call.idempotency_key).hit)


def get_payment(sandbox: Sandbox, call: Call) -> Answer:
    """Shows a payment: 200."""
    return json_answer(200, {"data": sandbox.payments.get(call.params["id"])})


def create_transfer_initiation(sandbox: Sandbox, call: Call) -> Answer:
    """Records a transfer initiation: 200 with it."""
    return json_answer(200, {"data": sandbox.payments.initiate_transfer(decode(_transfer_decoder, call.body))})


def get_token(sandbox: Sandbox, call: Call) -> Answer:
    """Issues an access token: 200; errors have the form of RFC 6749, 5.2."""
    try:
        return json_answer(200, sandbox.tokens.issue(call.body, call.header(b"authorization")))
    except TokenRequestError as error:
        return json_answer(error.status, {"error": error.error})


def get_configuration(sandbox: Sandbox, call: Call) -> Answer:
    """Shows the OIDC discovery document, with the host that the client asked for: 200."""
    return json_answer(200, configuration(f"http://{call.header(b'host') or 'localhost'}"))


class StackRoute(NamedTuple):
    """One call: its name in counters and fault switches, and whether it adds to what is kept, or needs no token."""

    method: str
    path: str
    name: str
    handler: Handler
    writes: bool = False
    public: bool = False


STACK_ROUTES: Final = (
    StackRoute("POST", "/api/ledger/v2/{ledger}/transactions", "CreateTransaction", create_transaction, writes=True),
    StackRoute("POST", "/api/wallets/wallets/{id}/credit", "CreditWallet", credit_wallet, writes=True),
    StackRoute("POST", "/api/wallets/wallets/{id}/debit", "DebitWallet", debit_wallet, writes=True),
    StackRoute("GET", "/api/wallets/wallets/{id}", "GetWallet", get_wallet),
    StackRoute("GET", "/api/wallets/wallets", "ListWallets", list_wallets),
    StackRoute("GET", "/api/ledger/{ledger}/accounts/{id}", "GetAccount", get_account),
    StackRoute(
        "POST",
        "/api/ledger/v2/{ledger}/accounts/{id}/metadata",
        "AddAccountMetadata",
        add_account_metadata,
        writes=True,
    ),
    StackRoute("GET", "/api/payments/payments/{id}", "GetPayment", get_payment),
    StackRoute(
        "POST",
        "/api/payments/transfer-initiations",
        "CreateTransferInitiation",
        create_transfer_initiation,
        writes=True,
    ),
    StackRoute("POST", "/api/wallets/wallets", "CreateWallet", create_wallet, writes=True),
    StackRoute("POST", "/api/wallets/wallets/{id}/balances", "CreateBalance", create_balance, writes=True),
    StackRoute("POST", "/api/wallets/holds/{id}/confirm", "ConfirmHold", confirm_hold, writes=True),
    StackRoute("POST", "/api/wallets/holds/{id}/void", "VoidHold", void_hold, writes=True),
    StackRoute("POST", "/api/ledger/v2/{ledger}", "CreateLedger", create_ledger, writes=True),
    StackRoute("POST", "/api/auth/oauth/token", "GetToken", get_token, public=True),
    StackRoute("GET", "/api/auth/.well-known/openid-configuration", "GetConfiguration", get_configuration, public=True),
)
"""Routes are tried in order, so the calls that a workflow makes most come first."""
