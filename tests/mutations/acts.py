"""Who acts, and why: every act is kept with what it was done to."""

from typing import Final

from tests.mutations.mutation import Mutation

FOLD: Final = "projections/fold.py"
MEMORY: Final = "projections/memory.py"

MUTATIONS: Final = (
    Mutation(
        "an abort without an author",
        FOLD,
        '        _act(instance, "abort", event)\n',
        "",
        "Nobody can tell who has aborted an instance.",
    ),
    Mutation(
        "the acts of the last batch alone",
        MEMORY,
        "joined(getattr(table[key], name), getattr(row, name))",
        "joined(None, getattr(row, name))",
        "Of what people did to an instance, only the last things are shown, and then none.",
    ),
)
