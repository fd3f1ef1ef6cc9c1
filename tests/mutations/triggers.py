"""Messages become occurrences, once each, and every occurrence starts its instance."""

from typing import Final

from tests.mutations.mutation import Mutation

PARTITION: Final = "engine/partition.py"
TURN: Final = "engine/turn.py"

MUTATIONS: Final = (
    Mutation(
        "once not checked within a turn",
        TURN,
        "                if once is not None and event.once_key == once and isinstance(event, TriggerFired):\n",
        "                if False:\n",
        "A payment fires its trigger twice, and is paid out twice.",
    ),
    Mutation(
        "the wrong trigger request popped",
        PARTITION,
        "                self._requests.popleft()\n",
        "                self._requests.pop()\n",
        "The instance of an occurrence is never started.",
    ),
    Mutation(
        "resend reversed",
        PARTITION,
        "            batch = list(islice(self._requests, MAX_REQUESTS))\n",
        "            batch = list(islice(self._requests, MAX_REQUESTS))[::-1]\n",
        "A run command that comes before an older one makes that one look repeated: its instance is never started.",
    ),
    Mutation(
        "resend dropped",
        PARTITION,
        "        self._request(self._aggregates.pending())\n",
        "",
        "The instance of an occurrence that an engine left behind is never started.",
    ),
)
