"""Other services that append submissions: runs, events, aborts. Some write in transactions, which may be aborted.

Engines wait for no transaction: what one has written counts, whatever becomes of it. Each leaves a mark in all of its
partitions, which takes an offset and is no record. Those that end at the same time leave theirs side by side.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from msgspec.structs import replace

from schemas.commands import Command, CreateWorkflow, SubmitAbort, SubmitEvent, SubmitRun
from schemas.kafka import Place
from schemas.kafka.memory import MemoryCluster, StoredRecord, Witness
from schemas.records import NewRecord
from schemas.topics import COMMANDS
from tests.simulation.producing import Transaction
from tests.simulation.sending import Sending

SOME_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)
IN_TRANSACTIONS: Final = 0.4
"""How often services write in transactions."""
COMMITTED: Final = 0.7
"""How many of these are committed."""


class Intake:
    """Services that submit.

    Args:
        sending: makes ids and records, and appends.
        workflows: what they run.
        append_in_transactions: appends each in a transaction of its own, which end side by side.
    """

    def __init__(
        self,
        sending: Sending,
        workflows: Sequence[str],
        append_in_transactions: Callable[[Sequence[Transaction]], None],
    ):
        self._sending, self._rng, self._workflows = sending, sending.rng, workflows
        self._append_in_transactions = append_in_transactions
        self._runs: dict[str, SubmitRun] = {}
        self.sure: list[str] = []
        """Runs whose workflow existed: they must start."""
        self._transactions = 0

    def submit(self) -> None:
        """One or several services run instances, send them events or abort them."""
        if self._rng.random() < IN_TRANSACTIONS:
            self._append_in_transactions([self._transaction() for _ in range(self._rng.randint(1, 3))])
        else:
            self._submit(self._sending.send)

    async def submit_new(self) -> None:
        """A workflow is made, and run by another service as soon as whoever has made it is answered."""
        workflow_id = self._sending.new_id()
        self._sending.send(workflow_id, CreateWorkflow(name="", stages=[{"noop": {}}]))
        await self._sending.observer.comes_about(lambda: workflow_id in self._sending.observer.defined)
        self._submit_run(workflow_id, self._sending.send)

    def _transaction(self) -> Transaction:
        """What one service writes at once, mostly to several partitions."""
        records: dict[Place, list[NewRecord]] = {}

        def add(instance_id: str, command: Command) -> None:
            place, record = self._sending.record(instance_id, command)
            records.setdefault(place, []).append(record)

        while not records or self._rng.random() < 0.6:
            self._submit(add)
        self._transactions += 1
        return Transaction(f"intake-{self._transactions}", records, self._rng.random() < COMMITTED)

    def _submit(self, send: Callable[[str, Command], None]) -> None:
        """Run an instance, send it an event or abort it. Services repeat themselves, honestly or not."""
        rng = self._rng
        if not self._runs or rng.random() < 0.4:
            self._submit_run(rng.choice(self._workflows) if rng.random() < 0.9 else self._sending.new_id(), send)
        instance_id = rng.choice(list(self._runs)[-10:])
        for _ in range(rng.randint(0, 2)):
            kind, key = rng.random(), str(rng.randint(1, 3))
            if kind < 0.5:
                send(instance_id, SubmitEvent(name=rng.choice(["approved", "else"]), idempotency_key=key))
            elif kind < 0.6:
                send(instance_id, SubmitAbort(idempotency_key=key))
            elif kind < 0.9:
                send(instance_id, self._runs[instance_id])
            else:
                send(instance_id, replace(self._runs[instance_id], variables={"who": "bob"}))

    def _submit_run(self, workflow_id: str, send: Callable[[str, Command], None]) -> None:
        made_ms = int(SOME_TIME.timestamp() * 1000) + len(self._runs) + 1
        instance_id = str(UUID(int=made_ms << 80 | 7 << 76 | 2 << 62 | self._rng.getrandbits(62)))
        run = self._runs[instance_id] = SubmitRun(workflow_id=workflow_id, by="shop")
        if workflow_id in self._sending.observer.defined:
            self.sure.append(instance_id)
        send(instance_id, run)


class Marks(Witness):
    """Looks which marks transactions leave in `commands`.

    Args:
        cluster: where they are.
    """

    def __init__(self, cluster: MemoryCluster):
        self._cluster = cluster
        self._last: dict[Place, int] = {}
        """The offset behind the last mark."""
        self.met: Counter[str] = Counter()

    def ended(self, transaction: str, committed: bool, records: Mapping[Place, Sequence[StoredRecord]]) -> None:
        """See `Witness.ended`."""
        places = [place for place in records if place.topic == COMMANDS]
        for place in places:
            end = self._cluster.log(place).limits().end
            self.met["transactions have ended side by side"] += self._last.get(place) == end - 1
            self._last[place] = end
        self.met["a transaction was in several partitions"] += len(places) > 1
        self.met["submissions were aborted"] += bool(places) and not committed
