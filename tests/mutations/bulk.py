"""Bulk operations: what is acted on twice, passed over, or counted wrong."""

from typing import Final

from tests.mutations.mutation import Mutation

ACTIONS: Final = "projections/bulk/actions.py"
BULK: Final = "engine/core/bulk.py"
READS: Final = "projections/bulk/reads.py"
RUNNER: Final = "projections/bulk/runner.py"
STATE: Final = "engine/core/state.py"
STEPS: Final = "projections/bulk/steps.py"
BULK_ROWS: Final = "projections/bulk_rows.py"

MUTATIONS: Final = (
    Mutation(
        "a page's command acts twice",
        BULK,
        "        return command.bulk_page < page.number or instance_id in page.instances\n",
        "        return command.bulk_page < page.number\n",
        "A command that comes again is decided and counted again.",
    ),
    Mutation(
        "a refused command of a page is forgotten",
        STATE,
        "                self._bulks.note_decided(key, event.bulk_id, event.bulk_page, place)\n            elif",
        "                pass\n            elif",
        "A refusal that comes again is counted again, and may be carried out after a retry.",
    ),
    Mutation(
        "a page follows before the last one is decided",
        STEPS,
        "    if not row.missing:\n",
        "    if not row.missing or memory.sent is not None:\n",
        "Commands of the page before are taken for repetitions: their instances are passed over.",
    ),
    Mutation(
        "the first page does not wait for the read model",
        RUNNER,
        "            if not row.pages and not await self._is_complete(known, found):\n",
        "            if False:\n",
        "Instances that a projector has not written yet are passed over.",
    ),
    Mutation(
        "an operation begins by its own clock alone",
        READS,
        "        return RowPosition(bulk.page_at or bulk.created_at, UUID(int=0))\n",
        "        return RowPosition(bulk.created_at, UUID(int=0))\n",
        "Instances of an engine whose clock is ahead are passed over.",
    ),
    Mutation(
        "a refusal counts as done",
        BULK_ROWS,
        "    key = bulk_id, partition, outcome\n",
        "    key = bulk_id, partition, DONE\n",
        "People are told that what was refused was done.",
    ),
    Mutation(
        "a bulk retry revives what was aborted meanwhile",
        ACTIONS,
        "not passes_now(filters, state, ended_at, found.error):\n",
        "False:\n",
        "A payment that somebody has aborted goes out, because others are retried that have failed.",
    ),
)
