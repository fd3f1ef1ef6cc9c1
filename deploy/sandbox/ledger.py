"""Double-entry ledgers with exact balances (contract: `stack-api`, part Ledger).

Every posting takes from one account what it gives to another, so the balances of a ledger add up to zero per asset.
Only `world`, and the source of a script that allows it, may go below zero.

Volumes "effective" at a transaction's timestamp are shown as those at its insertion: the sandbox keeps no second
history by effective date, so they differ from the real ledger's when a transaction is dated back.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from deploy.sandbox.errors import (
    InsufficientFundError,
    LedgerExistsError,
    LedgerNotFoundError,
    NoPostingsError,
    ReferenceConflictError,
    ValidationError,
)
from deploy.sandbox.idempotency import IdempotencyKeys, Outcome
from deploy.sandbox.numscript import compile_script
from deploy.sandbox.values import Address, Amount, Asset, Timestamp, checked_address, checked_amount, in_utc

WORLD: Final = "world"
WALLETS_LEDGER: Final = "wallets-002"
INITIAL_LEDGERS: Final = ("default", "main", "orchestration-000-internal", WALLETS_LEDGER)
"""The ledgers that a stack has before anybody creates one."""
NEVER: Final = datetime(1, 1, 1, tzinfo=UTC)
"""The dates of an account that was never used."""

MAX_LEDGER_NAME_LENGTH: Final = 63  # The real ledger names database schemas after its ledgers: longer names fail there.


class Posting(msgspec.Struct, frozen=True, gc=False):
    """One movement of money."""

    source: Address
    destination: Address
    amount: Amount
    asset: Asset


class Script(msgspec.Struct, frozen=True):
    """A transaction as Numscript."""

    plain: str = ""
    vars: dict[str, Any] | None = None


class TransactionRequest(msgspec.Struct, frozen=True):
    """The body of `POST /v2/{ledger}/transactions`."""

    postings: list[Posting] | None = None
    script: Script | None = None
    metadata: dict[str, str] | None = None
    reference: str | None = None
    timestamp: Timestamp | None = None


class Volumes(msgspec.Struct, frozen=True, gc=False):
    """All that ever came into and went out of an account, in one asset."""

    input: int
    output: int

    @property
    def balance(self) -> int:
        """What is there now."""
        return self.input - self.output

    def view(self) -> dict[str, int]:
        """As the API shows it."""
        return {"input": self.input, "output": self.output, "balance": self.input - self.output}


NO_VOLUMES: Final = Volumes(0, 0)
Cell = tuple[str, str]  # account address and asset


class Transaction(msgspec.Struct, frozen=True):
    """A committed transaction; `cells` are what it touches, with their volumes before and after."""

    id: int
    postings: tuple[Posting, ...]
    metadata: dict[str, str]
    timestamp: datetime
    inserted_at: datetime
    reference: str | None
    cells: tuple[Cell, ...]
    before: tuple[Volumes, ...]
    after: tuple[Volumes, ...]

    def view(self) -> dict[str, Any]:
        """As the API shows it."""
        before = _volumes_by_account(self.cells, self.before)
        after = _volumes_by_account(self.cells, self.after)
        view: dict[str, Any] = {
            "id": self.id,
            "postings": self.postings,
            "metadata": self.metadata,
            "timestamp": self.timestamp,
            "insertedAt": self.inserted_at,
            "updatedAt": self.inserted_at,
            "reverted": False,
        }
        if self.reference:
            view["reference"] = self.reference
        view["preCommitVolumes"] = view["preCommitEffectiveVolumes"] = before
        view["postCommitVolumes"] = view["postCommitEffectiveVolumes"] = after
        return view


class Account(msgspec.Struct):
    """An account that was used: by a transaction or by metadata."""

    first_usage: datetime
    insertion_date: datetime
    updated_at: datetime
    metadata: dict[str, str]
    volumes: dict[str, Volumes]


class Ledger:
    """One ledger."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._accounts: dict[str, Account] = {}
        self._transactions: list[Transaction] = []
        self._references: set[str] = set()
        self._keys = IdempotencyKeys()
        self._next_id = 1

    @property
    def accounts(self) -> Mapping[str, Account]:
        """All used accounts by address."""
        return self._accounts

    @property
    def transactions(self) -> Sequence[Transaction]:
        """All transactions, oldest first."""
        return self._transactions

    def balance(self, address: str, asset: str) -> int:
        """What the account holds; 0 if it was never used."""
        return self._volumes(address, asset).balance

    def create_transaction(self, request: TransactionRequest, key: str | None) -> Outcome[Transaction]:
        """Commits the transaction of a request, once per idempotency key.

        Raises:
            NoPostingsError, ValidationError, CompilationFailedError: the request makes no transaction.
            InsufficientFundError, ReferenceConflictError: it does, but can't be committed.
        """
        return self._keys.once(key, ("transaction", request), lambda: self._create(request))

    def _create(self, request: TransactionRequest) -> Transaction:
        postings: Sequence[Posting] = request.postings or ()
        unbounded_overdraft = False
        if request.script is not None and request.script.plain:
            if postings:
                raise ValidationError("cannot pass postings and numscript in the same request")
            if request.script.vars:
                raise ValidationError("the sandbox does not support script variables")
            send = compile_script(request.script.plain)
            postings = (Posting(send.source, send.destination, send.amount, send.asset),)
            unbounded_overdraft = send.unbounded_overdraft
        if not postings:
            raise NoPostingsError("transaction has no postings")
        return self.post(
            postings,
            metadata=request.metadata or {},
            reference=request.reference or None,
            timestamp=request.timestamp,
            unbounded_overdraft=unbounded_overdraft,
        )

    def post(
        self,
        postings: Sequence[Posting],
        *,
        metadata: dict[str, str],
        reference: str | None = None,
        timestamp: datetime | None = None,
        unbounded_overdraft: bool = False,
    ) -> Transaction:
        """Commits postings whose addresses and assets are well-formed, all or none.

        They are applied in order: what one brings in, a later one may spend. As in the real ledger, funds are checked
        before the reference, and a reference that is taken still uses up an id.

        Raises:
            ValidationError: an amount or the timestamp is out of range.
            InsufficientFundError: a source other than `world` holds too little, and no overdraft is allowed.
            ReferenceConflictError: the reference was used before.
        """
        before: dict[Cell, Volumes] = {}
        after: dict[Cell, Volumes] = {}
        for posting in postings:
            amount = checked_amount(posting.amount)
            source, destination = (posting.source, posting.asset), (posting.destination, posting.asset)
            for cell in (source, destination):
                if cell not in before:
                    before[cell] = after[cell] = self._volumes(*cell)
            spent = after[source]
            if amount > max(spent.balance, 0) and posting.source != WORLD and not unbounded_overdraft:
                raise InsufficientFundError(posting.source)
            after[source] = Volumes(spent.input, spent.output + amount)
            received = after[destination]
            after[destination] = Volumes(received.input + amount, received.output)

        inserted_at = self._now()
        effective_at = inserted_at if timestamp is None else in_utc(timestamp)
        transaction_id = self._next_id
        self._next_id += 1
        if reference is not None:
            if reference in self._references:
                raise ReferenceConflictError(f"duplicate reference '{reference}'")
            self._references.add(reference)
        for (address, asset), volumes in after.items():
            self._used(address, effective_at, inserted_at).volumes[asset] = volumes
        transaction = Transaction(
            id=transaction_id,
            postings=tuple(postings),
            metadata=metadata,
            timestamp=effective_at,
            inserted_at=inserted_at,
            reference=reference,
            cells=tuple(after),
            before=tuple(before.values()),
            after=tuple(after.values()),
        )
        self._transactions.append(transaction)
        return transaction

    def add_metadata(self, address: str, metadata: dict[str, str], key: str | None) -> Outcome[None]:
        """Merges `metadata` into the account's, once per key; raises `ValidationError` for a bad address."""
        checked_address(address)
        return self._keys.once(key, ("metadata", address, metadata), lambda: self._merge_metadata(address, metadata))

    def _merge_metadata(self, address: str, metadata: dict[str, str]) -> None:
        now = self._now()
        account = self._used(address, now, now)
        account.metadata = account.metadata | metadata
        account.updated_at = now

    def account_view(self, address: str) -> dict[str, Any]:
        """An account as API v1 shows it, also one that was never used; raises `ValidationError` for a bad address."""
        account = self._accounts.get(checked_address(address)) or Account(NEVER, NEVER, NEVER, {}, {})
        return {
            "address": address,
            "metadata": account.metadata,
            "firstUsage": account.first_usage,
            "insertionDate": account.insertion_date,
            "updatedAt": account.updated_at,
            "volumes": {asset: volumes.view() for asset, volumes in account.volumes.items()},
            "balances": {asset: volumes.balance for asset, volumes in account.volumes.items()},
        }

    def _volumes(self, address: str, asset: str) -> Volumes:
        account = self._accounts.get(address)
        return NO_VOLUMES if account is None else account.volumes.get(asset, NO_VOLUMES)

    def _used(self, address: str, effective_at: datetime, now: datetime) -> Account:
        account = self._accounts.get(address)
        if account is None:
            account = self._accounts[address] = Account(effective_at, now, now, {}, {})
        elif effective_at < account.first_usage:
            account.first_usage = effective_at
        return account


class Ledgers:
    """All ledgers by name."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._ledgers = {name: Ledger(now) for name in INITIAL_LEDGERS}

    def get(self, name: str) -> Ledger:
        """The ledger of that name; raises `LedgerNotFoundError`."""
        ledger = self._ledgers.get(name)
        if ledger is None:
            raise LedgerNotFoundError(f"ledger '{name}' not found")
        return ledger

    def create(self, name: str) -> None:
        """Adds an empty ledger; raises `ValidationError` for a bad name, `LedgerExistsError` for a known one."""
        if len(name) > MAX_LEDGER_NAME_LENGTH or ":" in checked_address(name):
            raise ValidationError(f"invalid ledger name: {name!r}")
        if name in self._ledgers:
            raise LedgerExistsError(f"ledger '{name}' already exists")
        self._ledgers[name] = Ledger(self._now)


def _volumes_by_account(cells: Sequence[Cell], volumes: Sequence[Volumes]) -> dict[str, dict[str, dict[str, int]]]:
    by_account: dict[str, dict[str, dict[str, int]]] = {}
    for (address, asset), entry in zip(cells, volumes, strict=True):
        by_account.setdefault(address, {})[asset] = entry.view()
    return by_account
