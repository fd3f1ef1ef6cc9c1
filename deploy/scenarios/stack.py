"""The stack of a scenario: the sandbox, in this process and in virtual time, behind the engine's own requests."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from msgspec.structs import replace

from deploy.sandbox.app import create_app
from deploy.sandbox.faults import FaultRule, Faults, FaultSettings
from deploy.sandbox.ledger import INITIAL_LEDGERS, WALLETS_LEDGER, WORLD, Posting
from deploy.sandbox.payments import Payment
from deploy.sandbox.state import Sandbox, SandboxSettings
from deploy.sandbox.wallets import CreateWallet, balance_address
from deploy.scenarios.books import Books
from deploy.scenarios.model import Fault, Stack, Wallet
from deploy.scenarios.times import read_duration
from deploy.scenarios.transport import exchange
from engine.activities.attempts import attempt
from engine.core.decisions import ActivityDone
from engine.core.effects import CallActivity
from engine.ports import Clock, MayStart
from schemas.settings import EngineSettings
from schemas.stack.answers import Answer

TIMEOUT_SECONDS: Final = EngineSettings().activity_timeout_seconds
"""How long an attempt may take, as engines have it by default."""


class ScenarioStack:
    """`engine.ports.ActivityCaller` on a sandbox.

    Args:
        clock: the time.
    """

    def __init__(self, clock: Clock):
        self._ids = 0
        self._chosen_id: str | None = None
        self._under_way = self._asleep = 0
        settings = SandboxSettings(now=clock.now, clock=clock.monotonic, sleep=self._sleep, new_id=self._new_id)
        self._app = create_app(settings)
        self._sandbox: Sandbox = self._app.state.sandbox
        self._ledgers = set(INITIAL_LEDGERS)
        self._wallets: set[str] = set()
        self.books = Books(self._sandbox)

    # Calls

    @property
    def is_busy(self) -> bool:
        """Whether a call goes on at this very moment."""
        return self._under_way > self._asleep

    @property
    def is_slow(self) -> bool:
        """Whether a call waits for a slow answer."""
        return self._asleep > 0

    async def call(self, activity: CallActivity, may_start: MayStart) -> ActivityDone | None:
        """See `ActivityCaller.call`."""
        self._under_way += 1
        try:
            if not await may_start():
                return None
            return await attempt(activity, self._send, TIMEOUT_SECONDS)
        finally:
            self._under_way -= 1

    async def _send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        return await exchange(self._app, method, path, headers, body)

    async def _sleep(self, seconds: float) -> None:
        self._asleep += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._asleep -= 1

    # What is put in

    def set_faults(self, faults: Sequence[Fault]) -> None:
        """Have calls go wrong from now on."""
        self._sandbox.faults = Faults(FaultSettings([as_rule(fault) for fault in faults]))

    def calls(self, activity: str) -> int:
        """How many calls of an activity there were since then, if any was to go wrong."""
        return self._sandbox.faults.calls(activity)

    def put_in(self, stack: Stack) -> None:
        """Add accounts, wallets, payments and money.

        Raises:
            SandboxError: it is not what ledgers, wallets and payments take.
        """
        for ledger, accounts in stack.ledgers.items():
            if ledger not in self._ledgers:
                self._sandbox.ledgers.create(ledger)
                self._ledgers.add(ledger)
            for address, account in accounts.items():
                for asset, amount in account.balances.items():
                    self._add(ledger, address, asset, amount)
                if account.metadata:
                    self._sandbox.ledgers.get(ledger).add_metadata(address, account.metadata, None)
        for id, wallet in stack.wallets.items():
            self._put_wallet(id, wallet)
        for id, payment in stack.payments.items():
            self._sandbox.payments.add(Payment(id=id, asset=payment.asset, initial_amount=payment.amount))

    def _put_wallet(self, id: str, wallet: Wallet) -> None:
        wallets = self._sandbox.wallets
        if id not in self._wallets:
            self._wallets.add(id)
            self._chosen_id = id
            wallets.create(CreateWallet(wallet.name or id, wallet.metadata), None)
        known = wallets.get(id).balances
        for balance, amounts in wallet.balances.items():
            if balance not in known:
                wallets.create_balance(id, balance, None)
            for asset, amount in amounts.items():
                self._add(WALLETS_LEDGER, balance_address(id, balance), asset, amount)

    def _add(self, ledger: str, address: str, asset: str, amount: int) -> None:
        """Move money from outside to an account, or back if the amount is below zero."""
        ends = (WORLD, address) if amount >= 0 else (address, WORLD)
        posting = Posting(*ends, abs(amount), asset)
        self._sandbox.ledgers.get(ledger).post([posting], metadata={}, unbounded_overdraft=True)

    def _new_id(self) -> str:
        """The id that a wallet of the scenario is to have; else one that is the same in every run."""
        chosen, self._chosen_id = self._chosen_id, None
        if chosen is not None:
            return chosen
        self._ids += 1
        return str(UUID(int=self._ids))


def as_rule(fault: Fault) -> FaultRule:
    """A fault as the sandbox's switch."""
    rule = FaultRule(
        endpoint=fault.activity,
        kind=fault.kind,
        after=bool(fault.done),
        call=fault.call,
        times=None if fault.times == "always" else fault.times,
    )
    given = {
        "status": fault.status,
        "code": fault.code,
        "message": fault.message,
        "delay_seconds": None if fault.delay is None else read_duration(fault.delay).total_seconds(),
    }
    return replace(rule, **{name: value for name, value in given.items() if value is not None})
