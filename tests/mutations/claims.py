"""One writer per partition: claims, proofs, epochs and restores."""

from typing import Final

from tests.mutations.mutation import Mutation

PARTITION: Final = "engine/partition.py"
EPOCHS: Final = "schemas/epochs.py"

MUTATIONS: Final = (
    Mutation(
        "proof off",
        PARTITION,
        "        if base > self.end:\n",
        "        if base > self.end and self.end < 0:\n",
        "Two engines take themselves for the owner of a partition, and both pay.",
    ),
    Mutation(
        "claims ignored",
        PARTITION,
        "                if is_claim(record):\n",
        "                if False:\n",
        "An engine that was superseded goes on, and both pay.",
    ),
    Mutation(
        "restore short by one",
        PARTITION,
        "self._log.read(self.number, 0, self.epoch)",
        "self._log.read(self.number, 0, self.epoch - 1)",
        "The last event before a takeover is forgotten: a command is decided twice.",
    ),
    Mutation(
        "epoch ignored by readers",
        EPOCHS,
        "read_number(epoch) == self.epoch",
        "read_number(epoch) >= 0",
        "What a superseded engine still wrote counts: an instance has two histories.",
    ),
    Mutation(
        "the clock may go back",
        PARTITION,
        "        if self._last_at is None or at > self._last_at:\n",
        "        if True:\n",
        "A history shows that a stage ended before it started.",
    ),
)
