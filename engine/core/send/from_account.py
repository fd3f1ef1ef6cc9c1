"""`send` from an account: to an account, a wallet or a payment (contract: `workflows`, "`send`, by pair")."""

from engine.core.send.payments import destination_account, transfer_initiation
from engine.core.send.steps import Move, Plan, answered, call
from engine.core.send.transactions import arrive, leave, move_from, move_to, transaction
from engine.core.send.wallets import credit, look_up
from schemas.activities import GET_ACCOUNT, account_subject, get_account
from schemas.definition import AccountEnd, Destination, PaymentDestination, WalletEnd


def from_account(source: AccountEnd, destination: Destination, move: Move) -> Plan[None]:
    """Move money from an account."""
    match destination:
        case AccountEnd():
            return _to_account(source, destination, move)
        case WalletEnd():
            return _to_wallet(source, destination, move)
        case PaymentDestination():
            return _to_payment(source, destination, move)


def _to_account(source: AccountEnd, destination: AccountEnd, move: Move) -> Plan[None]:
    if source.ledger == destination.ledger:
        # Nothing goes through another account here, so `allowOverdraft` has no effect (as in the reference).
        yield from call(transaction(source.ledger, source.id, destination.id, move))
        return
    yield from call(leave(source, move, move_to(destination.ledger)))
    yield from call(arrive(destination, move, source.ledger))


def _to_wallet(source: AccountEnd, destination: WalletEnd, move: Move) -> Plan[None]:
    wallet = yield from look_up(destination)
    if source.ledger == wallet.ledger:
        yield from call(credit(wallet, move, sources=[account_subject(source.id)]))
        return
    yield from call(leave(source, move, move_to(wallet.ledger)))
    # The wallets service looks for the through account on the wallet's ledger, not on the source's.
    sources = [account_subject(source.through_account)]
    yield from call(credit(wallet, move, sources=sources, extra_metadata=move_from(source.ledger)))


def _to_payment(source: AccountEnd, destination: PaymentDestination, move: Move) -> Plan[None]:
    answer = yield from call(get_account(source.ledger, source.id))
    account = destination_account(destination, answered(answer, GET_ACCOUNT, "data", kind=dict).get("metadata"))
    # The ledger first: it checks the balance before money leaves for good.
    yield from call(leave(source, move))
    yield from call(transfer_initiation(destination, account, move))
