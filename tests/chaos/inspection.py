"""Looks at everything once it is at rest, and makes the evidence."""

import asyncio
import contextlib
import random
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from typing import Final

import psycopg
from aiokafka.errors import KafkaError

from tests.chaos.answers import Run
from tests.chaos.bank import Bank
from tests.chaos.checks import MONEY_PLANS
from tests.chaos.clients import BASE, Clients
from tests.chaos.evidence import Evidence, LogReader, old, old_that_ended, positions, views
from tests.chaos.faults import MORE_PARTITIONS, Mark
from tests.chaos.logs import LogScanner
from tests.chaos.recovery import Recovery
from tests.chaos.shown import check_shown
from tests.chaos.system import System
from tests.integration.http_client import Client
from tests.simulation.money import check_money

REST_SECONDS: Final = 120.0
FINAL_REST_SECONDS: Final = 300.0
"""Calls of the stack that failed are repeated after up to 100 s."""
LOOKS: Final = 10
"""How often everything is looked at until the log has not grown meanwhile. Retries of the stack go on at any time."""
SHOWN: Final = 24
"""Instances whose histories are read back after each round."""
EXPLAINS_SECONDS: Final = 60.0
"""How long a fault explains what Kafka's client complains about: the longest of its deadlines, and a pause of ours."""


class Inspector:
    """Reads everything that the checks need.

    Args:
        system: what is looked at.
        clients: what they know, and who ask the readers.
        bank: the stack's books.
        marks: the faults so far; goes on growing.
        rng: decides which histories are read back.
    """

    def __init__(self, system: System, clients: Clients, bank: Bank, marks: Sequence[Mark], rng: random.Random):
        self._system, self._clients, self._bank, self._marks, self._rng = system, clients, bank, marks, rng
        self._reader = LogReader(system)
        self._logs = LogScanner(system.outputs, self._explained)
        self.met: Counter[str] = Counter()
        """Situations of money that were met in the end, in words."""
        self.rest_seconds = 0.0
        """How long it took until everything was at rest the last time."""

    async def inspect(self, felt: Sequence[Recovery], *, is_final: bool = False) -> Evidence:
        """Wait until nothing is under way, and look at everything.

        Args:
            felt: what was felt of the faults since the last time.
            is_final: everything has to end, and all that ever was is looked at.
        """
        began = time.monotonic()
        unsettled = await self._rest(FINAL_REST_SECONDS if is_final else REST_SECONDS, is_final)
        self.rest_seconds = time.monotonic() - began
        evidence = await self._look(is_final)
        evidence.unsettled = evidence.unsettled or unsettled
        evidence.recovered = {recovery.label: recovery.after_end for recovery in felt}
        evidence.verify = await self._system.verify()
        evidence.lines = self._logs.scan()
        evidence.exits = [*self._system.exits, *self._bad_exits()]
        evidence.stops = {number: part.stops for number, part in enumerate(self._system.of("api"))}
        return evidence

    def _bad_exits(self) -> list[str]:
        return [
            f"{part.name} ended with {status} after SIGTERM"
            for part in self._system.parts.values()
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
            except (KafkaError, psycopg.Error, OSError, TimeoutError) as error:
                report = f"the log or Postgres can't be read: {error!r}"
            if not report:
                return None
            await asyncio.sleep(0.5)
        return report

    async def _under_way(self, is_final: bool) -> str:
        fold, answers = self._reader.fold, self._clients.answers
        at = await positions(self._system)
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
            "old instances not deleted": await old_that_ended(self._system) if is_final else 0,
        }
        some = [*running, *unheard, *fired][:5]
        text = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        return f"{text} (such as {some})" if text and some else text

    def _must_still_end(self, run: Run, is_final: bool) -> bool:
        if not run.must_end or (run.plan in MONEY_PLANS and not is_final and not run.is_aborted):
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
        workflows = {workflow for some in self._clients.workflows.values() for workflow in some}
        if is_final:
            workflows = {instance.workflow for instance in fold.instances.values()}
        evidence = Evidence(
            self._clients.answers,
            fold,
            histories=observer.histories,
            contract=self._reader.contract,
            viewed=frozenset(workflows),
            old_instances=self._system.old_instances,
            is_final=is_final,
        )
        try:
            evidence.books = await self._bank.books()
            evidence.views = await views(self._system, self._clients, sorted(workflows), whole=is_final)
            if is_final and self._system.old_instances:
                evidence.old = await old(self._system, self._clients)
            evidence.positions = await positions(self._system)
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
            for number, url in enumerate(self._system.api_urls, 1):
                try:
                    await check_shown(Client(self._clients.session, url, BASE), id, evidence.histories[id])
                except AssertionError as error:
                    place = traceback.extract_tb(error.__traceback__)[-1]
                    said = f"{place.filename}:{place.lineno}: {place.line} {error}"
                    wrong.append(f"api-{number} shows {id} ({evidence.fold.instances[id].mark}) wrongly: {said}")
        return wrong

    def _explained(self, at: float) -> bool:
        """Whether a fault of brokers, links or a standstill explains what Kafka's client wrote at a time of day."""
        moment = at - time.time() + time.monotonic()
        if moment <= self._system.ready_at:
            return True  # a new cluster takes a moment to have coordinators
        marks = [mark for mark in self._marks if _explains(mark)]
        return any(mark.began - 1.0 <= moment <= mark.ended + EXPLAINS_SECONDS for mark in marks)


def _explains(mark: Mark) -> bool:
    is_of_kafka = any(name.startswith("kafka") for name in mark.parts)
    # With one more partition, their groups share them out anew: a commit that is under way comes too late.
    return is_of_kafka or "SIGSTOP" in mark.label or mark.label == MORE_PARTITIONS
