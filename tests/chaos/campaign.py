"""Rounds of faults under load. After each one everything comes to rest, and all checks are made.

    load begins ─► fault ─► every partition works again ─► clients finish ─► rest ─► evidence ─► findings

In the end what still waits is told to go on or to end, all money must have come to its end, and everything that was
ever started is looked at again. Then the evidence is falsified: every check must notice.
"""

import asyncio
import contextlib
import json
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.kafka import KafkaClients
from schemas.records import NewRecord
from tests.chaos.answers import Run
from tests.chaos.bank import FAULTS as STACK_FAULTS
from tests.chaos.bank import LATE_PAYMENT, LEDGERS, PAYMENTS, Bank, deposits, furnish
from tests.chaos.checks import MONEY_PLANS, findings
from tests.chaos.clients import BASE, MESSAGE_TYPE, Clients
from tests.chaos.evidence import Evidence, LogReader, positions, views
from tests.chaos.falsify import unnoticed
from tests.chaos.faults import Mark, Scene, begin
from tests.chaos.logs import LogScanner
from tests.chaos.recovery import Recovery, recoveries, works_again
from tests.chaos.shown import check_shown
from tests.chaos.system import MESSAGE_PARTITIONS, MESSAGES, System
from tests.integration.http_client import Client
from tests.integration.sandbox_client import SandboxClient
from tests.simulation.money import check_money
from tests.simulation.sends import Sends

WARM_SECONDS: Final = 4.0
"""Load before the first fault, so that it meets something."""
AFTER_SECONDS: Final = 3.0
"""Load behind the recovery."""
RECOVERY_SECONDS: Final = 120.0
REST_SECONDS: Final = 120.0
FINAL_REST_SECONDS: Final = 300.0
"""Calls of the stack that failed are repeated after up to 100 s."""
LISTEN_SECONDS: Final = 60.0
LOOKS: Final = 10
"""How often everything is looked at until the log has not grown meanwhile. Retries of the stack go on at any time."""
SHOWN: Final = 24
"""Instances whose histories are read back after each round."""
EXPLAINS_SECONDS: Final = 60.0
"""How long a fault explains what Kafka's client complains about: the longest of its deadlines, and a pause of ours."""
MONEY_WORKFLOWS: Final = 8


