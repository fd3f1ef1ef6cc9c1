"""Instances that are searched: their states and keys."""

from typing import Final

from tests.mutations.mutation import Mutation

FOLD: Final = "projections/fold.py"
SEARCH_FILTERS: Final = "projections/queries/instance_filters.py"

MUTATIONS: Final = (
    Mutation(
        "a state that outlasts the end",
        FOLD,
        "        instance.state = ended_state(event.error)\n",
        "",
        "Who looks for what runs finds what has ended, and an abort of all that waits hits what has failed.",
    ),
    Mutation(
        "keys of a start are forgotten",
        FOLD,
        '            self._found(instance, (*event.variables.values(), event.occurrence_id or ""))\n',
        "            pass\n",
        "A payment is not found by its order.",
    ),
    Mutation(
        "several states are the first one",
        SEARCH_FILTERS,
        '        "states": states,\n',
        '        "states": states[:1] if states else states,\n',
        "A list of states lacks instances.",
    ),
)
