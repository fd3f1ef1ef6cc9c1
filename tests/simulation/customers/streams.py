"""Who follows instances and lists: through all that happens to the replicas, and each instance until its end.

What a stream shows is checked as any answer is, and it never goes back. When all is quiet, whoever follows an instance
that has ended is told so.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from deploy.client.server_events import ServerEvent, read_events
from tests.simulation.answers import Promised
from tests.simulation.apis import HttpRequest, SimulatedApi
from tests.simulation.customers.kind import Action, Kind, Made
from tests.simulation.customers.requests import Requests

MAX_FOLLOWERS: Final = 4
"""That go on in the background; more would make the simulation slow."""
LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
CUT: Final = 0.2
"""How often a connection ends when a message has come."""
QUIET_SECONDS: Final = 60.0
"""When everything was told at the latest, when all is quiet: announcements are lost even then, and an instance is read
again with each heartbeat."""


class Streams(Kind):
    """Follows."""

    def __init__(self, requests: Requests, made: Made):
        super().__init__(requests, made)
        self._followers: dict[asyncio.Task[None], str] = {}

    def actions(self) -> Sequence[Action]:
        """See `Kind.actions`."""
        return (
            Action(8, self._begin, self.has_instances),
            Action(5, lambda: self._follow_list(self.rng.uniform(1.0, 20.0)), self.has_flows),
        )

    # An instance

    async def _begin(self) -> None:
        """Follow an instance in the background."""
        if len(self._followers) < MAX_FOLLOWERS:
            id = self.any_instance()
            self._followers[asyncio.create_task(self._follow(id))] = id

    async def _follow(self, id: str, api: SimulatedApi | None = None) -> None:
        """Follow an instance until its end, on whichever replica there is."""
        last_event_id, updated_at, has_ended = "", LONG_AGO, False
        while True:
            promised = self.answers.promised.copy()
            with contextlib.suppress(ConnectionError):
                async with aclosing(self._messages(f"/v2/instances/{id}/stream", last_event_id, api)) as messages:
                    async for message in messages:
                        last_event_id = message.id
                        if message.event == "gone" or (message.event == "end" and not has_ended):
                            self.answers.known.read()
                            assert self.answers.may_be_gone(id, promised), f"{id}: what is there was not shown"
                            return
                        if message.event == "end":
                            assert has_ended, f"{id}: an end was told, but not the state before"
                            self.met["an instance was followed to its end"] += 1
                            return
                        if message.event == "instance":
                            shown: Any = message.json()
                            before, updated_at = updated_at, msgspec.convert(shown["updatedAt"], datetime)
                            assert updated_at >= before, f"{id}: a stream went back"
                            has_ended = shown["terminated"]
                            self._check(shown, promised)
                            promised = Promised()  # what others were shown since may be newer
            self.met["a stream was cut, and followed again"] += bool(last_event_id)
            await asyncio.sleep(self.rng.uniform(0.1, 2.0))

    def _check(self, shown: Any, promised: Promised) -> None:
        self.answers.known.read()
        self.answers.instance(shown, promised)

    # A list

    async def _follow_list(self, seconds: float) -> None:
        """Follow a list for some time, with interruptions."""
        flow, last_event_id = self.any_flow(), ""
        query = "" if self.rng.random() < 0.7 else f"?workflowID={flow.id}"
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + seconds
        while loop.time() < ends_at:
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout_at(min(ends_at, loop.time() + self.rng.uniform(1.0, 10.0))):
                    async with aclosing(self._messages(f"/v2/instances/stream{query}", last_event_id)) as messages:
                        async for message in messages:
                            last_event_id = message.id
                            self._take(message, flow.id if query else None)
            await asyncio.sleep(self.rng.uniform(0.1, 1.0))

    def _take(self, message: ServerEvent, workflow_id: str | None) -> None:
        assert message.event != "left", "an instance is told that can't have passed"
        self.met["a list was to be read again"] += message.event == "reset"
        if message.event == "instance":
            shown: Any = message.json()
            assert workflow_id in (None, shown["workflowID"])
            self._check(shown, Promised())
            self.met["a change was told in a list"] += 1

    # Both

    async def _messages(
        self, path: str, last_event_id: str, api: SimulatedApi | None = None
    ) -> AsyncGenerator[ServerEvent, None]:
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        request = HttpRequest("GET", self.requests.settings.base_path + path, b"", headers)
        api = api or self.requests.any_api
        async with api.stream(request) as stream, aclosing(stream.pieces()) as pieces:
            await anext(pieces)
            assert stream.status in (200, 204, 404, 503), f"{path} was answered {stream.status}"
            if stream.status == 404:
                yield ServerEvent("gone", "{}", last_event_id)
            elif stream.status == 204:
                yield ServerEvent("end", "{}", last_event_id)
            elif stream.status == 200:
                async for message in read_events(pieces):
                    assert message.event in EVENTS, message
                    if not self.requests.quiet and self.rng.random() < CUT:
                        raise ConnectionResetError("the connection has ended")
                    yield message

    # The end

    async def sweep(self, api: SimulatedApi) -> None:
        """See `Kind.sweep`: who follows what has ended was told so; a new stream of each shows it as it is."""
        known = self.answers.known.instances
        await self._until_told()
        for id in dict.fromkeys(self.made.instances):
            if known[id].ended:
                async with asyncio.timeout(QUIET_SECONDS):
                    await self._follow(id, api)

    async def _until_told(self) -> None:
        known = self.answers.known.instances
        waiting = {task for task, id in self._followers.items() if known[id].ended}
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=QUIET_SECONDS)
            assert not late, f"the end of {[self._followers[task] for task in late]} was not told"
        followers, self._followers = list(self._followers), {}
        for task in followers:
            task.cancel()
        for outcome in await asyncio.gather(*followers, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome


EVENTS: Final = frozenset({"instance", "end", "open", "reset", "heartbeat", "unavailable"})
"""What streams may say here."""
