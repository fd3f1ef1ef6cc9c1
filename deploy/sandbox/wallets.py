"""Wallets and holds (contract: `stack-api`, part Wallets).

A wallet is a name over accounts of the ledger `wallets-002`: `wallets:<id without ->:<balance>`. A pending debit moves
the money to `wallets:holds:<id without ->` until the hold is confirmed (money goes on to the destination) or voided (it
goes back to the balances that it came from).
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final, Literal

import msgspec

from deploy.sandbox.errors import (
    HoldClosedError,
    InsufficientFundError,
    InternalError,
    ValidationError,
    WalletNotFoundError,
)
from deploy.sandbox.idempotency import IdempotencyKeys, Outcome
from deploy.sandbox.ledger import WORLD, Ledger, Posting
from deploy.sandbox.values import Amount, Asset, Timestamp, checked_address

MAIN_BALANCE: Final = "main"


class Monetary(msgspec.Struct, frozen=True, gc=False):
    """An amount in the asset's smallest unit."""

    amount: Amount
    asset: Asset


class Subject(msgspec.Struct, frozen=True):
    """Where money comes from or goes to: a ledger account, or a balance (default `main`) of a wallet."""

    type: Literal["ACCOUNT", "WALLET"]
    identifier: str
    balance: str | None = None

    def address(self) -> str:
        """The account in `wallets-002`; raises `ValidationError` where the parts make no address."""
        if self.type == "WALLET":
            return balance_address(self.identifier, self.balance or MAIN_BALANCE)
        return checked_address(self.identifier)


class CreateWallet(msgspec.Struct, frozen=True):
    """The body of `POST /wallets`."""

    name: str
    metadata: dict[str, str] | None = None


class CreateBalance(msgspec.Struct, frozen=True):
    """The body of `POST /wallets/{id}/balances`."""

    name: str


class Credit(msgspec.Struct, frozen=True):
    """The body of `POST /wallets/{id}/credit`; without `sources` the money comes from `world`."""

    amount: Monetary
    sources: list[Subject] | None = None
    balance: str | None = None
    metadata: dict[str, str] | None = None
    timestamp: Timestamp | None = None


class Debit(msgspec.Struct, frozen=True):
    """The body of `POST /wallets/{id}/debit`; without `destination` the money goes to `world`."""

    amount: Monetary
    pending: bool = False
    destination: Subject | None = None
    balances: list[str] | None = None
    metadata: dict[str, str] | None = None
    description: str | None = None
    timestamp: Timestamp | None = None


class Confirm(msgspec.Struct, frozen=True):
    """The body of `POST /holds/{id}/confirm`: how much (default: all), and whether the rest goes back."""

    amount: Amount | None = None
    final: bool = False


class Wallet(msgspec.Struct):
    """A wallet and the names of its balances."""

    id: str
    name: str
    metadata: dict[str, str]
    created_at: datetime
    balances: list[str]

    def view(self) -> dict[str, Any]:
        """As lists show it: without money."""
        return {
            "id": self.id,
            "name": self.name,
            "metadata": self.metadata,
            "createdAt": self.created_at,
            "ledger": "wallets-002",
        }


class Hold(msgspec.Struct):
    """Money set aside by a pending debit; `parts` are what each balance gave and was not yet given on."""

    id: str
    wallet_id: str
    destination: Subject
    asset: str
    metadata: dict[str, str]
    description: str
    parts: list[tuple[str, int]]
    closed: bool = False

    @property
    def address(self) -> str:
        """The account that keeps the money."""
        return f"wallets:holds:{self.id.replace('-', '')}"

    def view(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "id": self.id,
            "walletID": self.wallet_id,
            "destination": {"type": self.destination.type, "identifier": self.destination.identifier},
            "asset": self.asset,
            "metadata": self.metadata,
            "description": self.description,
        }


