"""The API's clients of the simulation. They use all surfaces, repeat what was not answered, check all answers.

A request that makes something carries a mark, which the log keeps. So it is known what became of each: of one with an
Idempotency-Key, at most one thing, however often it is repeated; of every other, at most one thing each time.
Some clients are dishonest, and use a key for something else.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from api.ids import id_for_key
from schemas.settings import ApiSettings
from tests.simulation.answers import MARK, Answers, Promised
from tests.simulation.apis import HttpAnswer, HttpRequest, SimulatedApi
from tests.simulation.loop import VirtualClock

TRIES: Final = 6
PATIENCE_SECONDS: Final = (0.5, 3.0, 15.0, 60.0)
"""How long clients wait for an answer."""
TOO_FAR_BEHIND: Final = "the read model is too far behind to tell whether this ran before"
"""A keyed run is refused with this when engines remember little: the next try succeeds."""
MAX_LOOKS: Final = 30
"""At a list, while a workflow is run."""
AT_ONCE: Final = 3
"""How many requests of the sweep at the end are under way at once."""
NOTICED_SECONDS: Final = 3.0
"""When an end is noticed at the latest, when all is quiet but that announcements are lost."""
GRACE_SECONDS: Final = 12.0
"""By how much an answer may come later than the deadlines of the API say, with what it reads before and after."""


@dataclass
class Sent:
    """A request that makes something, with all its tries."""

    mark: str
    key: str | None
    tries: int = 0
    acknowledged: int = 0


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


@dataclass
class Flow:
    """A workflow that a client has made."""

    id: str
    stages: Sequence[Any]
    deleted: bool = False


class Customers:
    """All clients of the API.

    Args:
        rng: decides what they do.
        apis: all replicas.
        answers: checks what they are answered.
        settings: of the API.
        stage: makes a stage of a workflow.
        broken: takes what is wrong.
    """

    def __init__(
        self,
        rng: random.Random,
        apis: Sequence[SimulatedApi],
        answers: Answers,
        settings: ApiSettings,
        stage: Callable[[], dict[str, Any]],
        broken: list[Exception],
    ):
        self._rng, self._apis, self._answers = rng, apis, answers
        self._settings, self._stage, self._broken = settings, stage, broken
        self.quiet = False
        """Whether nothing goes wrong any more: then every request is answered in time."""
        self.met: Counter[str] = Counter()
        self.flows: list[Flow] = []
        self.instances: list[str] = []
        self._triggers: list[str] = []
        self.sent: list[Sent] = []
        self._keyed: list[Callable[[], Awaitable[None]]] = []
        self._marks = 0

    async def run(self, customers: int, actions: int) -> None:
        """So many clients do so many things each."""
        async with asyncio.TaskGroup() as group:
            for _ in range(customers):
                group.create_task(self._act(actions))

    async def _act(self, actions: int) -> None:
        try:
            for _ in range(actions):
                await asyncio.sleep(self._rng.expovariate(0.5))
                await self._do_something()
        except AssertionError as error:
            self._broken.append(error)

    async def _do_something(self) -> None:
        chance = self._rng.random()
        if not self.flows or chance < 0.1:
            await self.create_flow()
        elif not self.instances or chance < 0.4:
            await self.run_flow(self._rng.choice(self.flows))
        elif chance < 0.55:
            await self.send_event(self._rng.choice(self.instances))
        elif chance < 0.6:
            await self.abort(self._rng.choice(self.instances))
        elif chance < 0.62 and not self.quiet:
            await self._race(self._rng.choice(self.instances))
        elif chance < 0.65 and len(self.flows) > 1:
            await self.delete_flow(self._rng.choice(self.flows))
        elif chance < 0.73:
            await self._use_triggers()
        elif chance < 0.78 and self._keyed:
            await self._rng.choice(self._keyed)()
        elif chance < 0.9:
            await self.get(self._rng.choice(self.instances), self._rng.choice(self._apis))
        elif chance < 0.95:
            await self.read_lists(self._rng.choice(self._apis))
        else:
            await self._watch()

    # Requests

    async def _send(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        key: str | None = None,
        api: SimulatedApi | None = None,
        patience: float | None = None,
    ) -> Outcome:
        """One try of a request."""
        loop = asyncio.get_running_loop()
        api = api or self._rng.choice(self._apis)
        content = b"" if body is None else msgspec.json.encode(body)
        headers = {} if key is None else {"Idempotency-Key": key}
        promised, sent_at = self._answers.promised.copy(), loop.time()
        longest = self._settings.wait_timeout_seconds + self._settings.command_timeout_seconds + GRACE_SECONDS
        if patience is None:
            patience = longest if self.quiet else self._rng.choice(PATIENCE_SECONDS)
        request = HttpRequest(method, self._settings.base_path + target, content, headers)
        answer: HttpAnswer | None = None
        program = api.program
        with contextlib.suppress(ConnectionError, TimeoutError):
            answer = await api.call(request, patience)
        self.met["not answered"] += answer is None
        assert answer is not None or not self.quiet, f"{method} {target} was not answered in {patience} s"
        self._answers.known.read()
        seconds, stopping = loop.time() - sent_at, program.stopping
        status = None if answer is None else answer.status
        shown = msgspec.json.decode(answer.body) if answer is not None and answer.body else None
        if status is not None:
            self.met[f"answered {status}"] += 1
            assert status in {200, 201, 204, 400, 404, 413, 503}, f"{method} {target} was answered {status}: {shown}"
            is_behind = shown is not None and shown.get("errorMessage") == TOO_FAR_BEHIND
            assert status != 503 or not self.quiet or is_behind, f"{method} {target} was answered 503: {shown}"
        return Outcome(status, shown, promised, seconds, stopping)

    async def _read(self, target: str, api: SimulatedApi) -> Outcome | None:
        """A GET, tried again until there is an answer."""
        for _ in range(TRIES):
            outcome = await self._send("GET", target, api=api)
            if outcome.status not in (None, 503):
                return outcome
            await asyncio.sleep(self._rng.uniform(0.1, 2.0))
        return None

    async def _make(
        self,
        sent: Sent,
        method: str,
        target: Callable[[], str],
        body: Callable[[str], Any],
        check: Callable[[Sent, str, Outcome], None],
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
            twice = sent.key is not None and self._rng.random() < 0.1
            outcomes = await asyncio.gather(
                *(self._send(method, target(), body(mark), key=sent.key) for _ in range(1 + twice))
            )
            answered = [outcome for outcome in outcomes if outcome.status not in (None, 503)]
            for outcome in answered:
                check(sent, mark, outcome)
            if answered:
                if self.instances and self._rng.random() < 0.5:
                    await self.get(self.instances[-1], self._rng.choice(self._apis))
                return
            if sent.key is None and self._rng.random() < 0.5:
                return  # who knows whether it was done
            await asyncio.sleep(self._rng.uniform(0.1, 4.0))

    def _new(self, *, keyed: bool | None = None) -> Sent:
        self._marks += 1
        is_keyed = self._rng.random() < 0.5 if keyed is None else keyed
        sent = Sent(f"r{self._marks}", f"key-{self._marks}" if is_keyed else None)
        self.sent.append(sent)
        return sent

    def _again(self, sent: Sent) -> Sent:
        """The same key once more: honestly, or for something else."""
        self._marks += 1
        honest = self._rng.random() < 0.6
        self.met["a key was used again" if honest else "a key was used for something else"] += 1
        return Sent(sent.mark if honest else f"r{self._marks}", sent.key)

    # Workflows

    async def create_flow(self, sent: Sent | None = None, stages: Sequence[Any] | None = None) -> None:
        """Create a workflow."""
        sent = sent or self._new()
        stages = stages or [self._stage() for _ in range(self._rng.randint(1, 3))]

        def check(sent: Sent, mark: str, outcome: Outcome) -> None:
            answers, id = self._answers, self._id("workflow", "", sent.key)
            if outcome.status == 400:
                assert id is not None, "a new workflow was refused"
                assert answers.known.workflows[id].created.name != mark, "a repeated request was refused"
                return
            assert outcome.status == 201, f"a workflow was not created, but {outcome.status}"
            shown = outcome.body["data"]
            assert id in (None, shown["id"]), "the key was given another workflow"
            assert shown["config"]["name"] == mark, "another request's workflow was answered"
            answers.workflow(shown, outcome.promised)
            sent.acknowledged += 1
            if not any(flow.id == shown["id"] for flow in self.flows):
                self.flows.append(Flow(shown["id"], stages))

        def body(mark: str) -> Any:
            return {"name": mark, "stages": stages}

        await self._make(sent, "POST", lambda: self._rng.choice(("/workflows", "/v2/workflows", "/flows")), body, check)
        if sent.key is not None:
            self._keyed.append(lambda: self.create_flow(self._again(sent), stages))

    async def delete_flow(self, flow: Flow) -> None:
        """Delete a workflow that may have been run a moment ago. Nobody runs it after that."""
        was_run, path = self._rng.random() < 0.6, f"/workflows/{flow.id}/instances"
        if was_run:
            await asyncio.gather(*(self._send("POST", path, self._variables(), api=api) for api in self._apis))
        for _ in range(TRIES):
            flow.deleted = True  # or maybe
            outcome = await self._send("DELETE", self._rng.choice(("", "/v2")) + f"/workflows/{flow.id}")
            if outcome.status == 204:
                assert self._answers.known.workflows[flow.id].deleted_at, "a workflow was not deleted"
                self._answers.promised.deleted_workflows.add(flow.id)
                for api in self._apis if was_run else ():
                    outcome = await self._send("POST", path, self._variables(), api=api)
                    assert outcome.status in (404, 503, None), "a workflow was run after its deletion was answered"
                return
            assert outcome.status in (None, 503), f"a deletion was answered {outcome.status}"

    # Runs

    async def run_flow(self, flow: Flow, sent: Sent | None = None, *, wait: bool | None = None) -> None:
        """Run a workflow."""
        sent = sent or self._new()
        wait = self._rng.random() < 0.4 if wait is None else wait

        def check(sent: Sent, mark: str, outcome: Outcome) -> None:
            self._check_run(flow, sent, mark, outcome, wait=wait)

        def target() -> str:
            path = self._rng.choice(("/workflows/{}/instances", "/v2/workflows/{}/instances", "/flows/{}/runs"))
            return path.format(flow.id) + ("?wait=true" if wait else "")

        await self._make(sent, "POST", target, self._variables, check)
        if sent.key is not None:
            self._keyed.append(lambda: self.run_flow(flow, self._again(sent)))

    def _variables(self, mark: str | None = None) -> dict[str, str]:
        return {"who": "ann", MARK: mark or self._new(keyed=False).mark}

    def _check_run(self, flow: Flow, sent: Sent, mark: str, outcome: Outcome, *, wait: bool) -> None:
        known, id = self._answers.known, self._id("instance", flow.id, sent.key)
        if outcome.status == 404:
            assert flow.deleted, "a workflow that exists was not found"
            return
        if outcome.status == 400:
            assert id is not None, "a run was refused"
            assert known.instances[id].start.variables[MARK] != mark, "a repeated run was refused"
            return
        assert outcome.status == 201, f"a run was answered {outcome.status}"
        shown = outcome.body["data"]
        assert known.started.get(mark) == [shown["id"]], f"run {mark} has started {known.started.get(mark)}"
        assert id in (None, shown["id"]), "the key was given another instance"
        is_deleted = flow.id in outcome.promised.deleted_workflows
        assert sent.key is not None or not is_deleted, "a workflow was run after its deletion was answered"
        self._answers.instance(shown, outcome.promised, complete=wait)
        instance = known.instances[shown["id"]]
        self._answers.promise_instance(shown["id"], instance.caused.get(instance.started_by, 0))
        sent.acknowledged += 1
        self.instances.append(shown["id"])
        if wait and not shown["terminated"]:
            waited = outcome.stopping or outcome.seconds >= self._settings.wait_timeout_seconds
            assert waited, "a wait ended before its time"
            ended_at = known.instances[shown["id"]].moments[-1].terminated_at
            late = ended_at is not None and VirtualClock().now() - ended_at > timedelta(seconds=NOTICED_SECONDS)
            assert not (self.quiet and late), "a wait went on after the end"
        self.met["waited for an end"] += wait and shown["terminated"]

    # What is sent to instances

    async def send_event(self, id: str, sent: Sent | None = None, name: str = "") -> None:
        """Send an event to an instance."""
        sent, name = sent or self._new(), name or self._rng.choice(("approved", "paid", "ann", "else"))

        def check(sent: Sent, mark: str, outcome: Outcome) -> None:
            known, key = self._answers.known.instances[id], self._id("event", id, sent.key)
            if outcome.status == 400:
                used = known.keys.get(key) if key is not None else None
                assert used != mark, "a repeated event was refused"
                assert known.ended or used is not None, "an event was refused"
                return
            assert outcome.status == 204, f"an event was answered {outcome.status}"
            assert known.marks[mark] == 1, f"event {mark} was received {known.marks[mark]} times"
            sent.acknowledged += 1
            self._answers.promise_instance(id, known.caused[known.received_by[mark]])

        target = self._instance_target(id, "events")
        await self._make(sent, "POST", target, lambda mark: {"name": name, MARK: mark}, check)
        if sent.acknowledged and self._rng.random() < 0.5:
            await self.get(id, self._rng.choice(self._apis))
        if sent.key is not None:
            self._keyed.append(lambda: self.send_event(id, self._again(sent), name))

    async def abort(self, id: str) -> None:
        """Abort an instance, again and again until it is answered."""
        target = self._instance_target(id, "abort")
        for _ in range(TRIES):
            outcome = await self._send("PUT", target())
            if outcome.status == 204:
                known = self._answers.known.instances[id]
                assert known.ended, "an abort was answered, and the instance goes on"
                self._answers.promise_instance(id, len(known.moments) - 1)
                self._answers.aborted.add(id)
                self.met["aborted by a client"] += 1
                await self.get(id, self._rng.choice(self._apis))
                return
            assert outcome.status in (None, 503), f"an abort was answered {outcome.status}"
            await asyncio.sleep(self._rng.uniform(0.1, 2.0))

    async def _race(self, id: str) -> None:
        """Send events to an instance, and abort it, all at once."""
        await asyncio.gather(*(self.send_event(id) for _ in range(2)), self.abort(id), self.send_event(id))

    def _instance_target(self, id: str, what: str = "") -> Callable[[], str]:
        flow_id = self._answers.known.instances[id].start.workflow_id
        paths = (f"/instances/{id}", f"/v2/instances/{id}", f"/flows/{flow_id}/runs/{id}")
        return lambda: self._rng.choice(paths) + (f"/{what}" if what else "")

    # Reading

    async def get(self, id: str, api: SimulatedApi) -> None:
        """Read an instance, and maybe its history."""
        outcome = await self._read(self._instance_target(id)(), api)
        if outcome is not None:
            assert outcome.status == 200, f"instance {id} was answered {outcome.status}"
            self._answers.instance(outcome.body["data"], outcome.promised)
        if self._rng.random() < 0.3:
            outcome = await self._read(self._rng.choice(("", "/v2")) + f"/instances/{id}/history", api)
            if outcome is not None:
                assert outcome.status == 200, f"the history of {id} was answered {outcome.status}"
                self._answers.history(id, outcome.body["data"], outcome.promised)

    async def read_lists(self, api: SimulatedApi) -> None:
        """Read one of the lists."""
        if self.flows and self._rng.random() < 0.6:
            flow, running = self._rng.choice(self.flows), self._rng.random() < 0.4
            query = f"workflowID={flow.id}" + ("&running=true" if running else "")
            listed = await self._list("/instances", query, api)
            if listed is not None:
                self._answers.instances(*listed, flow.id, running=running)
        else:
            listed = await self._list("/workflows", "", api)
            if listed is not None:
                self._answers.workflows(*listed)
        await self._send_nonsense(api)

    async def _send_nonsense(self, api: SimulatedApi) -> None:
        """What is refused, whatever there is."""
        unknown = UUID(int=self._rng.getrandbits(128), version=4)
        outcome = await self._send("GET", f"/instances/{unknown}", api=api)
        assert outcome.status in (404, 503, None), "an unknown instance was found"
        if self.instances:
            large = {"name": "x" * self._settings.max_body_bytes}
            outcome = await self._send("POST", f"/instances/{self.instances[-1]}/events", large, api=api)
            assert outcome.status in (413, 503, None), "a body that is too large was taken"

    async def _watch(self) -> None:
        """Run a workflow, while others look at its list again and again."""
        flow, api = self._rng.choice(self.flows), self._rng.choice(self._apis)
        running = asyncio.create_task(self.run_flow(flow, wait=False))

        async def look() -> None:
            for _ in range(MAX_LOOKS):
                is_last = running.done()
                outcome = await self._read(f"/instances?workflowID={flow.id}", api)
                if outcome is not None:
                    self._answers.instances(outcome.body["data"], outcome.promised, flow.id, running=False)
                if is_last:
                    return
                await asyncio.sleep(self._rng.uniform(0.0, 0.01))

        await asyncio.gather(running, look(), look())

    async def _list(self, path: str, query: str, api: SimulatedApi) -> tuple[list[Any], Promised] | None:
        """A whole list: in one piece in v1, by pages in v2; with what was promised at its beginning."""
        if self._rng.random() < 0.5:
            outcome = await self._read(f"{path}?{query}", api)
            return None if outcome is None else (outcome.body["data"], outcome.promised)
        size = self._rng.choice((1, 2, 15))
        outcome = await self._read(f"/v2{path}?{query}&pageSize={size}", api)
        if outcome is None:
            return None
        promised, items = outcome.promised, []
        while True:
            page = outcome.body["cursor"]
            items += page["data"]
            if not page["hasMore"]:
                return items, promised
            outcome = await self._read(f"/v2{path}?cursor={page['next']}", self._rng.choice(self._apis))
            if outcome is None:
                return None

    # Triggers

    async def _use_triggers(self) -> None:
        chance, api = self._rng.random(), self._rng.choice(self._apis)
        if not self._triggers or chance < 0.3:
            await self._create_some_trigger()
        elif chance < 0.5:
            await self._delete_trigger(self._rng.choice(self._triggers))
        elif chance < 0.7:
            await self._read_occurrences(self._rng.choice(self._triggers), api)
        else:
            listed = await self._list("/triggers", "", api)
            if listed is not None:
                self._answers.triggers(*listed)

    async def _read_occurrences(self, trigger: str, api: SimulatedApi) -> None:
        listed = await self._list(f"/triggers/{trigger}/occurrences", "", api)
        if listed is not None:
            self._answers.occurrences(trigger, *listed)
            self.met["an occurrence was shown"] += len(listed[0])

    async def _create_some_trigger(self) -> None:
        """For a workflow that moves no money: a message that comes twice has one mark, and may fire twice."""
        harmless = [flow for flow in self.flows if not any("send" in stage for stage in flow.stages)]
        if harmless:
            await self.create_trigger(self._rng.choice(harmless))
        else:
            await self.create_flow(stages=[{"noop": {}}])

    async def create_trigger(self, flow: Flow, sent: Sent | None = None) -> None:
        """Create a trigger."""
        sent = sent or self._new()

        def check(sent: Sent, mark: str, outcome: Outcome) -> None:
            known, id = self._answers.known, self._id("trigger", "", sent.key)
            if outcome.status == 404:
                assert flow.deleted, "a workflow that exists was not found"
                return
            if outcome.status == 400:
                assert id is not None, "a trigger was refused"
                assert known.triggers[id].created.name != mark, "a repeated trigger was refused"
                return
            assert outcome.status == 201, f"a trigger was answered {outcome.status}"
            shown = outcome.body["data"]
            assert id in (None, shown["id"]), "the key was given another trigger"
            assert shown["name"] == mark, "another request's trigger was answered"
            if known.triggers[shown["id"]].deleted_at is None:
                self._answers.trigger(shown, outcome.promised)
            sent.acknowledged += 1
            if shown["id"] not in self._triggers:
                self._triggers.append(shown["id"])

        def body(mark: str) -> Any:
            return {"name": mark, "event": "L", "workflowID": flow.id, "vars": {"who": '"ann"'}}

        await self._make(sent, "POST", lambda: self._rng.choice(("/triggers", "/v2/triggers")), body, check)
        if sent.key is not None:
            self._keyed.append(lambda: self.create_trigger(flow, self._again(sent)))

    async def _delete_trigger(self, id: str) -> None:
        for _ in range(TRIES):
            outcome = await self._send("DELETE", self._rng.choice(("", "/v2")) + f"/triggers/{id}")
            if outcome.status in (204, 404):
                assert self._answers.known.triggers[id].deleted_at, "a trigger was not deleted"
                self._answers.promised.deleted_triggers.add(id)
                return
            assert outcome.status in (None, 503), f"a deletion was answered {outcome.status}"
            await asyncio.sleep(self._rng.uniform(0.1, 2.0))

    def _id(self, operation: str, path: str, key: str | None) -> str | None:
        return None if key is None else str(id_for_key(operation, path, key))

    # The end

    async def sweep(self) -> None:
        """When all is quiet: every replica shows everything as the log has it.

        Raises:
            AssertionError: one does not.
        """
        self._answers.known.read()
        for id, known in self._answers.known.instances.items():
            if id in self._answers.promised.instances:
                self._answers.promise_instance(id, len(known.moments) - 1)
        triggers = self._answers.known.triggers  # also of those who append commands themselves
        for id, trigger in triggers.items():
            self._answers.promised.occurrences[id] = len(trigger.occurrences)
        for api in self._apis:
            for ids in batched(dict.fromkeys(self.instances), AT_ONCE):
                await asyncio.gather(*(self.get(id, api) for id in ids))
            await self.read_lists(api)
            for id in triggers:
                await self._read_occurrences(id, api)

    def check(self) -> None:
        """What was acknowledged was done, once; and what was not, at most once for each try.

        Raises:
            AssertionError: it was not.
        """
        known = self._answers.known
        received: Counter[str] = Counter()
        for instance in known.instances.values():
            received.update(instance.marks)
        for mark, count in received.items():
            assert count == 1, f"event {mark} was received {count} times"
        for mark, ids in known.started.items():
            assert len(ids) == 1, f"run {mark} has started {len(ids)} instances"


def batched(ids: Iterable[str], size: int) -> Iterator[list[str]]:
    """Ids, some at a time."""
    every = list(ids)
    return (every[start : start + size] for start in range(0, len(every), size))
