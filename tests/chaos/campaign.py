"""Rounds of faults under load. After each one everything comes to rest, and all checks are made.

    load begins ─► fault ─► every partition works again ─► clients finish ─► rest ─► evidence ─► findings

In the end what still waits is told to go on or to end, all money must have come to its end, and everything that was
ever started is looked at again. Then the evidence is falsified: every check must notice.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.kafka import clients_of
from schemas.records import NewRecord
from tests.chaos.answers import Run
from tests.chaos.bank import FAULTS as STACK_FAULTS
from tests.chaos.bank import LATE_PAYMENT, LEDGERS, PAYMENTS, Bank, deposits, furnish
from tests.chaos.checks import findings
from tests.chaos.clients import MESSAGE_TYPE, Clients
from tests.chaos.evidence import Evidence
from tests.chaos.falsify import unnoticed
from tests.chaos.faults import Scene, begin
from tests.chaos.inspection import Inspector
from tests.chaos.recovery import Recovery, recoveries, works_again
from tests.chaos.system import MESSAGE_PARTITIONS, MESSAGES, System
from tests.integration.sandbox_client import SandboxClient
from tests.simulation.sends import Sends

WARM_SECONDS: Final = 4.0
"""Load before the first fault, so that it meets something."""
AFTER_SECONDS: Final = 3.0
"""Load behind the recovery."""
RECOVERY_SECONDS: Final = 120.0
LISTEN_SECONDS: Final = 120.0
MONEY_WORKFLOWS: Final = 8


@dataclass
class Round:
    """What came of a round."""

    name: str
    began: float
    recoveries: list[Recovery] = field(default_factory=list)
    probes: list[tuple[int, float, float, bool]] = field(default_factory=list)
    """Partition, seconds since the beginning of the round, seconds that it took, success."""
    findings: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    """Requests by operation and outcome."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Refused requests by status, code and message."""
    longest: dict[str, float] = field(default_factory=dict)
    """Longest request, by whether it waited for an end."""
    is_checked: bool = False
    seconds: float = 0.0
    rest_seconds: float = 0.0
    """Until everything was at rest, once the clients had finished."""


