"""Clients on all three surfaces and both APIs, who write down every answer and insist where they may.

A client repeats what carries an Idempotency-Key until it is answered, on whichever surface and API; what carries none
it sends once. So everything that is acknowledged must be there, and nothing twice.
"""

import asyncio
import contextlib
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Final, NamedTuple

import aiohttp

from schemas.events import CANCELED
from schemas.idempotency import id_for_key
from schemas.kafka import KafkaFault, Producer, clients_of
from schemas.records import NewRecord
from schemas.topics import partition_of
from tests.chaos.answers import Answers, Plan, Probe, Request, Run
from tests.chaos.system import MESSAGES, PARTITIONS, System
from tests.integration.http_client import Json
from tests.simulation.sends import Sends

SURFACES: Final = ("v1", "v2", "flows")
BASE: Final = "/api/orchestration"
WEIGHTS: Final[dict[Plan, int]] = {
    "noop": 9,
    "event": 5,
    "twice": 1,
    "never": 1,
    "delay": 4,
    "money": 9,
    "abort": 2,
    "abort money": 3,
    "retry": 3,
    "retry money": 3,
}
STAGES: Final[dict[str, list[Json]]] = {
    "noop": [{"noop": {}}],
    "event": [{"wait_event": {"event": "go"}}, {"noop": {}}],
    "twice": [{"wait_event": {"event": "go"}}, {"wait_event": {"event": "go"}}],
    "never": [{"wait_event": {"event": "go"}}],
    "delay": [{"delay": {"duration": "1s"}}, {"noop": {}}],
    "abort": [{"wait_event": {"event": "go"}}],
    "retry": [{"noop": {}}, {"wait_event": {"event": "go"}}, {"noop": {}}],
    "probe": [{"noop": {}}],
}
"""By plan, those without money."""
FAILING: Final = ("money", "abort", "abort money", "retry", "retry money")
"""Plans whose instances may fail."""
GIVE_UP_SECONDS: Final = 100.0
"""How long a client insists. Longer than the longest fault and what comes behind it."""
REQUEST_SECONDS: Final = 100.0
"""How long one request may hang; far above what is allowed, so that hangs show their length."""
MAX_FLOWS: Final = 250
"""Clients at once. While nothing is answered, no more come, so that a fault ends in a bounded crowd."""
GROUPS: Final = 0.05
"""Share of the clients that act on a group of instances at once."""
GROUP_SIZES: Final = (2, 8)
"""How many instances a group has."""
BULK_SECONDS: Final = 0.5
"""How often a client looks whether an operation has come to its end."""
PROBE_SECONDS: Final = 0.8
MESSAGE_SECONDS: Final = 0.7
MESSAGE_DEADLINE_SECONDS: Final = 10.0
MESSAGE_TYPE: Final = "PAID"
MAX_PROBES: Final = 12
"""Of one partition at once."""


class Reply(NamedTuple):
    """What a client got: a status with the JSON of its body, or in words why there was no answer."""

    outcome: int | str
    data: Any = None

    @property
    def is_final(self) -> bool:
        """Whether to insist would be pointless."""
        return isinstance(self.outcome, int) and self.outcome < 500


