"""One request of a client, and its answer."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from schemas.settings import ApiSettings
from tests.simulation.answers import Answers, Promised
from tests.simulation.apis import HttpAnswer, HttpRequest, SimulatedApi

TRIES: Final = 6
PATIENCE_SECONDS: Final = (0.5, 3.0, 15.0, 60.0)
"""How long clients wait for an answer."""
TOO_FAR_BEHIND: Final = "the read model is too far behind to tell "
"""A request with a key is refused with this when engines remember little: the next try succeeds. Whether it had to be
is judged by the log (`outcomes`)."""
CUT: Final = "the log of commands was cut"
"""Clients are told so, and operators are called."""
GRACE_SECONDS: Final = 12.0
"""By how much an answer may come later than the deadlines of the API say, with what it reads before and after."""
STATUSES: Final = frozenset({200, 201, 204, 400, 404, 409, 413, 503})
"""What may be answered."""


@dataclass
class Outcome:
    """What came of one try."""

    status: int | None
    """None when there was no answer."""
    body: Any
    promised: Promised
    """What was promised when it was sent."""
    seconds: float
    stopping: bool
    """Whether the process that has answered was told to stop."""


class Requests:
    """Sends requests.

    Args:
        rng: decides what customers do.
        apis: all replicas.
        answers: checks what they are answered.
        settings: of the API.
    """

    def __init__(self, rng: random.Random, apis: Sequence[SimulatedApi], answers: Answers, settings: ApiSettings):
        self.rng, self.apis, self.answers, self.settings = rng, apis, answers, settings
        self.quiet = False
        """Whether nothing goes wrong any more: then every request is answered in time."""
        self.met: Counter[str] = Counter()
        self._reasons = 0

    @property
    def any_api(self) -> SimulatedApi:
        """One of the replicas."""
        return self.rng.choice(self.apis)

    async def send(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        key: str | None = None,
        api: SimulatedApi | None = None,
        patience: float | None = None,
    ) -> Outcome:
        """One try of a request.

        Args:
            method: the verb.
            target: path and query, without the base path.
            body: what becomes JSON; None for no body.
            key: the Idempotency-Key.
            api: the replica that is asked; any of them if None.
            patience: how long its client waits, in seconds.
        """
        loop = asyncio.get_running_loop()
        api = api or self.any_api
        content = b"" if body is None else msgspec.json.encode(body)
        headers = {} if key is None else {"Idempotency-Key": key}
        headers |= self._reason(method)
        promised, sent_at = self.answers.promised.copy(), loop.time()
        longest = self.settings.wait_timeout_seconds + self.settings.command_timeout_seconds + GRACE_SECONDS
        if patience is None:
            patience = longest if self.quiet else self.rng.choice(PATIENCE_SECONDS)
        request = HttpRequest(method, self.settings.base_path + target, content, headers)
        answer: HttpAnswer | None = None
        program = api.program
        with contextlib.suppress(ConnectionError, TimeoutError):
            answer = await api.call(request, patience)
        self.met["not answered"] += answer is None
        assert answer is not None or not self.quiet, f"{method} {target} was not answered in {patience} s"
        self.answers.known.read()
        seconds, stopping = loop.time() - sent_at, program.stopping
        status = None if answer is None else answer.status
        shown = msgspec.json.decode(answer.body) if answer is not None and answer.body else None
        if status is not None:
            self.met[f"answered {status}"] += 1
            assert status in STATUSES, f"{method} {target} was answered {status}: {shown}"
            text = shown.get("errorMessage", "") if status == 503 and shown else ""
            assert CUT not in text, "a request was refused since the log of commands was cut, which it never is"
            is_behind = text.startswith(TOO_FAR_BEHIND)
            assert status != 503 or not self.quiet or is_behind, f"{method} {target} was answered 503: {shown}"
        return Outcome(status, shown, promised, seconds, stopping)

    def _reason(self, method: str) -> dict[str, str]:
        """Each second request that may change something has a reason, which no other has."""
        if method == "GET":
            return {}
        self._reasons += 1
        return {"X-Reason": f"reason {self._reasons}"} if self._reasons % 2 else {}

    async def read(self, target: str, api: SimulatedApi) -> Outcome | None:
        """A GET, tried again until there is an answer."""
        for _ in range(TRIES):
            outcome = await self.send("GET", target, api=api)
            if outcome.status not in (None, 503):
                return outcome
            await asyncio.sleep(self.rng.uniform(0.1, 2.0))
        return None

    async def read_list(self, path: str, query: str, api: SimulatedApi) -> tuple[list[Any], Promised] | None:
        """A whole list: in one piece in v1, by pages in v2; with what was promised at its beginning."""
        if self.rng.random() < 0.5:
            outcome = await self.read(f"{path}?{query}", api)
            return None if outcome is None else (outcome.body["data"], outcome.promised)
        return await self.read_pages(path, query, api)

    async def read_pages(
        self, path: str, query: str, api: SimulatedApi, size: int | None = None
    ) -> tuple[list[Any], Promised] | None:
        """A whole list of v2, by pages; with what was promised at its beginning."""
        size = size or self.rng.choice((1, 2, 15))
        outcome = await self.read(f"/v2{path}?{query}&pageSize={size}", api)
        if outcome is None:
            return None
        promised, items = outcome.promised, []
        while True:
            page = outcome.body["cursor"]
            items += page["data"]
            assert len({item["id"] for item in items}) == len(items), (
                f"{path}: a page shows again what was on one before"
            )
            if not page["hasMore"]:
                return items, promised
            outcome = await self.read(f"/v2{path}?cursor={page['next']}", self.any_api)
            if outcome is None:
                return None