class Wallets:
    """All wallets and holds. Every change is made once per idempotency key."""

    def __init__(self, ledger: Ledger, now: Callable[[], datetime], new_id: Callable[[], str]) -> None:
        self._ledger = ledger
        self._now = now
        self._new_id = new_id
        self._wallets: dict[str, Wallet] = {}
        self._by_name: dict[str, list[Wallet]] = {}
        self._holds: dict[str, Hold] = {}
        self._keys = IdempotencyKeys()

    def create(self, request: CreateWallet, key: str | None) -> Outcome[Wallet]:
        """Adds a wallet; names need not be unique. Raises `ValidationError` for an empty name."""
        if not request.name:
            raise ValidationError("name is required")
        return self._keys.once(key, ("wallet", request), lambda: self._create(request))

    def _create(self, request: CreateWallet) -> Wallet:
        wallet = Wallet(self._new_id(), request.name, request.metadata or {}, self._now(), [MAIN_BALANCE])
        self._wallets[wallet.id] = wallet
        self._by_name.setdefault(wallet.name, []).append(wallet)
        return wallet

    def create_balance(self, wallet_id: str, name: str, key: str | None) -> Outcome[str]:
        """Adds a balance that debits may name; raises `WalletNotFoundError` or `ValidationError`."""
        return self._keys.once(key, ("balance", wallet_id, name), lambda: self._create_balance(wallet_id, name))

    def _create_balance(self, wallet_id: str, name: str) -> str:
        wallet = self.get(wallet_id)
        balance_address(wallet_id, name)
        if name in wallet.balances:
            raise ValidationError(f"balance '{name}' exists already")
        wallet.balances.append(name)
        return name

    def get(self, wallet_id: str) -> Wallet:
        """The wallet; raises `WalletNotFoundError`."""
        wallet = self._wallets.get(wallet_id)
        if wallet is None:
            raise WalletNotFoundError("wallet not found")
        return wallet

    def find(self, name: str | None, limit: int) -> Sequence[Wallet]:
        """The first `limit` wallets of exactly that name, or of all, oldest first."""
        found = self._wallets.values() if name is None else self._by_name.get(name, ())
        return list(islice(found, limit))

    def view(self, wallet_id: str) -> dict[str, Any]:
        """A wallet with the money in its balances; raises `WalletNotFoundError`."""
        wallet = self.get(wallet_id)
        balances: dict[str, Any] = {}
        for name in wallet.balances:
            account = self._ledger.accounts.get(balance_address(wallet_id, name))
            volumes = {} if account is None else account.volumes
            assets = {asset: entry.balance for asset, entry in volumes.items()}
            balances[name] = {"expiresAt": None, "priority": 0, "assets": assets}
        return wallet.view() | {"balances": balances}

    def credit(self, wallet_id: str, request: Credit, key: str | None) -> Outcome[None]:
        """Moves money into a balance, from the sources in order.

        Neither wallet nor balance need to exist, as in the real service.

        Raises:
            ValidationError: an id, account or balance that makes no address.
            InternalError: the sources hold too little.
        """
        return self._keys.once(key, ("credit", wallet_id, request), lambda: self._credit(wallet_id, request))

    def _credit(self, wallet_id: str, request: Credit) -> None:
        destination = balance_address(wallet_id, request.balance or MAIN_BALANCE)
        sources = [source.address() for source in request.sources or ()] or [WORLD]
        try:
            self._move(sources, destination, request.amount, request.metadata, request.timestamp)
        except InsufficientFundError as error:
            raise InternalError(str(error)) from None

    def debit(self, wallet_id: str, request: Debit, key: str | None) -> Outcome[Hold | None]:
        """Moves money out of the named balances (default `main`), in order; gives a hold if the debit is pending.

        Raises:
            ValidationError: an account or wallet in `destination` that makes no address.
            InternalError: the wallet or one of the balances does not exist.
            InsufficientFundError: the balances hold too little.
        """
        return self._keys.once(key, ("debit", wallet_id, request), lambda: self._debit(wallet_id, request))

    def _debit(self, wallet_id: str, request: Debit) -> Hold | None:
        wallet = self._wallets.get(wallet_id)
        names = request.balances or [MAIN_BALANCE]
        unknown = [name for name in names if wallet is None or name not in wallet.balances]
        if unknown:
            raise InternalError(f"balance '{unknown[0]}' of wallet '{wallet_id}' does not exist")
        sources = [balance_address(wallet_id, name) for name in names]
        destination = request.destination or Subject("ACCOUNT", WORLD)
        address = destination.address()
        if not request.pending:
            self._move(sources, address, request.amount, request.metadata, request.timestamp)
            return None
        hold = Hold(
            id=self._new_id(),
            wallet_id=wallet_id,
            destination=destination,
            asset=request.amount.asset,
            metadata=request.metadata or {},
            description=request.description or "",
            parts=[],
        )
        postings = self._move(sources, hold.address, request.amount, request.metadata, request.timestamp)
        hold.parts = [(posting.source, posting.amount) for posting in postings]
        self._holds[hold.id] = hold
        return hold

    def confirm(self, hold_id: str, request: Confirm, key: str | None) -> Outcome[None]:
        """Gives a hold's money, or part of it, on to its destination; what is left stays held unless `final`.

        Raises:
            WalletNotFoundError, HoldClosedError: the hold does not exist, or is closed.
            InsufficientFundError: more than is held.
        """
        return self._keys.once(key, ("confirm", hold_id, request), lambda: self._confirm(hold_id, request))

    def _confirm(self, hold_id: str, request: Confirm) -> None:
        hold = self._open_hold(hold_id)
        held = sum(amount for _, amount in hold.parts)
        amount = held if request.amount is None else request.amount
        self._move([hold.address], hold.destination.address(), Monetary(amount, hold.asset), hold.metadata, None)
        rest = []
        for address, part in hold.parts:
            taken = min(part, amount)
            amount -= taken
            if part > taken:
                rest.append((address, part - taken))
        hold.parts = rest
        if request.final:
            self._give_back(hold)
        hold.closed = not hold.parts

    def void(self, hold_id: str, key: str | None) -> Outcome[None]:
        """Gives what a hold keeps back to its wallet; raises `WalletNotFoundError`, `HoldClosedError`."""
        return self._keys.once(key, ("void", hold_id), lambda: self._void(hold_id))

    def _void(self, hold_id: str) -> None:
        hold = self._open_hold(hold_id)
        self._give_back(hold)
        hold.closed = True

    def _open_hold(self, hold_id: str) -> Hold:
        hold = self._holds.get(hold_id)
        if hold is None:
            raise WalletNotFoundError("hold not found")
        if hold.closed:
            raise HoldClosedError("the hold is closed")
        return hold

    def _give_back(self, hold: Hold) -> None:
        postings = [Posting(hold.address, address, amount, hold.asset) for address, amount in hold.parts]
        if postings:
            self._ledger.post(postings, metadata=hold.metadata)
        hold.parts = []

    def _move(
        self,
        sources: Sequence[str],
        destination: str,
        money: Monetary,
        metadata: dict[str, str] | None,
        timestamp: datetime | None,
    ) -> Sequence[Posting]:
        postings = []
        missing = money.amount
        for source in sources:
            available = missing if source == WORLD else max(self._ledger.balance(source, money.asset), 0)
            part = min(missing, available)
            if part:
                postings.append(Posting(source, destination, part, money.asset))
            missing -= part
        if missing:
            raise InsufficientFundError(sources[-1])
        postings = postings or [Posting(sources[0], destination, 0, money.asset)]
        return self._ledger.post(postings, metadata=metadata or {}, timestamp=timestamp).postings


def balance_address(wallet_id: str, balance: str) -> str:
    """The account of a wallet's balance; raises `ValidationError` where the two make no address."""
    return checked_address(f"wallets:{wallet_id.replace('-', '')}:{balance}")