class Clients:
    """All clients.

    Args:
        system: what they use.
        rng: decides what comes when.
        sends: makes the stages that move money. It alone decides how many a workflow has: what comes of the generator
            above depends on when answers come, and the money that a seed moves must not.
        rate: new instances a second, probes not counted.
        money_waits: share of those with money that are waited for. Money that has to come first lets them wait long.
    """

    def __init__(self, system: System, rng: random.Random, sends: Sends, rate: float, money_waits: float):
        self.answers = Answers()
        self.workflows: dict[str, list[str]] = {}
        """Those of the present round, by plan."""
        self._system, self._rng, self._rate = system, rng, rate
        self._sends, self._money_waits = sends, money_waits
        self._numbers = itertools.count(1)
        self._flows: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._round = ""
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        )

    async def close(self) -> None:
        """Close all connections."""
        await self.session.close()

    # Requests

    async def call(
        self,
        operation: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        surface: str = "v1",
        api: int | None = None,
        waited: bool = False,
    ) -> Reply:
        """Send a request, to another API if the first one refuses connections, as a gateway would."""
        urls = self._system.api_urls
        first = self._rng.randrange(len(urls)) if api is None else api
        reply = Reply("refused")
        for number in (first, *(n for n in range(len(urls)) if n != first and api is None)):
            began = time.monotonic()
            reply = await self._send(urls[number], method, path, body, key)
            request = Request(began, time.monotonic(), operation, surface, number, reply.outcome, waited=waited)
            if isinstance(reply.outcome, int) and reply.outcome >= 400 and isinstance(reply.data, dict):
                request.code, request.text = reply.data.get("errorCode", ""), reply.data.get("errorMessage", "")
            self.answers.requests.append(request)
            if reply.outcome != "refused":
                break
        return reply

    async def _send(self, url: str, method: str, path: str, body: Any, key: str | None) -> Reply:
        headers = {} if key is None else {"Idempotency-Key": key}
        if body is not None:
            headers["content-type"] = "application/json"
        data = None if body is None else json.dumps(body)
        try:
            async with self.session.request(method, url + BASE + path, headers=headers, data=data) as response:
                content = await response.read()
                status = response.status
        except aiohttp.ClientConnectorError:
            return Reply("refused")
        except TimeoutError:
            return Reply("no answer")
        except (aiohttp.ClientError, OSError) as error:
            return Reply(f"cut ({type(error).__name__})")
        try:
            return Reply(status, json.loads(content) if content else None)
        except ValueError:
            self.answers.wrong.append(f"{method} {path}: {status} with a body that is not JSON: {content[:60]!r}")
            return Reply(status)

    async def insist(
        self, operation: str, method: str, path: Callable[[str], str], body: Any = None, **more: Any
    ) -> Reply:
        """Send until there is an answer, on whichever surface; `path` is given one."""
        until, pause = time.monotonic() + GIVE_UP_SECONDS, 0.2
        while True:
            surface = self._rng.choice(SURFACES)
            reply = await self.call(operation, method, path(surface), body, surface=surface, **more)
            if reply.is_final or time.monotonic() > until:
                return reply
            await asyncio.sleep(pause * self._rng.uniform(0.7, 1.3))
            pause = min(pause * 1.6, 2.0)

    # What a client does

    async def prepare(self, name: str, money: int) -> None:
        """Make the workflows of a round, some of which move money."""
        self._round = name
        self.workflows = {}
        for plan, stages in STAGES.items():
            self.workflows[plan] = [await self.workflow(f"{name} {plan}", stages)]
        paying = []
        for number in range(money):
            count = self._sends.rng.choice((1, 1, 2))
            stages = [self._sends.stage(f"{name}/{number}/{n}/${{run}}") for n in range(count)]
            paying.append(await self.workflow(f"{name} money {number}", stages))
        self.workflows["money"] = self.workflows["abort money"] = self.workflows["retry money"] = paying

    async def workflow(self, name: str, stages: list[Json]) -> str:
        """Make a workflow; returns its id."""

        def path(surface: str) -> str:
            return {"v1": "/workflows", "v2": "/v2/workflows", "flows": "/flows"}[surface]

        reply = await self.insist("create", "POST", path, {"name": name, "stages": stages}, key=f"workflow {name}")
        assert reply.outcome == 201, f"{name}: {reply}"
        return str(reply.data["data"]["id"])

    async def run(
        self, plan: Plan, *, keyed: bool, wait: bool = False, mark: str = "", workflow: str = "", group: str = ""
    ) -> Run:
        """Start an instance, of a group if one is given."""
        mark = mark or f"{self._round}.{next(self._numbers)}"
        run = Run(mark, plan, workflow or self._rng.choice(self.workflows[plan]), keyed)
        self.answers.runs.append(run)
        query = "?wait=true" if wait else ""
        variables = {"run": mark, "group": group} if group else {"run": mark}

        def path(surface: str) -> str:
            return _runs(surface, run.workflow) + query

        operation = "run and wait" if wait else "run"
        if keyed:
            run.id = str(id_for_key("instance", run.workflow, mark))
            reply = await self.insist(operation, "POST", path, variables, key=mark, waited=wait)
        else:
            surface = self._rng.choice(SURFACES)
            reply = await self.call(operation, "POST", path(surface), variables, surface=surface, waited=wait)
        if reply.outcome == 201:
            self._started(run, reply.data["data"])
        elif reply.is_final:
            self.answers.wrong.append(f"{mark}: a run was answered {reply}")
        return run

    def _started(self, run: Run, shown: Json) -> None:
        if run.keyed and shown["id"] != run.id:
            self.answers.wrong.append(f"{run.mark}: a run was answered with id {shown['id']}, not {run.id}")
        run.id, run.acknowledged = shown["id"], True
        run.shown_as_ended = bool(shown["terminated"])
        if shown.get("error") and run.plan not in FAILING:
            self.answers.wrong.append(f"{run.mark}: it is shown to have failed: {shown['error']}")

    async def look(self, run: Run, *, api: int | None = None) -> None:
        """What was acknowledged is shown, by every API and on every surface. Until a retry is answered, either is."""
        ended = run.shown_as_ended or (run.abort_acknowledged and run.plan == "abort")
        was_retried, is_answered = run.retry_acknowledged, run.retry_sent == run.retry_acknowledged
        surface = self._rng.choice(SURFACES)
        reply = await self.call("get", "GET", _run(surface, run), surface=surface, api=api)
        if reply.outcome == 404:
            self.answers.wrong.append(f"{run.mark} {run.id}: not found behind its acknowledgement")
        elif reply.outcome == 200 and is_answered and run.retry_sent == was_retried:
            shown = reply.data["data"]
            if ended and not shown["terminated"]:
                self.answers.wrong.append(f"{run.mark} {run.id}: it is shown to run after it was shown to have ended")
            if was_retried and shown.get("error") == CANCELED:
                self.answers.wrong.append(f"{run.mark} {run.id}: behind its retry it is shown as aborted")
            run.shown_as_ended = run.shown_as_ended or bool(shown["terminated"])

    async def send(self, run: Run) -> None:
        """Send the event that the instance waits for."""
        run.events_sent += 1
        marker = f"{run.mark}/{run.events_sent}"
        body = {"name": "go", "marker": marker}
        reply = await self.insist("event", "POST", lambda surface: _run(surface, run) + "/events", body, key=marker)
        if reply.outcome == 204:
            run.events_acknowledged += 1
        elif reply.is_final:
            self.answers.wrong.append(f"{marker}: an event was answered {reply}")

    async def abort(self, run: Run) -> bool:
        """Abort the instance; whether no abort may come later, of a request that was not answered."""
        run.abort_sent = True
        surface = self._rng.choice(SURFACES)
        first = reply = await self.call("abort", "PUT", _run(surface, run) + "/abort", surface=surface)
        if not first.is_final:
            reply = await self.insist("abort", "PUT", lambda surface: _run(surface, run) + "/abort")
        if reply.outcome == 204:
            run.abort_acknowledged = True
        elif reply.is_final:
            self.answers.wrong.append(f"{run.mark}: an abort was answered {reply}")
        return first.outcome == 204

    async def retry(self, run: Run) -> None:
        """Retry the instance that was aborted. One with money may have come to its end before, and is left alone."""
        reply = await self.insist("get", "GET", lambda surface: _run(surface, run))
        if reply.outcome != 200 or reply.data["data"].get("error") != CANCELED:
            if reply.outcome == 200 and run.plan == "retry":
                self.answers.wrong.append(f"{run.mark}: behind its abort it is shown as {reply.data['data']}")
            return
        run.retry_sent, run.shown_as_ended = True, False
        reply = await self.insist("retry", "POST", lambda _: f"/v2/instances/{run.id}/retry", key=f"{run.mark}/retry")
        if reply.outcome == 201:
            run.retry_acknowledged = True
        elif reply.is_final:
            self.answers.wrong.append(f"{run.mark}: a retry was answered {reply}")

    async def _group(self) -> None:
        """Abort several instances by one operation and retry them by another, each of them once."""
        group = f"group {next(self._numbers)} of {self._round}"
        runs = [await self.run("retry", keyed=True, group=group) for _ in range(self._rng.randint(*GROUP_SIZES))]
        if not all(run.acknowledged for run in runs):
            return  # nobody knows how many there are
        for run in runs:
            run.abort_sent = True
        aborted = await self._bulk("abort", {"key": group}, len(runs))
        for run in runs:
            run.abort_sent, run.abort_acknowledged = aborted is not False, aborted is True
        if not aborted:
            return
        await self.look(self._rng.choice(runs))
        for run in runs:
            run.retry_sent, run.shown_as_ended = True, False
        retried = await self._bulk("retry", {"key": group, "state": ["aborted"]}, len(runs))
        for run in runs:
            run.retry_sent, run.retry_acknowledged = retried is not False, retried is True
            if retried:
                await self.send(run)

    async def _bulk(self, action: str, filters: Json, count: int) -> bool | None:
        """Act on all instances that pass the filters, of which there are so many.

        Returns:
            Whether it is done; False if there were too many operations already, None if nobody knows.
        """
        key, body = f"{filters['key']} {action}", {"action": action, "filter": filters}
        reply = await self.insist("bulk", "POST", lambda _: "/v2/instances/bulk", body, key=key)
        if reply.outcome == 409:
            return False
        if reply.outcome != 201:
            if reply.is_final:
                self.answers.wrong.append(f"{key}: an operation was answered {reply}")
            return None
        path, until = f"/v2/bulk/{reply.data['data']['id']}", time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < until:
            reply = await self.insist("bulk progress", "GET", lambda _: path)
            if reply.outcome == 404:
                self.answers.wrong.append(f"{key}: not found behind its acknowledgement")
                return None
            if reply.outcome == 200 and (shown := reply.data["data"])["state"] != "running":
                if (shown["state"], shown["done"], shown["refused"]) != ("completed", count, 0) or "lost" in shown:
                    self.answers.wrong.append(f"{key}: it has ended with {shown}, and there are {count} instances")
                return True
            await asyncio.sleep(BULK_SECONDS)
        return None

    async def _flow(self) -> None:
        if self._rng.random() < GROUPS:
            await self._group()
            return
        (plan,) = self._rng.choices(list(WEIGHTS), list(WEIGHTS.values()))
        run = await self.run(plan, keyed=self._rng.random() < 0.7, wait=self._waits(plan))
        if not run.acknowledged:
            return
        if self._rng.random() < 0.3:
            await self.look(run)
        if plan in ("event", "twice"):
            await asyncio.sleep(self._rng.uniform(0.0, 2.0))
            await self.send(run)
        elif plan in ("abort", "abort money"):
            await asyncio.sleep(self._rng.uniform(0.0, 0.6))
            await self.abort(run)
            await self.look(run)
        elif plan in ("retry", "retry money"):
            await asyncio.sleep(self._rng.uniform(0.0, 0.6))
            if await self.abort(run):
                await self.retry(run)
            if run.retry_acknowledged and plan == "retry":
                await self.send(run)

    def _waits(self, plan: Plan) -> bool:
        share = {"noop": 0.4, "delay": 0.4, "money": self._money_waits}.get(plan, 0.0)
        return self._rng.random() < share

    # Who comes when

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Clients come and go inside the block; at its end they finish what they have begun."""
        self._stopping = False
        streams = [self._arrive(), self._read(), self._publish(), *(self._probe(n) for n in range(PARTITIONS))]
        tasks = [asyncio.create_task(stream) for stream in streams]
        try:
            yield
        finally:
            self._stopping = True
            await asyncio.gather(*tasks)
            if self._flows:
                await asyncio.wait(self._flows, timeout=GIVE_UP_SECONDS + REQUEST_SECONDS)
            for flow in tuple(self._flows):
                self.answers.wrong.append(f"a client was still at {flow.get_name()} long after all had stopped")
                flow.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=getattr(work, "__name__", ""))
        self._flows.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._flows.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.answers.wrong.append(f"a client could not make sense of an answer: {error!r}")

    async def _arrive(self) -> None:
        while not self._stopping:
            await asyncio.sleep(self._rng.expovariate(self._rate))
            if len(self._flows) < MAX_FLOWS:
                self._spawn(self._flow())

    async def _read(self) -> None:
        while not self._stopping:
            await asyncio.sleep(0.4)
            known = [run for run in self.answers.runs[-400:] if run.acknowledged]
            if known and len(self._flows) < MAX_FLOWS:
                self._spawn(self.look(self._rng.choice(known)))

    async def _probe(self, partition: int) -> None:
        """Ask a partition over and over whether it works."""
        (workflow,) = self.workflows["probe"]
        probing: set[asyncio.Task[None]] = set()

        async def probe() -> None:
            mark = self._mark_in(partition, workflow)
            began = time.monotonic()
            surface = self._rng.choice(SURFACES)
            path = _runs(surface, workflow) + "?wait=true"
            run = Run(mark, "probe", workflow, True, str(id_for_key("instance", workflow, mark)))
            self.answers.runs.append(run)
            reply = await self.call("probe", "POST", path, {"run": mark}, key=mark, surface=surface, waited=True)
            if reply.outcome == 201:
                self._started(run, reply.data["data"])
            self.answers.probes.append(Probe(partition, began, time.monotonic(), run.shown_as_ended))

        while not self._stopping:
            if len(probing) < MAX_PROBES:
                task = asyncio.create_task(probe(), name="probe")
                probing.add(task)
                self._flows.add(task)
                task.add_done_callback(probing.discard)
                task.add_done_callback(self._finished)
            await asyncio.sleep(PROBE_SECONDS)

    def _mark_in(self, partition: int, workflow: str) -> str:
        while True:
            mark = f"{self._round}.{next(self._numbers)}"
            if partition_of(str(id_for_key("instance", workflow, mark)).encode(), PARTITIONS) == partition:
                return mark

    async def _publish(self) -> None:
        """Another service sends messages, each once; of some it never learns whether they arrived."""
        producer, loop = self._producer(), asyncio.get_running_loop()
        try:
            for number in itertools.count():
                if self._stopping:
                    break
                mark = f"{self._round}.m{number}"
                envelope = {"type": MESSAGE_TYPE, "version": "v2", "app": "shop", "payload": {"run": mark}}
                record = NewRecord(b"", json.dumps(envelope).encode(), [], time.time_ns() // 1_000_000)
                partition = number % self._system.message_partitions
                self.answers.messages[mark] = False
                try:
                    await producer.append(MESSAGES, partition, record, loop.time() + MESSAGE_DEADLINE_SECONDS)
                    self.answers.messages[mark] = True
                except KafkaFault:
                    pass
                except AssertionError:  # by Kafka's client, which has not heard of a new partition: nothing was sent
                    await producer.close()
                    producer = self._producer()
                await asyncio.sleep(MESSAGE_SECONDS)
        finally:
            await producer.close()

    def _producer(self) -> Producer:
        kafka = clients_of(self._system.settings)
        return kafka.producer(MESSAGES, max_batch_bytes=2**20, max_request_bytes=2**20, waits=False)

    async def each(self, work: Callable[[Run], Awaitable[object]], runs: list[Run]) -> None:
        """Do something with some instances, a few at a time."""
        limit = asyncio.Semaphore(10)

        async def one(run: Run) -> None:
            async with limit:
                await work(run)

        await asyncio.gather(*(one(run) for run in runs))


def _runs(surface: str, workflow: str) -> str:
    if surface == "flows":
        return f"/flows/{workflow}/runs"
    return f"{'/v2' if surface == 'v2' else ''}/workflows/{workflow}/instances"


def _run(surface: str, run: Run) -> str:
    if surface == "flows":
        return f"/flows/{run.workflow}/runs/{run.id}"
    return f"{'/v2' if surface == 'v2' else ''}/instances/{run.id}"
