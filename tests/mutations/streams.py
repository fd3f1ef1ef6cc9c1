"""Live streams: what they show, and that they end with their instance."""

from typing import Final

from tests.mutations.mutation import Mutation

FOLLOWERS: Final = "api/streams/followers.py"

MUTATIONS: Final = (
    Mutation(
        "the last state not shown",
        FOLLOWERS,
        "        if state.digest != self._seen:\n",
        "        if not self._seen:\n",
        "Whoever follows an instance learns that it has ended, and not how.",
    ),
    Mutation(
        "only failures end a stream",
        FOLLOWERS,
        "        if state.row.terminated_at is not None:\n",
        "        if state.row.error is not None:\n",
        "Whoever waits for the end of an instance waits for ever, unless it fails.",
    ),
)
