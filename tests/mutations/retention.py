"""Instances that ended long ago are deleted: only those, all of them, and nothing is done again for it."""

from typing import Final

from tests.mutations.mutation import Mutation

FOLD: Final = "projections/fold.py"
READS: Final = "projections/queries/read_model.py"
RETENTION: Final = "projections/retention.py"
RETRIES: Final = "projections/retries.py"

MUTATIONS: Final = (
    Mutation(
        "a deleted instance is like one that never was",
        READS,
        'statement("keyed_instances" if keyed else "instances")',
        'statement("instances")',
        "A request with an Idempotency-Key that comes again starts an instance once more: money moves twice.",
    ),
    Mutation(
        "every outcome is kept for a day",
        RETENTION,
        "        age = days * DAY\n",
        "        age = DAY\n",
        "Failed payments are gone before anybody has looked at them.",
    ),
    Mutation(
        "only the first batch is deleted",
        RETENTION,
        "            behind = done.reached\n",
        "            behind = None\n",
        "What ended long ago stays behind instances that are kept for longer.",
    ),
    Mutation(
        "a retry of a deleted instance is not shown",
        RETRIES,
        "    for id, retried in batch.retried.items():\n",
        "    for id, retried in list(batch.retried.items())[:0]:\n",
        "A payment runs, and nobody sees it.",
    ),
    Mutation(
        "what a retry keeps is not brought back",
        FOLD,
        "        for index, kept in enumerate(event.kept):\n",
        "        for index, kept in enumerate(event.kept[:0]):\n",
        "The next retry does again what was done before the instance was deleted.",
    ),
    Mutation(
        "a fault ends the deleting for good",
        RETENTION,
        "            if not done:\n                self._limit",
        "            if not done:\n                return\n                self._limit",
        "After an outage of Postgres nothing is deleted until the projections are started again.",
    ),
)
