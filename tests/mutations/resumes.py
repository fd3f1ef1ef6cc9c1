"""What is paused goes on when a person says so, once for each pause, as it was answered."""

from typing import Final

from tests.mutations.mutation import Mutation

FOLD: Final = "projections/fold.py"
PAUSES: Final = "api/resources/pauses.py"

MUTATIONS: Final = (
    Mutation(
        "pauses named to the second",
        PAUSES,
        "        paused_at=resume.paused_at,\n",
        "        paused_at=resume.paused_at.replace(microsecond=0),\n",
        "Nothing can be resumed by what is shown of it.",
    ),
)
