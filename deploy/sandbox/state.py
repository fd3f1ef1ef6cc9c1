"""The whole sandbox: its settings, and everything that a reset empties."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from deploy.sandbox.auth import Tokens
from deploy.sandbox.errors import SandboxFullError
from deploy.sandbox.faults import Faults, FaultSettings
from deploy.sandbox.ledger import WALLETS_LEDGER, Ledgers
from deploy.sandbox.payments import Payments
from deploy.sandbox.wallets import Wallets


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True)
class SandboxSettings:
    """How a sandbox behaves; the last four are there for tests.

    Attributes:
        require_token: refuse calls of the stack (not of `/sandbox`) without a valid bearer token.
        clients: secret by OAuth2 client id; `None`: every client gets a token.
        token_ttl_seconds: how long a token is valid.
        max_writes: successful writes until the sandbox refuses more. One takes about 1.5 KB of memory; without a limit
            a long load test would take all of the machine's.
        max_body_bytes: larger request bodies are refused; without a limit one request could take all memory.
        now: the time for timestamps, in UTC.
        clock: seconds that never go back, for the expiry of tokens.
        sleep: waits that many seconds, for the fault `slow`.
        new_id: makes an id.
    """

    require_token: bool = False
    clients: Mapping[str, str] | None = None
    token_ttl_seconds: float = 3600.0
    max_writes: int = 1_000_000
    max_body_bytes: int = 1024 * 1024
    now: Callable[[], datetime] = _utc_now
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    new_id: Callable[[], str] = _new_id


class CallCount(msgspec.Struct, rename="camel"):
    """What happened to the calls of one endpoint; `faults` counts by kind."""

    calls: int = 0
    idempotency_hits: int = 0
    faults: dict[str, int] = {}


class Sandbox:
    """The state behind one application. Tokens outlive a reset; they have a revocation of their own."""

    def __init__(self, settings: SandboxSettings) -> None:
        self.settings = settings
        self.tokens = Tokens(settings.clients, settings.token_ttl_seconds, settings.clock)
        self.reset()

    def reset(self) -> None:
        """Back to the start: no money, wallets, payments, keys, faults; counters at zero."""
        settings = self.settings
        self.ledgers = Ledgers(settings.now)
        self.wallets = Wallets(self.ledgers.get(WALLETS_LEDGER), settings.now, settings.new_id)
        self.payments = Payments(settings.now, settings.new_id)
        self.faults = Faults(FaultSettings())
        self.calls: dict[str, CallCount] = {}
        self._writes = 0

    def check_room(self) -> None:
        """Raises `SandboxFullError` when no further write is taken."""
        if self._writes >= self.settings.max_writes:
            raise SandboxFullError(f"the sandbox is full after {self._writes} writes: POST /sandbox/reset empties it")

    def count_write(self) -> None:
        """Notes that a write succeeded."""
        self._writes += 1
