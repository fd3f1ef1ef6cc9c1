"""What is in the sandbox, as scenarios speak of it."""

from typing import Any

from deploy.sandbox.errors import SandboxError
from deploy.sandbox.ledger import Account as LedgerAccount
from deploy.sandbox.payments import TransferInitiation
from deploy.sandbox.state import Sandbox
from deploy.sandbox.wallets import balance_address


class Books:
    """Ledgers, wallets and transfers of a sandbox, to be looked at.

    Args:
        sandbox: the sandbox.
    """

    def __init__(self, sandbox: Sandbox):
        self._sandbox = sandbox

    def account(self, ledger: str, address: str) -> LedgerAccount | None:
        """An account; None if it was never used.

        Raises:
            LookupError: there is no ledger of that name.
        """
        try:
            return self._sandbox.ledgers.get(ledger).accounts.get(address)
        except SandboxError as error:
            raise LookupError(str(error)) from None

    def balance(self, ledger: str, address: str, asset: str) -> int:
        """What an account holds.

        Raises:
            LookupError: there is no ledger of that name.
        """
        account = self.account(ledger, address)
        volumes = None if account is None else account.volumes.get(asset)
        return 0 if volumes is None else volumes.balance

    def metadata(self, ledger: str, address: str) -> dict[str, str]:
        """The metadata of an account.

        Raises:
            LookupError: there is no ledger of that name.
        """
        account = self.account(ledger, address)
        return {} if account is None else account.metadata

    def wallet_balance(self, wallet: str, balance: str, asset: str) -> int:
        """What a balance of a wallet holds.

        Raises:
            LookupError: there is no wallet with that id.
        """
        try:
            ledger = self._sandbox.wallets.get(wallet).view()["ledger"]
            return self.balance(ledger, balance_address(wallet, balance), asset)
        except SandboxError as error:
            raise LookupError(f"wallet '{wallet}': {error}") from None

    def transfers(self) -> list[dict[str, Any]]:
        """All transfers, oldest first, with the names of `model.Transfer`."""
        return [_shown(transfer) for transfer in self._sandbox.payments.transfers]


def _shown(transfer: TransferInitiation) -> dict[str, Any]:
    return {
        "amount": transfer.amount,
        "asset": transfer.asset,
        "destination": transfer.destination_account_id,
        "source": transfer.source_account_id,
        "provider": transfer.provider,
        "type": transfer.type,
        "status": transfer.status,
    }
