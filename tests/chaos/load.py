"""Money under load: instances of all pairs, a stack that fails, a killed engine; then the books are checked."""

import asyncio
import random
import uuid
from collections import Counter
from dataclasses import dataclass, field

from schemas.events import CANCELED
from tests.chaos.bank import FAULTS, LATE_PAYMENT, LEDGERS, PAYMENTS, Bank, furnish
from tests.chaos.shown import check_shown
from tests.integration.http_client import Client, Json
from tests.integration.installation import Installation
from tests.integration.log_checks import check_log
from tests.integration.sandbox_client import SandboxClient
from tests.integration.test_restarts import insist
from tests.integration.waiting import eventually
from tests.simulation.money import INTERNAL_LEDGER, check_money
from tests.simulation.sends import ACCOUNTS, BALANCES, Sends, account_end, deposit

INSTANCES_PER_WORKFLOW = 10
CLIENTS = 16
ABORTED = 0.08
"""Share of the instances that are aborted soon after their start."""
BURST = 100
"""So many instances are started at most between two kills; all at once, most would have ended before the first."""
MIN_KILLS = 5
EARLY = 0.3
"""Share of the kills that meet an engine which has just been started, at its claims and restores."""
MAX_SHOWN = 300
"""So many instances are read back over HTTP."""
END_SECONDS = 300.0
"""Retries wait up to 100 s, and every kill delays all of them."""


@dataclass
class Load:
    """A run.

    Args:
        installation: with a sandbox; nothing else runs on it.
        instances: how many, deposits apart.
        kill_seconds: pause between two kills of the engine, on average.
        seed: decides what is run and when the engine is killed.
    """

    installation: Installation
    instances: int
    kill_seconds: float
    seed: int
    kills: int = 0
    started: dict[str, bool] = field(default_factory=dict)
    """Whether it was aborted, by instance id."""
    _killed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> Counter[str]:
        """Everything, to the end; returns how often each situation was met.

        Raises:
            AssertionError: money was lost or moved twice, or something is not shown as it is, or does not end.
        """
        assert self.installation.sandbox is not None
        async with SandboxClient(self.installation.sandbox.url) as sandbox:
            bank = await furnish(sandbox)
            client = self.installation.client()
            workflows = await self._workflows(client, bank)
            await sandbox.faults(*FAULTS, seed=self.seed)
            async with asyncio.TaskGroup() as group:
                killer = group.create_task(self._kill())
                await self._start(client, workflows)
                await bank.add_payment(LATE_PAYMENT)
                await self._ended(client)
                killer.cancel()
            await self.installation.engine.restart()
            await eventually(lambda: self._running(client), lambda running: not running, seconds=END_SECONDS)
            await sandbox.faults()
            return await self._check(client, bank)

    async def _workflows(self, client: Client, bank: Bank) -> list[str]:
        """Workflows of one or two `send` stages each, and those that bring in the money, once each."""
        rng = random.Random(self.seed)
        sends = Sends(rng, LEDGERS, bank.wallets, PAYMENTS, LATE_PAYMENT)
        paying: list[str] = []
        for number in range(-(-self.instances // INSTANCES_PER_WORKFLOW)):
            stages = [sends.stage(f"{number}/{stage}/${{run}}") for stage in range(rng.choice((1, 1, 2)))]
            paying += [await client.workflow(*stages)] * INSTANCES_PER_WORKFLOW
        rng.shuffle(paying)
        runs = paying[: self.instances]
        # Somewhere among the first: until then, those who need the money are told INSUFFICIENT_FUND.
        for number, stages in enumerate(_deposits(bank)):
            runs.insert(rng.randrange(1 + len(runs) // 4), await client.workflow(*stages, name=f"deposit {number}"))
        return runs

    async def _start(self, client: Client, workflows: list[str]) -> None:
        rng, queue = random.Random(self.seed + 1), list(reversed(workflows))
        deposits = {w for w in workflows if workflows.count(w) == 1}
        burst = min(BURST, len(workflows) // MIN_KILLS)

        async def flow() -> None:
            while queue:
                if len(self.started) >= (self.kills + 1) * burst:
                    await self._killed.wait()
                    continue
                workflow = queue.pop()
                is_aborted = rng.random() < ABORTED and workflow not in deposits
                path, key = f"/workflows/{workflow}/instances", uuid.UUID(int=rng.getrandbits(128)).hex
                answer = await insist(client, "POST", path, {"run": key}, **{"Idempotency-Key": key})
                instance_id = str(answer.data["id"])
                self.started[instance_id] = is_aborted
                if is_aborted:
                    await insist(client, "PUT", f"/instances/{instance_id}/abort")

        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(flow())

    async def _kill(self) -> None:
        """Kill the engine over and over, and let it come back."""
        rng, engine = random.Random(self.seed + 2), self.installation.engine
        await engine.kill()
        while True:
            is_early = rng.random() < EARLY
            pause = rng.uniform(0.2, 2.0) if is_early else self.kill_seconds * rng.uniform(0.5, 1.5)
            await engine.start(wait=not is_early)
            await asyncio.sleep(pause)
            await engine.kill()
            self.kills += 1
            self._killed.set()
            self._killed = asyncio.Event()
            began = "its start" if is_early else "it was ready"
            print(f"kill {self.kills}, {pause:.1f} s after {began}; {len(self.started)} instances", flush=True)

    async def _ended(self, client: Client) -> None:
        """Wait for half of what still runs to end under kills; the rest may end in peace."""
        running = len(await self._running(client))
        await eventually(lambda: self._running(client), lambda left: len(left) <= running // 2, seconds=END_SECONDS)

    async def _running(self, client: Client) -> list[Json]:
        shown: list[Json] = (await insist(client, "GET", "/instances?running=true")).data
        await asyncio.sleep(0.2)  # a long list, and nobody is in a hurry
        return shown

    async def _check(self, client: Client, bank: Bank) -> Counter[str]:
        observer = await check_log(self.installation)
        assert set(observer.histories) == set(self.started)
        assert all(history.ended for history in observer.histories.values())
        met = check_money(observer.histories, await bank.books())
        for instance_id, history in observer.histories.items():
            assert history.error != CANCELED or self.started[instance_id]
        for instance_id in sorted(observer.histories)[:MAX_SHOWN]:
            await check_shown(client, instance_id, observer.histories[instance_id])
        return met


def _deposits(bank: Bank) -> list[list[Json]]:
    """Instances that bring money to every end that may miss it."""
    ends = [account_end(ledger, account) for ledger in LEDGERS for account in (*ACCOUNTS, "bank")]
    ends += [{"wallet": {"id": i, "balance": balance}} for i in bank.wallets.values() for balance in BALANCES]
    for payment in (*PAYMENTS, LATE_PAYMENT):
        holding = (f"payment:{payment.replace('-', '_')}", f"holding:{payment}")
        ends += [account_end(ledger, account) for ledger in {*LEDGERS, INTERNAL_LEDGER} for account in holding]
    stages = [deposit(end, f"deposit {number} ${{run}}") for number, end in enumerate(ends)]
    return [stages[start : start + 10] for start in range(0, len(stages), 10)]
