"""Who has instances run once more, and what comes again or late across a retry."""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any, Final

from msgspec.structs import replace

from schemas.commands import AbortInstance, AdvanceBulk, RetryInstance, RunWorkflow, SendEvent
from schemas.epochs import header
from schemas.kafka import Place
from schemas.kafka.memory import StoredRecord
from schemas.topics import COMMANDS
from tests.definitions import definition
from tests.retryable import retry_of
from tests.simulation.outcomes import Run
from tests.simulation.sending import Sending

REQUESTS: Final = (2, 3)
"""How many come before a retry: as many as an instance remembers in some seeds."""
PAUSE_SECONDS: Final = 0.5
"""Between two that come again, at most."""
REGRETTED: Final = 0.6
"""How many instances are aborted while a bulk operation is about to retry them."""
REGRET_SECONDS: Final = 0.02
"""How much later, at most, than the operation has come to them."""


class Retrying:
    """Retries instances.

    Args:
        sending: sends the commands.
        calling: instances whose call is under way.
    """

    def __init__(self, sending: Sending, calling: Callable[[], Sequence[str]]):
        self._sending, self._calling = sending, calling
        self._rng = sending.rng
        self._sent: list[tuple[str, RetryInstance]] = []

    def retry_any(self) -> None:
        """Retry what has failed or was aborted, also twice at once; some have seen an end that is not the last."""
        if self._sent and self._rng.random() < 0.2:
            self._sending.send(*self._rng.choice(self._sent[-10:]))
            return
        outcomes = self._sending.observer.outcomes
        failed = [id for some in outcomes for id, run in some.runs.items() if run.failed]
        if failed:
            self._retry(self._rng.choice(failed[-20:]), twice=0.3)

    async def retry_what_fails_again(self) -> None:
        """A retry of what fails at once in each pass comes twice, and the second one has seen the end of the next pass.

        So it is when the API looks for the second before the first is carried out, and for the end after that.
        """
        instance_id = self._start([{"delay": {"duration": "${nobody}"}}])
        if await self._has_failed(instance_id, retries=0):
            request = self._sending.request(instance_id, self._sending.new_id())
            self._sending.send_keyed(instance_id, replace(self._retry_of(instance_id), **request), is_keyed=True)
            if await self._has_failed(instance_id, retries=1):
                self._sending.send(instance_id, replace(self._retry_of(instance_id), **request))

    async def retry_what_is_called(self) -> None:
        """Abort an instance whose call is under way, and retry it at once: the call comes back in the next pass."""
        if not (calling := self._calling()):
            return
        instance_id = self._rng.choice(calling)
        run = self._run(instance_id)
        if run is not None and not run.ended:
            self._sending.send(instance_id, AbortInstance())
            if await self._has_failed(instance_id, run.retries):
                self._retry(instance_id, twice=0.3)

    async def repeat_behind_a_retry(self) -> None:
        """Requests of before a retry come again behind it and behind others, so that some may be forgotten."""
        instance_id = self._start([{"wait_event": {"event": "approved"}}])
        sent: list[SendEvent] = []
        for _ in range(self._rng.choice(REQUESTS)):
            if not await self._knows(instance_id, len(sent)):
                return
            sent.append(self._send_event(instance_id))
        if not await self._knows(instance_id, len(sent)):
            return
        self._sending.send(instance_id, AbortInstance())
        if not await self._has_failed(instance_id, retries=0):
            return
        self._sending.send(instance_id, self._retry_of(instance_id))
        if await self._comes_about(instance_id, lambda run: not run.ended and run.retries == 1):
            sent.append(self._send_event(instance_id))
            for event in self._rng.sample(sent, len(sent)):
                await asyncio.sleep(self._rng.uniform(0.0, PAUSE_SECONDS))
                self._sending.send(instance_id, event)

    def retry_again_and_again(self, instance_id: str) -> None:
        """Retry what has failed or was aborted, three times at once: mostly in one turn, for an abort comes before."""
        run = self._run(instance_id)
        if run is not None and run.failed:
            self._sending.send(instance_id, AbortInstance())
            self._retry(instance_id, twice=1.0)
            self._sending.send(*self._sent[-1])

    def regret(self, place: Place, records: Sequence[StoredRecord]) -> None:
        """Retry and abort what a bulk operation of what has failed is about to retry: it must leave that alone then.

        Args:
            place: where records were appended.
            records: what was appended.
        """
        for record in records:
            if place.topic == COMMANDS and header(record.headers, "type") == b"AdvanceBulk":
                bulk_id, advance = self._sending.codec.decode_command(record)
                if isinstance(advance, AdvanceBulk) and bulk_id in self._sending.observer.reach.reviving:
                    for instance_id in advance.instances:
                        if self._rng.random() < REGRETTED:
                            seconds = self._rng.uniform(0.0, REGRET_SECONDS)
                            loop = asyncio.get_running_loop()
                            loop.call_later(seconds, self._retry_and_regret, instance_id, context=Context())

    def _retry_and_regret(self, instance_id: str) -> None:
        run = self._run(instance_id)
        if run is not None and run.failed:
            self._sending.send(instance_id, self._retry_of(instance_id))
            self._sending.send(instance_id, AbortInstance())

    def _start(self, stages: list[dict[str, Any]]) -> str:
        """Run an instance with these stages; its id."""
        instance_id = self._sending.new_id()
        run = RunWorkflow(workflow_id=self._sending.new_id(), stages=definition(stages), variables={"who": "ann"})
        self._sending.runs[instance_id] = run
        self._sending.send(instance_id, run)
        return instance_id

    def _send_event(self, instance_id: str) -> SendEvent:
        """Send an event with a key that no stage waits for."""
        event = SendEvent(name="else", **self._sending.request(instance_id, self._sending.new_id()))
        self._sending.send(instance_id, event)
        return event

    def _run(self, instance_id: str) -> Run | None:
        return self._sending.observer.outcomes[self._sending.partition(instance_id)].runs.get(instance_id)

    async def _has_failed(self, instance_id: str, retries: int) -> bool:
        """Whether an instance soon fails that was retried so often."""
        return await self._comes_about(instance_id, lambda run: run.failed and run.retries == retries)

    async def _knows(self, instance_id: str, requests: int) -> bool:
        """Whether so many requests soon have had their effect."""
        return await self._comes_about(instance_id, lambda run: run.count >= requests)

    async def _comes_about(self, instance_id: str, holds: Callable[[Run], bool]) -> bool:
        """Whether something soon holds of an instance."""
        return await self._sending.observer.comes_about(
            lambda: (run := self._run(instance_id)) is not None and holds(run)
        )

    def _retry_of(self, instance_id: str) -> RetryInstance:
        """What retries an instance that has failed, as the read model knows it now: requests in the order of keys."""
        partition = self._sending.partition(instance_id)
        log = [(one.aggregate_id, one.event) for one in self._sending.observer.admitted[partition]]
        run = self._sending.observer.outcomes[partition].runs[instance_id]
        requests = [(key, digest) for key, digest in run.keys.items() if digest is not None and not run.earlier]
        return replace(
            retry_of(log, instance_id),
            requests=sorted(requests),
            earlier_requests=run.count - len(requests),
            seen_offset=len(self._sending.topics.events[partition]),
        )

    def _retry(self, instance_id: str, twice: float) -> None:
        """Retry an instance that has failed, perhaps twice at once."""
        retry = self._retry_of(instance_id)
        is_keyed = self._rng.random() < 0.4
        if is_keyed:
            retry = replace(retry, **self._sending.request(instance_id, self._sending.new_id()))
        self._sending.send_keyed(instance_id, retry, is_keyed)
        self._sent.append((instance_id, retry))
        if self._rng.random() < twice:
            self._sending.send(instance_id, replace(retry, request_key=None, request_digest=None))