class Campaign:
    """Clients, faults and checks on a system.

    Args:
        system: up and running.
        seed: decides what clients do, and who is hit how.
        rate: new instances a second.
        max_seconds: longest that a fault lasts.
        money_waits: share of the runs with money that are waited for.
        say: tells whoever watches.
    """

    def __init__(
        self,
        system: System,
        seed: int,
        *,
        rate: float,
        max_seconds: float,
        money_waits: float = 0.4,
        say: Callable[[str], None] = print,
    ):
        self.system, self.seed, self.say = system, seed, say
        self.rounds: list[Round] = []
        self.scene = Scene(system, random.Random(seed), max_seconds, lambda text: say(f"  {text}"))
        self._rng = random.Random(seed + 1)
        self._rate, self._money_waits = rate, money_waits
        self._sandbox = SandboxClient(system.sandbox_url)
        self._seen: set[str] = set()

    async def prepare(self) -> None:
        """Furnish the stack, and let a trigger listen."""
        self._bank: Bank = await furnish(self._sandbox)
        sends = Sends(random.Random(self.seed + 2), LEDGERS, self._bank.wallets, PAYMENTS, LATE_PAYMENT)
        self.clients = Clients(self.system, self._rng, sends, self._rate, self._money_waits)
        self._inspector = Inspector(self.system, self.clients, self._bank, self.scene.marks, self._rng)
        await self._listen()

    async def close(self) -> None:
        """Close all connections."""
        await self._sandbox.__aexit__(None, None, None)
        if hasattr(self, "clients"):
            await self.clients.close()

    async def _listen(self) -> None:
        """Make a trigger, and wait until messages of each partition fire it: what comes before is not listened to."""
        workflow = await self.clients.workflow("messages", [{"noop": {}}])
        body = {"event": MESSAGE_TYPE, "workflowID": workflow, "vars": {"run": "event.run"}}
        made = await self.clients.insist("trigger", "POST", lambda surface: "/triggers", body, key="messages")
        producer = clients_of(self.system.settings).producer(
            MESSAGES, max_batch_bytes=2**20, max_request_bytes=2**20, waits=True
        )
        path = f"/triggers/{made.data['data']['id']}/occurrences"
        loop, number = asyncio.get_running_loop(), 0
        try:
            async with asyncio.timeout(LISTEN_SECONDS):
                heard: set[int] = set()
                while len(heard) < MESSAGE_PARTITIONS:
                    now = time.time_ns() // 1_000_000
                    for partition in range(MESSAGE_PARTITIONS):
                        envelope = {"type": MESSAGE_TYPE, "version": "v2", "payload": {"run": f"first {number}"}}
                        record = NewRecord(b"", json.dumps(envelope | {"number": partition}).encode(), [], now)
                        await producer.append(MESSAGES, partition, record, loop.time() + LISTEN_SECONDS)
                    number += 1
                    await asyncio.sleep(0.3)
                    reply = await self.clients.call("occurrences", "GET", path)
                    heard = {occurrence["event"].get("number") for occurrence in reply.data["data"]}
        finally:
            await producer.close()

    # Rounds

    async def round(self, faults: Sequence[str], *, at_once: bool = False, check: bool = True) -> Round:
        """Faults under load, one after another, or as close to each other as may be.

        Args:
            faults: their names.
            at_once: begin each while those before may still be there.
            check: let everything come to rest, and look at it.
        """
        name = f"{len(self.rounds) + 1}"
        result = Round(name, time.monotonic())
        self.rounds.append(result)
        self.say(f"round {name}: {', '.join(faults)}")
        first_mark, first_request = len(self.scene.marks), len(self.clients.answers.requests)
        first_probe = len(self.clients.answers.probes)
        await self.clients.prepare(name, MONEY_WORKFLOWS)
        await self._sandbox.faults(*STACK_FAULTS, seed=self.seed + len(self.rounds))
        async with self.clients.at_work():
            await asyncio.sleep(WARM_SECONDS)
            bringing = asyncio.create_task(self._bring_money()) if len(self.rounds) == 1 else None
            await self._fail(faults, at_once=at_once, result=result)
            await self.system.heal()
            await self._recover()
            await asyncio.sleep(AFTER_SECONDS)
            if bringing is not None:
                await bringing
        requests = self.clients.answers.requests[first_request:]
        result.recoveries = recoveries(self.scene.marks[first_mark:], self.clients.answers.probes)
        result.probes = [
            (probe.partition, round(probe.began - result.began, 2), round(probe.ended - probe.began, 2), probe.good)
            for probe in self.clients.answers.probes[first_probe:]
        ]
        self._count(result, requests)
        if check:
            await self._sandbox.faults()
            await self._check(result)
        result.seconds = time.monotonic() - result.began
        return result

    async def _fail(self, faults: Sequence[str], *, at_once: bool, result: Round) -> None:
        async def one(fault: str) -> None:
            try:
                await begin(self.scene, fault)
            except Exception as error:
                result.findings.append(f"the fault {fault!r} could not be carried out: {error!r}")

        async with asyncio.TaskGroup() as group:
            for fault in faults:
                task = group.create_task(one(fault))
                if at_once:
                    await asyncio.wait({task}, timeout=self.scene.rng.uniform(0.5, 3.0))
                else:
                    await task
                    await self._recover()

    async def _recover(self) -> None:
        """Wait until every partition works again; whether it did is checked later."""
        since = max((mark.ended for mark in self.scene.marks), default=time.monotonic())
        until = time.monotonic() + RECOVERY_SECONDS
        while time.monotonic() < until:  # clients set no event
            if works_again(self.clients.answers.probes, since):
                break
            await asyncio.sleep(0.1)

    async def _bring_money(self) -> None:
        """Let those who need money have it, once they have missed it."""
        await asyncio.sleep(WARM_SECONDS)
        stages = deposits(self._bank)
        workflows = [await self.clients.workflow(f"deposit {number}", some) for number, some in enumerate(stages)]
        for number, workflow in enumerate(workflows):
            await self.clients.run("money", keyed=True, mark=f"deposit {number}", workflow=workflow)
        await self._bank.add_payment(LATE_PAYMENT)

    @staticmethod
    def _count(result: Round, requests: Sequence[Any]) -> None:
        for request in requests:
            result.outcomes[f"{request.operation}: {request.outcome}"] += 1
            if isinstance(request.outcome, int) and request.outcome >= 400:
                result.refusals[f"{request.outcome} {request.code}: {request.text}"] += 1
            kind = "with wait" if request.waited else "without wait"
            result.longest[kind] = max(result.longest.get(kind, 0.0), request.seconds)

    async def finish(self) -> Round:
        """Let everything end, and look at all of it."""
        result = Round("end", time.monotonic())
        self.rounds.append(result)
        self.say("the end: what waits goes on or is aborted, all money comes to its end")
        await self._sandbox.faults()
        await self.system.heal()
        waiting = [run for run in self.clients.answers.runs if run.acknowledged and run.must_end is False]
        ended = [run for run in waiting if run.plan in ("never", "twice", "event") or run.retry_acknowledged]
        aborted = [run for run in ended if run.plan == "never" and self._rng.random() < 0.5]
        await self.clients.each(self.clients.abort, [*aborted, *(run for run in waiting if run not in ended)])
        await self.clients.each(self._send_all, [run for run in ended if run not in aborted])
        evidence = await self._check(result, is_final=True)
        result.findings += [f"self-test: {text}" for text in unnoticed(evidence)]
        result.seconds = time.monotonic() - result.began
        return result

    async def _send_all(self, run: Run) -> None:
        while run.must_end is False:
            await self.clients.send(run)

    async def _check(self, result: Round, *, is_final: bool = False) -> Evidence:
        felt = [recovery for round in self.rounds if not round.is_checked for recovery in round.recoveries]
        evidence = await self._inspector.inspect(felt, is_final=is_final)
        result.rest_seconds = self._inspector.rest_seconds
        for round in self.rounds:
            round.is_checked = True
        found = findings(evidence)
        # What was found in an earlier round is said once.
        result.findings += [text for text in found if text not in self._seen]
        self._seen |= set(found)
        return evidence

    @property
    def met(self) -> Counter[str]:
        """Situations of money that were met in the end, in words."""
        return self._inspector.met
