"""Requests that make something, with all their tries."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.idempotency import id_for_key
from tests.simulation.customers.kind import Action, Kind, Made
from tests.simulation.customers.looks import Looks
from tests.simulation.customers.requests import TRIES, Outcome, Requests


@dataclass
class Sent:
    """A request that makes something, with all its tries."""

    mark: str
    key: str | None
    tries: int = 0
    acknowledged: int = 0


class Making(Kind):
    """Sends what makes something until it is answered; and what was sent with a key, once more.

    Args:
        requests: sends its requests.
        made: what all customers have made.
        looks: look at instances after an answer.
    """

    def __init__(self, requests: Requests, made: Made, looks: Looks):
        super().__init__(requests, made)
        self._looks = looks
        self._keyed: list[tuple[Sent, Callable[[Sent], Awaitable[None]]]] = []
        self._marks = 0

    def actions(self) -> Sequence[Action]:
        """See `Kind.actions`."""
        return (Action(5, self._repeat, lambda: bool(self._keyed)),)

    def new(self, *, keyed: bool | None = None) -> Sent:
        """A new request; with a key or without, if that is not said."""
        self._marks += 1
        is_keyed = self.rng.random() < 0.5 if keyed is None else keyed
        return Sent(f"r{self._marks}", f"key-{self._marks}" if is_keyed else None)

    def repeatable(self, sent: Sent, send: Callable[[Sent], Awaitable[None]]) -> None:
        """A request may be sent once more later if it has a key: honestly, or for something else.

        Args:
            sent: it.
            send: sends it, or one with the same key.
        """
        if sent.key is not None:
            self._keyed.append((sent, send))

    async def _repeat(self) -> None:
        sent, send = self.rng.choice(self._keyed)
        await send(self._again(sent))

    async def repeat_some(self, count: int) -> None:
        """Send some once more, as they were."""
        for sent, send in self.rng.sample(self._keyed, min(count, len(self._keyed))):
            await send(Sent(sent.mark, sent.key))

    def _again(self, sent: Sent) -> Sent:
        self._marks += 1
        honest = self.rng.random() < 0.6
        self.met["a key was used again" if honest else "a key was used for something else"] += 1
        return Sent(sent.mark if honest else f"r{self._marks}", sent.key)

    async def make(
        self,
        sent: Sent,
        method: str,
        target: Callable[[], str],
        body: Callable[[str], Any],
        check: Callable[[str, Outcome], None],
    ) -> None:
        """Send a request that makes something until it is answered.

        Args:
            sent: it.
            method: the verb.
            target: makes its target, on any surface.
            body: makes its body of a mark.
            check: is given each answer, with the mark of the try.
        """
        while sent.tries < TRIES:
            sent.tries += 1
            mark = sent.mark if sent.key is not None else f"{sent.mark}.{sent.tries}"
            twice = sent.key is not None and self.rng.random() < 0.1
            outcomes = await asyncio.gather(
                *(self.requests.send(method, target(), body(mark), key=sent.key) for _ in range(1 + twice))
            )
            answered = [outcome for outcome in outcomes if outcome.status not in (None, 503)]
            for outcome in answered:
                check(mark, outcome)
            if answered:
                if self.made.instances and self.rng.random() < 0.5:
                    await self._looks.get(self.made.instances[-1], self.requests.any_api)
                return
            if sent.key is None and self.rng.random() < 0.5:
                return  # who knows whether it was done
            await asyncio.sleep(self.rng.uniform(0.1, 4.0))


def id_of(operation: str, path: str, key: str | None) -> str | None:
    """The id of what a request with a key makes; None without one."""
    return None if key is None else str(id_for_key(operation, path, key))