@dataclass
class Round:
    """What came of a round."""

    name: str
    began: float
    recoveries: list[Recovery] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    """Requests by operation and outcome."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Refused requests by status, code and message."""
    longest: dict[str, float] = field(default_factory=dict)
    """Longest request, by whether it waited for an end."""
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
        say: tells whoever watches.
    """

    def __init__(
        self, system: System, seed: int, *, rate: float, max_seconds: float, say: Callable[[str], None] = print
    ):
        self.system, self.seed, self.say = system, seed, say
        self.rounds: list[Round] = []
        self.met: Counter[str] = Counter()
        """Situations of money that were met, in words."""
        self.scene = Scene(system, random.Random(seed), max_seconds, lambda text: say(f"  {text}"))
        self._rng = random.Random(seed + 1)
        self._rate = rate
        self._sandbox = SandboxClient(system.sandbox_url)
        self._reader = LogReader(system)
        self._logs = LogScanner(system.outputs, self._explained)
        self._seen: set[str] = set()
        self._evidence: Evidence | None = None

    async def prepare(self) -> None:
        """Furnish the stack, and let a trigger listen."""
        self._bank: Bank = await furnish(self._sandbox)
        sends = Sends(random.Random(self.seed + 2), LEDGERS, self._bank.wallets, PAYMENTS, LATE_PAYMENT)
        self.clients = Clients(self.system, self._rng, sends.stage, self._rate)
        await self._listen()

    async def close(self) -> None:
        """Close all connections."""
        await self._sandbox.__aexit__(None, None, None)
        if hasattr(self, "clients"):
            await self.clients.close()

    async def _listen(self) -> None:
        """Make a trigger, and wait until messages of each partition fire it: what comes before is not listened to."""
        workflow = await self.clients._workflow("messages", [{"noop": {}}])
        body = {"event": MESSAGE_TYPE, "workflowID": workflow, "vars": {"run": "event.run"}}
        made = await self.clients.insist("trigger", "POST", lambda surface: "/triggers", body, key="messages")
        producer = KafkaClients(self.system.settings).producer(
            MESSAGES, max_batch_bytes=2**20, max_request_bytes=2**20, waits=True
        )
        path = f"/triggers/{made.data['data']['id']}/occurrences"
        loop, number = asyncio.get_running_loop(), 0
        try:
            async with asyncio.timeout(LISTEN_SECONDS):
                heard: set[int] = set()
                while len(heard) < MESSAGE_PARTITIONS:
                    for partition in range(MESSAGE_PARTITIONS):
                        envelope = {"type": MESSAGE_TYPE, "version": "v2", "payload": {"run": f"first {number}"}}
                        record = NewRecord(b"", json.dumps(envelope | {"number": partition}).encode(), [], 0)
                        await producer.append(MESSAGES, partition, record, loop.time() + 10.0)
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
                    await asyncio.wait({task}, timeout=self.scene.rng.uniform(0.5, 4.0))
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
        workflows = [await self.clients._workflow(f"deposit {number}", some) for number, some in enumerate(stages)]
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
        ended = [run for run in waiting if run.plan in ("never", "twice", "event")]
        aborted = [run for run in ended if run.plan == "never" and self._rng.random() < 0.5]
        await self.clients.each(self.clients.abort, [*aborted, *(run for run in waiting if run not in ended)])
        await self.clients.each(self._send_all, [run for run in ended if run not in aborted])
        await self._check(result, is_final=True)
        if self._evidence is not None:
            result.findings += [f"self-test: {text}" for text in unnoticed(self._evidence)]
        result.seconds = time.monotonic() - result.began
        return result

    async def _send_all(self, run: Run) -> None:
        while run.must_end is False:
            await self.clients.send(run)

    # Checks

    async def _check(self, result: Round, *, is_final: bool = False) -> None:
        began = time.monotonic()
        unsettled = await self._rest(FINAL_REST_SECONDS if is_final else REST_SECONDS, is_final)
        result.rest_seconds = time.monotonic() - began
        evidence = await self._look(is_final)
        evidence.unsettled = evidence.unsettled or unsettled
        evidence.recovered = {
            recovery.label: recovery.after_end for round in self.rounds[-1:] for recovery in round.recoveries
        }
        evidence.verify = await self.system.verify()
        evidence.lines = self._logs.scan()
        evidence.exits = [*self.system.exits, *self._bad_exits()]
        evidence.stops = {
            number: self.system.parts[f"api-{number + 1}"].stops for number in range(len(self.system.api_urls))
        }
        found = findings(evidence)
        # What was found in an earlier round is said once.
        result.findings += [text for text in found if text not in self._seen]
        self._seen |= set(found)
        self._evidence = evidence

    def _bad_exits(self) -> list[str]:
        return [
            f"{part.name} ended with {status} after SIGTERM"
            for part in self.system.parts.values()
            for status in part.exits
            if status != 0
        ]

    async def _rest(self, seconds: float, is_final: bool) -> str | None:
        """Wait until nothing is under way; returns what still is."""
        until, report = time.monotonic() + seconds, "nothing could be read"
        while time.monotonic() < until:
            try:
                await self._reader.read()
                report = await self._under_way(is_final)
            except Exception as error:
                report = f"the log or Postgres can't be read: {error!r}"
            if not report:
                return None
            await asyncio.sleep(0.5)
        return report

    async def _under_way(self, is_final: bool) -> str:
        fold, answers = self._reader.fold, self.clients.answers
        at = await positions(self.system)
        running = [run.mark for run in answers.runs if self._must_still_end(run, is_final)]
        unheard = [mark for mark, sure in answers.messages.items() if sure and not fold.by_mark.get(mark)]
        fired = [
            i.mark for m in answers.messages for id in fold.by_mark.get(m, []) if not (i := fold.instances[id]).ended
        ]
        counts = {
            "commands undecided": fold.undecided,
            "events not public": fold.unpublished,
            "events not in Postgres": sum(end - at.get(p, 0) for p, end in enumerate(fold.events_end)),
            "runs not ended": len(running),
            "messages that fired nothing": len(unheard),
            "runs of messages not ended": len(fired),
        }
        some = [*running, *unheard, *fired][:5]
        text = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        return f"{text} (such as {some})" if text and some else text

    def _must_still_end(self, run: Run, is_final: bool) -> bool:
        if not run.must_end or (run.plan in MONEY_PLANS and not is_final and not run.abort_acknowledged):
            return False
        fold = self._reader.fold
        return any(not fold.instances[id].ended for id in fold.by_mark.get(run.mark, []))

    async def _look(self, is_final: bool) -> Evidence:
        """Everything as of one moment: again, if the log has grown meanwhile."""
        for _ in range(LOOKS):
            await self._reader.read()
            before = list(self._reader.fold.events_end)
            evidence = await self._look_once(is_final)
            await self._reader.read()
            if before == self._reader.fold.events_end and not self._reader.fold.unpublished:
                return evidence
            await asyncio.sleep(1.0)
        evidence.unsettled = "the log goes on growing"
        return evidence

    async def _look_once(self, is_final: bool) -> Evidence:
        fold, observer = self._reader.fold, self._reader.observer
        workflows = {workflow for some in self.clients.workflows.values() for workflow in some}
        if is_final:
            workflows = {instance.workflow for instance in fold.instances.values()}
        evidence = Evidence(
            self.clients.answers,
            fold,
            histories=observer.histories,
            contract=self._reader.contract,
            viewed=frozenset(workflows),
            is_final=is_final,
        )
        try:
            evidence.books = await self._bank.books()
            evidence.views = await views(self.system, self.clients, sorted(workflows), whole=is_final)
            evidence.positions = await positions(self.system)
            evidence.shown = await self._shown(evidence)
        except Exception as error:
            evidence.unsettled = f"what readers show can't be read: {error!r}"
        if self._reader.contract is None and is_final:
            with contextlib.suppress(AssertionError):  # the check says it
                self.met = check_money(observer.histories, evidence.books)
        return evidence

    async def _shown(self, evidence: Evidence) -> list[str]:
        """Read back some histories of the round, from each API."""
        ids = [
            id
            for id, i in evidence.fold.instances.items()
            if i.workflow in evidence.viewed and id in evidence.histories
        ]
        wrong: list[str] = []
        for id in self._rng.sample(sorted(ids), min(SHOWN, len(ids))):
            for number, url in enumerate(self.system.api_urls, 1):
                try:
                    await check_shown(Client(self.clients._session, url, BASE), id, evidence.histories[id])
                except AssertionError as error:
                    place = traceback.extract_tb(error.__traceback__)[-1]
                    said = f"{place.filename}:{place.lineno}: {place.line} {error}"
                    wrong.append(f"api-{number} shows {id} ({evidence.fold.instances[id].mark}) wrongly: {said}")
        return wrong

    def _explained(self, at: float) -> bool:
        """Whether a fault of brokers, links or a standstill explains what Kafka's client wrote at a time of day."""
        moment = at - time.time() + time.monotonic()
        if moment <= self.system.ready_at:
            return True  # a new cluster takes a moment to have coordinators
        marks = [mark for mark in self.scene.marks if _explains(mark)]
        return any(mark.began - 1.0 <= moment <= mark.ended + EXPLAINS_SECONDS for mark in marks)


def _explains(mark: Mark) -> bool:
    return any(name.startswith("kafka") for name in mark.parts) or "SIGSTOP" in mark.label
