"""The sandbox's domain as the stack of a simulation, behind the engine's own requests, with the faults of a network.

An activity becomes the engine's request, which is routed to the sandbox's handler as HTTP would, and the sandbox's
answer is read by the engine's code. Between the two, requests are lost, slow or arrive much later than their caller
waits, and answers get lost. A second wallets service keeps its money on a ledger of its own, so that `send` between
wallets of two ledgers occurs; the sandbox alone has one.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import unquote
from uuid import UUID

import msgspec
from msgspec.structs import replace
from starlette.routing import compile_path
from starlette.types import Message

from deploy.sandbox.endpoint import Endpoint
from deploy.sandbox.ledger import INITIAL_LEDGERS, WALLETS_LEDGER
from deploy.sandbox.payments import Payment
from deploy.sandbox.stack_routes import STACK_ROUTES
from deploy.sandbox.state import Sandbox, SandboxSettings
from deploy.sandbox.wallets import CreateWallet, Wallets
from engine.activities.attempts import OPERATIONS, as_failure
from engine.activities.operations import Request
from engine.core.decisions import ActivityDone
from engine.core.effects import CallActivity
from engine.core.retries import Failure
from engine.ports import MayStart
from engine.turn import MAX_DECISION_BYTES
from schemas.stack.answers import Answer
from schemas.stack.errors import CallFailed
from tests.simulation.checkers import Observer
from tests.simulation.history import History
from tests.simulation.loop import START, VirtualClock, outside
from tests.simulation.money import Books

ABROAD_LEDGER = "wallets-003"
LEDGERS = (*INITIAL_LEDGERS, ABROAD_LEDGER)
PAYMENTS = ("pay-1", "pay-2", "pay-3")
PAYOUT_ACCOUNT = {"stripe": "acct_1"}
"""Metadata that names the account to pay to."""
WALLETS = {"alice": 1, "bob": 2, "twin": 3, "carol-abroad": 5, "dave-abroad": 6}
"""Ids of the wallets; there are two of the name `twin`."""
LARGE = "x" * MAX_DECISION_BYTES
"""A result that does not fit into the log."""
LATE_PAYMENT = "pay-late"
"""A payment that is not known before the trouble is over."""


def wallet_id(name: str) -> str:
    """The id of a wallet."""
    return str(UUID(int=WALLETS[name]))


@dataclass
class StackFaults:
    """How often what goes wrong."""

    before: float = 0.0
    """The call fails before anything is done."""
    after: float = 0.0
    """It is done, but the answer is lost."""
    late: float = 0.0
    """The call fails, and is done seconds later all the same, maybe after the next attempt."""
    final: float = 0.0
    """The stack refuses for good; decided per key, so that every attempt is told the same."""
    large: float = 0.0
    """The answer to a call that was aborted meanwhile is larger than what fits into the log."""


class MemoryStack:
    """The stack, shared by all engines, each of which calls through a `Line` of its own.

    Args:
        rng: decides latencies and faults.
        observer: told of every call as it starts and as its result is handed over.
    """

    def __init__(self, rng: random.Random, observer: Observer):
        self.rng = rng
        self.observer = observer
        self.faults = StackFaults()
        self.effects: Counter[str] = Counter()
        self.under_way = 0
        self.met: Counter[str] = Counter()
        self._refused: set[str] = set()
        self._ids = 0
        self._now: Callable[[], datetime] = lambda: START
        settings = SandboxSettings(now=lambda: self._now(), new_id=self._new_id)
        self._home, self._abroad = Sandbox(settings), Sandbox(settings)
        self._home.ledgers.create(ABROAD_LEDGER)
        self._abroad.wallets = Wallets(self._home.ledgers.get(ABROAD_LEDGER), settings.now, self._new_id)
        self._routes = {route.name: compile_path(route.path)[0] for route in STACK_ROUTES}
        self._endpoints = {
            sandbox: {route.name: Endpoint(sandbox, route.handler, writes=route.writes) for route in STACK_ROUTES}
            for sandbox in (self._home, self._abroad)
        }
        self._furnish()
        self._now = VirtualClock().now

    def _new_id(self) -> str:
        self._ids += 1
        return str(UUID(int=self._ids))

    def _furnish(self) -> None:
        """Wallets, metadata of accounts, payments: what no workflow makes."""
        for name in ("alice", "bob", "twin", "twin", "carol-abroad", "dave-abroad"):
            metadata = PAYOUT_ACCOUNT if name != "bob" else {"stripe": ""}
            wallets = self._service(name).wallets
            wallet = wallets.create(CreateWallet(name, metadata), None).value
            wallets.create_balance(wallet.id, "savings", None)
        for ledger in LEDGERS:
            for account in ("world", "users:1", "payment:pay_1"):
                self._home.ledgers.get(ledger).add_metadata(account, PAYOUT_ACCOUNT, None)
        for payment_id in PAYMENTS:
            self.add_payment(payment_id)

    def add_payment(self, payment_id: str) -> None:
        """Let a payment be known."""
        self._home.payments.add(Payment(asset="EUR/2", initial_amount=100, id=payment_id))

    def _service(self, wallet: str) -> Sandbox:
        """Which sandbox has a wallet, by name or id."""
        is_abroad = wallet.endswith("-abroad") or wallet in (wallet_id("carol-abroad"), wallet_id("dave-abroad"))
        return self._abroad if is_abroad else self._home

    def attempt(self, activity: CallActivity) -> "asyncio.Future[ActivityDone]":
        """One attempt, which comes to its end whatever becomes of its caller."""
        return outside(self._attempt(activity))

    async def _attempt(self, activity: CallActivity) -> ActivityDone:
        self.under_way += 1
        try:
            return await self._travel(activity)
        finally:
            self.under_way -= 1

    async def _travel(self, activity: CallActivity) -> ActivityDone:
        """An attempt, with what may happen to it on the way."""
        rng = self.rng
        await asyncio.sleep(rng.uniform(0.0, 0.2) if rng.random() < 0.9 else rng.uniform(1.0, 30.0))
        if rng.random() < self.faults.before:
            return ActivityDone(activity.token, failure=Failure("HTTP 503", 503))
        if rng.random() < self.faults.late:
            self.under_way += 1
            outside(self._arrive_late(activity, rng.uniform(0.0, 20.0)))
            await asyncio.sleep(rng.uniform(0.0, 5.0))
            return ActivityDone(activity.token, failure=Failure("timeout after 60 s"))
        done = self._serve(activity)
        await asyncio.sleep(rng.uniform(0.0, 0.2))
        if rng.random() < self.faults.after:
            return ActivityDone(activity.token, failure=Failure("connection lost"))
        return done

    async def _arrive_late(self, activity: CallActivity, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.under_way -= 1
        self._serve(activity)

    def _serve(self, activity: CallActivity) -> ActivityDone:
        key = activity.idempotency_key
        if not self.effects[key] and self.rng.random() < self.faults.final:
            self._refused.add(key)
        if key in self._refused:
            return ActivityDone(activity.token, failure=Failure("refused", 400, "VALIDATION"))
        operation, before = OPERATIONS[activity.name], self._volume()
        try:
            request = operation.request(activity.input, key)
            output = operation.output(self._exchange(activity.name, request))
        except CallFailed as failed:
            return ActivityDone(activity.token, failure=as_failure(failed))
        finally:
            self.effects[key] += self._volume() - before
            assert self.effects[key] <= 1, f"{key} moved money twice"
        return ActivityDone(activity.token, output=output)

    def _volume(self) -> int:
        """How much there is in the books."""
        transactions = sum(len(self._home.ledgers.get(ledger).transactions) for ledger in LEDGERS)
        return transactions + len(self._home.payments.transfers)

    def _exchange(self, name: str, request: Request) -> Answer:
        """Have the sandbox answer a request."""
        path, _, query = request.path.partition("?")
        match = self._routes[name].fullmatch(path)
        assert match is not None, f"{request.path} is not the path of {name}"
        parameters = {parameter: unquote(value) for parameter, value in match.groupdict().items()}
        service = self._home
        if "Wallet" in name:
            service = self._service(parameters.get("id") or unquote(query.partition("=")[2]))
        key = request.idempotency_key
        exchange = _Exchange(b"" if request.body is None else msgspec.json.encode(request.body))
        headers = [(b"content-length", b"%d" % len(exchange.body))]
        scope = {
            "path_params": parameters,
            "query_string": query.encode(),
            "headers": headers if key is None else [*headers, (b"idempotency-key", key.encode())],
        }
        # A handler never waits, so its coroutine is through after one step.
        endpoint = self._endpoints[service][name](scope, exchange.receive, exchange.send)
        with contextlib.suppress(StopIteration):
            endpoint.send(None)
        body = exchange.answer
        if service is self._abroad:
            body = body.replace(f'"{WALLETS_LEDGER}"'.encode(), f'"{ABROAD_LEDGER}"'.encode())
        return Answer(exchange.status, body)

    def books(self) -> Books:
        """All that was done, and what is left where."""
        books = Books()
        for name in LEDGERS:
            ledger = self._home.ledgers.get(name)
            for t in ledger.transactions:
                shown = {"postings": t.postings, "metadata": t.metadata, "reference": t.reference}
                books.add_transaction(name, msgspec.to_builtins(shown))
            for address, account in ledger.accounts.items():
                books.balances |= {((name, address), asset): v.balance for asset, v in account.volumes.items()}
        for transfer in self._home.payments.transfers:
            books.add_transfer(msgspec.to_builtins(transfer))
        return books


@dataclass
class _Exchange:
    """The two ends that an ASGI application speaks through."""

    body: bytes
    status: int = 0
    answer: bytes = b""

    async def receive(self) -> Message:
        return {"type": "http.request", "body": self.body}

    async def send(self, message: Message) -> None:
        self.status = message.get("status", self.status)
        self.answer += message.get("body", b"")


@dataclass
class Line:
    """`engine.ports.ActivityCaller` of one engine.

    Args:
        stack: that it leads to.
        epochs: of the partitions that the engine owns, as far as it knows.
    """

    stack: MemoryStack
    epochs: Callable[[], Mapping[int, int]]
    queued: list[str] = field(default_factory=list)
    """Instances whose call waits for a slot."""
    calling: list[str] = field(default_factory=list)
    """Instances whose call is under way."""

    async def call(self, activity: CallActivity, may_start: MayStart) -> ActivityDone | None:
        """See `ActivityCaller.call`."""
        observer, rng = self.stack.observer, self.stack.rng
        if rng.random() < 0.15:  # all slots are taken
            instance_id = activity.idempotency_key.partition(":")[0]
            self.queued.append(instance_id)
            try:
                await asyncio.sleep(rng.uniform(0.0, rng.choice((3.0, 20.0))))
            finally:
                self.queued.remove(instance_id)
        if not await may_start():
            return None
        claim = observer.called(activity, self.epochs(), VirtualClock().now())
        instance_id = activity.idempotency_key.partition(":")[0]
        self.calling.append(instance_id)
        try:
            done = await self.stack.attempt(activity)
        finally:
            self.calling.remove(instance_id)
        observer.returned(activity, claim)
        return self._enlarged(done, observer.histories[instance_id])

    def _enlarged(self, done: ActivityDone, history: History) -> ActivityDone:
        """What an engine is handed: now and then more than fits into the log, if nobody waits for it any more."""
        is_late = history.ended or history.retries > done.token.retries
        if done.failure is not None or not is_late or self.stack.rng.random() >= self.stack.faults.large:
            return done
        self.stack.met["a late result did not fit"] += 1
        self.stack.met["a late result did not fit while its instance ran again"] += not history.ended
        return replace(done, output=LARGE)
