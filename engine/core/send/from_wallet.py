"""`send` from a wallet: to an account, a wallet or a payment (contract: `workflows`, "`send`, by pair")."""

from engine.core.send.payments import destination_account, transfer_initiation
from engine.core.send.steps import Move, Plan, call
from engine.core.send.transactions import arrive, move_from, move_to
from engine.core.send.wallets import credit, debit, look_up
from schemas.activities import account_subject, wallet_subject
from schemas.definition import AccountEnd, Destination, PaymentDestination, WalletEnd
from schemas.definition.ends import MAIN_BALANCE


def from_wallet(source: WalletEnd, destination: Destination, move: Move) -> Plan[None]:
    """Move money from a wallet."""
    match destination:
        case AccountEnd():
            return _to_account(source, destination, move)
        case WalletEnd():
            return _to_wallet(source, destination, move)
        case PaymentDestination():
            return _to_payment(source, destination, move)


def _to_account(source: WalletEnd, destination: AccountEnd, move: Move) -> Plan[None]:
    wallet = yield from look_up(source)
    if wallet.ledger == destination.ledger:
        yield from call(debit(wallet, move, destination=account_subject(destination.id)))
        return
    yield from call(debit(wallet, move, extra_metadata=move_to(destination.ledger)))
    yield from call(arrive(destination, move, wallet.ledger))


def _to_wallet(source: WalletEnd, destination: WalletEnd, move: Move) -> Plan[None]:
    paying = yield from look_up(source)
    paid = yield from look_up(destination)
    if paying.ledger == paid.ledger:
        # The contract has the balance `main` here, whatever the stage says.
        yield from call(credit(paid, move, sources=[wallet_subject(paying.id, MAIN_BALANCE)]))
        return
    yield from call(debit(paying, move, extra_metadata=move_to(paid.ledger)))
    yield from call(credit(paid, move, extra_metadata=move_from(paying.ledger)))


def _to_payment(source: WalletEnd, destination: PaymentDestination, move: Move) -> Plan[None]:
    wallet = yield from look_up(source)
    account = destination_account(destination, wallet.metadata)
    # The wallet first: the wallets service checks the balance before money leaves for good.
    yield from call(debit(wallet, move))
    yield from call(transfer_initiation(destination, account, move))
