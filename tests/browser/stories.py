"""Workflows, instances and triggers as an installation has them, put into the read model."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from projections.queries.bulks import BulkRow
from projections.queries.stats import Happened, OldestRow, StatsRow, WorkflowStatsRow
from projections.read_rows import (
    ActivityRow,
    EndedStageRow,
    InstanceRow,
    OccurrenceRow,
    Pause,
    Retryable,
    RetryableRow,
    StageHistoryRow,
    StageRow,
    TriggerRow,
    WaitingRow,
    WorkflowRow,
)
from schemas.commands import CreateTrigger
from schemas.log_entries import Entry
from tests.unit.api.fakes import Backend

HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=1</script>\'"${}]]>'
"""What a stranger may write into a name, an error or a payload."""

SEND = {
    "source": {"account": {"id": "orders:${order}"}},
    "destination": {"wallet": {"id": "${wallet}"}},
    "amount": {"amount": "1250", "asset": "EUR/2"},
}
STAGES = [{"send": SEND}, {"wait_event": {"event": "approved"}}, {"delay": {"duration": "1s"}}]
VARIABLES = {"order": "A-1001", "wallet": "w-alice"}

PLACES = [
    "",
    "#/search?q=nothing",
    "#/instances/{waiting}",
    "#/instances/{retrying}",
    "#/instances/{retried}",
    "#/workflows",
    "#/workflows/{workflow}",
    "#/workflows/new",
    "#/triggers",
    "#/triggers/{trigger}",
    "#/overview",
    "#/bulk",
    "#/bulk/{bulk}",
]
"""Every page, some in several states."""
AGAIN = ("#/search?q=nothing", "#/instances/{retrying}", "#/instances/{retried}")
KINDS = [place for place in PLACES if place not in AGAIN]
"""Every page once."""


WHY_IT_WAITS = "Waiting for the event approved since"


def commands(backend: Backend, kind: type) -> list[Any]:
    """The commands of a kind that were sent."""
    return [command for _, command in backend.commands if isinstance(command, kind)]


def raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def message(reference: str) -> Raw:
    """A message of the payments service."""
    payload = {"status": "PENDING", "reference": reference}
    envelope = {"date": "2026-03-01T10:00:00Z", "app": "payments", "version": "v3", "type": "SAVED_PAYMENT"}
    return raw({**envelope, "payload": payload})


class Stories:
    """Adds to a backend; what it adds began some minutes ago."""

    def __init__(self, backend: Backend):
        self.backend = backend
        self.now = datetime.now(UTC)

    def ago(self, seconds: float) -> datetime:
        return self.now - timedelta(seconds=seconds)

    def workflow(self, name: str = "payout", stages: Any = None) -> WorkflowRow:
        return self.backend.add_workflow(uuid4(), name, STAGES if stages is None else stages)

    def waiting(self, workflow: WorkflowRow | None = None, variables: dict[str, str] = VARIABLES) -> UUID:
        """An instance that waits for an approval."""
        id = self._instance(workflow, variables, waiting=WaitingRow("event", self.ago(110), "approved"))
        self._sent(id)
        self._logged(id, variables)
        self.backend.histories[id].append(
            StageHistoryRow(1, "RunWaitEvent", raw({"event": "approved"}), self.ago(110), None)
        )
        self.backend.activity_rows[id, 1] = []
        self._change(id, stages=[StageRow(0, self.ago(120), self.ago(110)), StageRow(1, self.ago(110))])
        return id

    def retrying(self, workflow: WorkflowRow | None = None) -> UUID:
        """An instance whose ledger says that there is not enough money."""
        failure, next_at = "account @orders:A-1001 has insufficient funds", self.now + timedelta(seconds=100)
        waiting = WaitingRow("retry", self.ago(5), "CreateTransaction", next_at, 4)
        id = self._instance(workflow, VARIABLES, waiting=waiting)
        self._sent(id, ended=False)
        self.backend.activity_rows[id, 0][-1] = self._activity(
            "CreateTransaction", index=1, ended=False, attempt=4, last_failure=failure, next_execution=next_at
        )
        return id

    def paused(self, failure: str = "account @orders:A-1001 has insufficient funds") -> UUID:
        """An instance that a person has to resume."""
        pause = Pause(0, 1, 3, failure, "INSUFFICIENT_FUND")
        id = self._instance(
            None, VARIABLES, waiting=WaitingRow("resume", self.ago(60), "CreateTransaction", None, 3, pause)
        )
        self._sent(id, ended=False)
        self.backend.activity_rows[id, 0][-1] = self._activity(
            "CreateTransaction",
            index=1,
            ended=False,
            attempt=3,
            last_failure=failure,
            paused_at=self.ago(60),
            max_attempts=3,
        )
        return id

    def paused_again(self, id: UUID) -> None:
        """Somebody has resumed it, and it is paused for another time."""
        waiting = self.backend.instance_rows[id].waiting
        assert waiting is not None
        self._change(id, waiting=replace(waiting, since=self.ago(1)))

    def failed(self, error: str = "wallet not found", workflow: WorkflowRow | None = None) -> UUID:
        """An instance that has ended with an error."""
        id = self._instance(workflow, VARIABLES)
        self._sent(id, error=error)
        self.backend.end(id, error)
        self._change(id, terminated_at=self.ago(118), updated_at=self.ago(118))
        return id

    def retried(self) -> UUID:
        """An instance that was retried: it failed again at the same call."""
        id = self.failed()
        (sent,) = self.backend.histories[id]
        done, failed = self.backend.activity_rows[id, 0]
        again = {"started_at": self.ago(60), "terminated_at": self.ago(58)}
        self.backend.histories[id] = [replace(sent, retries=0), replace(sent, **again)]
        self.backend.activity_rows[id, 0] = [done, replace(failed, retries=0), replace(failed, **again)]
        act = {"at": self.ago(61), "action": "retry", "by": "ada", "reason": "topped up"}
        self._change(id, retries=1, acts=raw([act]))
        return id

    def somebody_else(self, id: UUID, act: str) -> None:
        """What another person has done who was quicker."""
        if act in ("Abort", "Send event"):
            self.backend.end(id)
        elif act == "Resume":
            self._change(id, waiting=None)
        else:
            self._change(id, terminated_at=None, error=None, stages=[StageRow(0, self.ago(120))])

    def bulk(self) -> UUID:
        """A bulk operation that is on its way."""
        id = uuid4()
        self.backend.bulk_rows[id] = BulkRow(
            id=id, partition=3, action="abort", filter=raw({"state": ["waiting"]}), expected=40,
            created_at=self.ago(50), updated_at=self.ago(1), request=None, by="ada", reason=HOSTILE,
        )  # fmt: skip
        return id

    def retryable(self, id: UUID) -> None:
        """What a retry of an instance goes on with."""
        row = self.backend.instance_rows[id]
        self.backend.retryable[id] = RetryableRow(
            workflow_id=row.workflow_id,
            stages=row.workflow.stages,
            variables=row.variables,
            request=None,
            max_attempts=None,
            terminated_at=row.terminated_at,
            error=row.error,
            retries=row.retries,
            retryable=Retryable(9),
            stage=EndedStageRow(0, self.ago(120), row.error),
            activities=[],
            requests=[],
            earlier_requests=0,
            next_offset=99,
        )

    def trigger(self, workflow: WorkflowRow, name: str = "payins") -> TriggerRow:
        """A trigger with two occurrences: one has started an instance, one has failed."""
        command = CreateTrigger(
            name=name,
            event="SAVED_PAYMENT",
            workflow_id=str(workflow.id),
            filter='event.status == "SUCCEEDED"',
            vars={"order": "event.reference"},
        )
        row = self.backend.add_trigger(uuid4(), command)
        self.backend.occurrence_rows += [
            OccurrenceRow(uuid4(), row.id, self.ago(30), None, message(HOSTILE), HOSTILE),
            OccurrenceRow(uuid4(), row.id, self.ago(20), self.waiting(workflow), message("A-1001")),
        ]
        return row

    def statistics(self, workflow: WorkflowRow, oldest: UUID) -> None:
        """A day in which much has happened."""
        happened = Happened(started=7, ended={"succeeded": {40: 4, 45: 2}, "failed": {40: 1}})
        states = {"waiting": 2, "paused": 1, "succeeded": 6, "failed": 1}
        row = self.backend.instance_rows[oldest]
        self.backend.stats_row = StatsRow(
            states=states,
            steps={3: happened, 20: Happened(started=1)},
            stages={0: {3: happened}},
            workflows=[WorkflowStatsRow(workflow.id, workflow.name, states)],
            workflows_in_all=1,
            oldest=[OldestRow("waiting", oldest, workflow.id, row.created_at, row.waiting)],
        )

    def _instance(self, workflow: WorkflowRow | None, variables: dict[str, str], **fields: Any) -> UUID:
        workflow = workflow or self.workflow()
        id = uuid4()
        self.backend.add_instance(id, workflow.id)
        self._change(
            id,
            created_at=self.ago(120 - len(self.backend.instance_rows)),
            updated_at=self.ago(5),
            variables=raw(variables),
            stages=[StageRow(0, self.ago(120))],
            **fields,
        )
        return id

    def _change(self, id: UUID, **fields: Any) -> None:
        row: InstanceRow = self.backend.instance_rows[id]
        self.backend.instance_rows[id] = replace(row, **fields)

    def _logged(self, id: UUID, variables: dict[str, str]) -> None:
        """Three records, of which one does not count and one can't be read."""
        event = raw({"at": self.ago(120), "variables": variables, "amount": 2**63, "note": HOSTILE})
        shown = Entry(partition=3, offset=7, at=self.ago(120), id=str(id), epoch=2, counts=True)
        self.backend.log[id] = [
            replace(shown, type="InstanceStarted", version=1, cause=4, value=event),
            replace(shown, offset=9, type="StageStarted", version=2, counts=False, reason="superseded"),
            replace(shown, offset=10, type=HOSTILE, error=HOSTILE),
        ]

    def _sent(self, id: UUID, *, ended: bool = True, error: str | None = None) -> None:
        at = self.ago(118) if ended else None
        self.backend.histories[id] = [StageHistoryRow(0, "RunSend", raw(SEND), self.ago(120), at, error)]
        self.backend.activity_rows[id, 0] = [
            self._activity("GetWallet", started_at=self.ago(119.9)),
            self._activity("CreateTransaction", index=1, ended=ended, error=error),
        ]

    def _activity(self, name: str, *, index: int = 0, ended: bool = True, **fields: Any) -> ActivityRow:
        posting = {"source": "orders:A-1001", "destination": "world", "amount": 2**63, "asset": "EUR/2"}
        inputs = {
            "GetWallet": {"id": "w-alice"},
            "CreateTransaction": {"ledger": "default", "data": {"postings": [posting], "metadata": {"m": HOSTILE}}},
        }
        return ActivityRow(
            index=index,
            name=name,
            input=raw(inputs[name]),
            output=raw({"data": {"name": HOSTILE}}) if ended else None,
            attempt=fields.pop("attempt", 1),
            started_at=fields.pop("started_at", self.ago(119.5)),
            terminated_at=self.ago(119) if ended else None,
            **fields,
        )
