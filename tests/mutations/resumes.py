"""What is paused goes on when a person says so, once for each pause, as it was answered."""

from typing import Final

from tests.mutations.mutation import Mutation

FOLD: Final = "projections/fold.py"
PAUSES: Final = "api/resources/pauses.py"

MUTATIONS: Final = (
    Mutation(
        "a keyed resume not looked up",
        PAUSES,
        "    if keyed is not None and await sent_before(services, row.id, keyed):\n        return\n",
        "",
        "Who had no answer and asks again is told that the pause was another one.",
    ),
    Mutation(
        "one key for all pauses",
        PAUSES,
        '    keyed = keyed_request(key, "resume", f"{row.id}/{stage}/{index}", body)\n',
        '    keyed = keyed_request(key, "resume", f"{row.id}/{stage}/{index}", None)\n',
        "Who uses a key once more, for the next pause, is told that it was ended, and it goes on.",
    ),
    Mutation(
        "pauses named to the second",
        PAUSES,
        "        paused_at=resume.paused_at,\n",
        "        paused_at=resume.paused_at.replace(microsecond=0),\n",
        "Nothing can be resumed by what is shown of it.",
    ),
)
