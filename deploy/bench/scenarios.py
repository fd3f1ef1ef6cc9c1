"""What `orchestration bench` measures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from deploy.bench.load import Judge

PREFIX: Final = "orchestration bench:"
"""How the names of all workflows begin that a run makes, so that people recognise them."""
PAGE: Final = 15
INSTANCES: Final = PAGE + 1
"""Of each workflow that is read: v2 has a next page, and v1, which has no pages, about as many rows."""

NOOP: Final[dict[str, Any]] = {"noop": {}}
SEND: Final[dict[str, Any]] = {
    "send": {
        "source": {"account": {"id": "world"}},
        "destination": {"account": {"id": "orchestration:bench"}},
        "amount": {"amount": 1, "asset": "BENCH"},
    }
}
"""It is real to the ledger, so it is of an asset that nobody has."""

RUNS: Final = {"noop": [NOOP], "three-noops": [NOOP, NOOP, NOOP], "send": [SEND]}
"""The stages of the workflows that are run, by scenario."""
READS: Final = {
    "instance": "/instances/{instance}",
    "history": "/instances/{instance}/history",
    "stage-history": "/instances/{instance}/stages/0/history",
    "list-v1": "/instances?workflowID={workflow}",
    "list-v2": f"/v2/instances?workflowID={{workflow}}&pageSize={PAGE}",
}
"""What is read, by scenario: each client reads an instance, or the list of a workflow, of its own."""
NAMES: Final = (*RUNS, *READS)

CLIENTS: Final[dict[str, tuple[int, ...]]] = {
    "noop": (1, 16, 64, 256),
    "three-noops": (64,),
    "send": (64,),
    **dict.fromkeys(READS, (1, 16)),
}
"""How many clients each scenario is measured with, unless told otherwise."""


class Case(NamedTuple):
    """A scenario with a number of clients."""

    scenario: str
    clients: int

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.scenario}, {self.clients} {'client' if self.clients == 1 else 'clients'}"


class Requests(NamedTuple):
    """What the clients of a scenario send."""

    method: str
    paths: Sequence[str]
    judge: "Judge | None" = None


def cases_of(scenarios: Sequence[str], clients: Sequence[int]) -> list[Case]:
    """The cases of some scenarios, or of all if none is named; with these numbers of clients, if any are given."""
    return [
        Case(name, number)
        for name in NAMES
        if not scenarios or name in scenarios
        for number in dict.fromkeys(clients or CLIENTS[name])
    ]


def running(workflow: str) -> Requests:
    """Run a workflow, and wait for the end of the instance."""
    return Requests("POST", [f"/workflows/{workflow}/instances?wait=true"], judge_of_runs)


def reading(scenario: str, workflows: Sequence[str], instances: Sequence[str]) -> Requests:
    """Read instances or lists.

    Args:
        scenario: its name.
        workflows: ids; one for each client.
        instances: an id of each of them.
    """
    template = READS[scenario]
    pairs = zip(workflows, instances, strict=True)
    return Requests("GET", [template.format(workflow=workflow, instance=instance) for workflow, instance in pairs])


def judge_of_runs(body: bytes) -> str:
    """What is wrong with the answer to a run: the instance has to have ended without an error."""
    if b'"terminated":true' not in body:
        return "not ended"
    return "failed" if b'"error":' in body else ""
