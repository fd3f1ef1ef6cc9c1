"""The faults, by name. Each begins, lasts and ends by itself; then everything runs again and nothing is cut."""

import asyncio
import contextlib
import itertools
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from tests.chaos.network import Cut, both_ways
from tests.chaos.parts import Broker, Part
from tests.chaos.system import ENGINES, System

LENGTHS: Final = (5.0, 10.0, 20.0, 35.0, 60.0)
"""Seconds that something lasts: shorter and longer than sessions (6 s), the deadlines of requests (8 s, 30 s) and those
of Kafka's clients (30 s, 40 s)."""
PAUSES: Final = (0.0, 3.0, 8.0)
"""Seconds until what was killed is started again: at once, within the session, and behind it."""
DELAYS: Final = (0.05, 0.3, 1.0)
PULSE_SECONDS: Final = 1.5
"""Between two resets of a link that keeps breaking."""
SPREAD_SECONDS: Final = 6.0
"""Between the beginnings of faults that are there at once."""
MORE_PARTITIONS: Final = "one more partition of messages"


@dataclass
class Mark:
    """A fault that has begun, times as monotonic seconds."""

    label: str
    parts: frozenset[str]
    """Names of what it has to do with."""
    affected: frozenset[int] | None
    """The partitions that it hits; None if it may be any."""
    began: float
    ended: float = math.inf


@dataclass
class Scene:
    """What a fault works on.

    Args:
        system: what fails.
        rng: decides who, how and how long.
        max_seconds: longest that anything lasts.
        say: tells whoever watches.
    """

    system: System
    rng: random.Random
    max_seconds: float = max(LENGTHS)
    say: Callable[[str], None] = lambda text: None
    marks: list[Mark] = field(default_factory=list)
    busy: set[str] = field(default_factory=set)
    """What a fault has its hands on."""

    def length(self) -> float:
        """How long the next thing lasts."""
        return min(self.rng.choice(LENGTHS), self.max_seconds)

    def pause(self) -> float:
        """How long what was killed stays away."""
        return min(self.rng.choice(PAUSES), self.max_seconds)

    def pick(self, *kinds: str) -> Part | None:
        """Something that runs and no other fault has its hands on; of brokers the controller, or one that leads."""
        free = [part for part in self.system.running(*kinds) if part.name not in self.busy]
        if not free:
            self.say(f"(nothing to hit: other faults have their hands on every {' and '.join(kinds)})")
            return None
        chosen = self.rng.choice(free)
        if "kafka" in kinds and self.rng.random() < 0.5:
            controller = f"kafka-{self.system.cluster.controller()}"
            return next((part for part in free if part.name == controller), chosen)
        return chosen

    @contextlib.asynccontextmanager
    async def hit(self, label: str, *parts: Part, beside: Sequence[Part] = ()) -> AsyncIterator[None]:
        """Note that something fails inside the block.

        Args:
            label: what, in words.
            parts: what it hits.
            beside: what these have to do with.
        """
        affected = await self._affected(parts)
        controller = f"kafka-{self.system.cluster.controller()}"
        leads = " (controller)" if controller in [part.name for part in parts] else ""
        names = {part.name for part in parts}
        involved = frozenset(names | {part.name for part in beside})
        mark = Mark(f"{label}{leads}", involved, affected, time.monotonic())
        self.marks.append(mark)
        self.busy |= names
        self.say(mark.label)
        try:
            yield
        finally:
            mark.ended = time.monotonic()
            self.busy -= names

    async def _affected(self, parts: Sequence[Part]) -> frozenset[int] | None:
        """The partitions that engines work on and brokers lead."""
        if not parts or {part.kind for part in parts} - {"engine", "kafka"}:
            return None
        found: set[int] = set()
        leads = await self.system.led() if any(isinstance(part, Broker) for part in parts) else {}
        for part in parts:
            if isinstance(part, Broker):
                found |= leads.get(int(part.name.partition("-")[2]), set())
            else:
                found |= await self.system.owned(part.name)
        return frozenset(found)


async def begin(scene: Scene, name: str) -> None:
    """A fault, from its beginning to its end."""
    await FAULTS[name](scene)


Fault: TypeAlias = Callable[[Scene], Awaitable[None]]


async def kill(scene: Scene, *kinds: str) -> None:
    """SIGKILL, and a start after a while."""
    if (part := scene.pick(*kinds)) is not None:
        async with scene.hit(f"SIGKILL {part.name}", part):
            await part.kill()
            await asyncio.sleep(scene.pause())
            await part.start()


async def terminate(scene: Scene, *kinds: str) -> None:
    """SIGTERM, and a start."""
    if (part := scene.pick(*kinds)) is not None:
        async with scene.hit(f"SIGTERM {part.name}", part):
            await part.terminate()
            await part.start()


async def stop(scene: Scene, *kinds: str) -> None:
    """SIGSTOP, and SIGCONT after a while."""
    if (part := scene.pick(*kinds)) is not None:
        seconds = scene.length()
        async with scene.hit(f"SIGSTOP {part.name} for {seconds:.0f} s", part):
            part.stop()
            await asyncio.sleep(seconds)
            part.carry_on()


async def _kill_at_once(
    scene: Scene, label: str, parts: Sequence[Part], meanwhile: Callable[[], Awaitable[None]]
) -> None:
    """All of these are killed at once, and start together after something else."""
    async with scene.hit(label, *parts):
        await asyncio.gather(*(part.kill() for part in parts))
        await meanwhile()
        await asyncio.gather(*(part.start() for part in parts))


async def all_brokers(scene: Scene) -> None:
    """All brokers are killed at once."""
    brokers = scene.system.of("kafka")
    await _kill_at_once(scene, "SIGKILL all brokers", brokers, lambda: asyncio.sleep(scene.length()))


async def power_cut(scene: Scene) -> None:
    """All engines, projections and APIs, and Postgres, are killed at once."""
    parts = [part for part in scene.system.of("engine", "projections", "api", "postgres") if part.wanted]
    label = "SIGKILL Postgres and all processes of ours"
    await _kill_at_once(scene, label, parts, lambda: asyncio.sleep(scene.pause()))


async def lost_snapshots(scene: Scene) -> None:
    """All engines are killed and find no snapshots: they restore from the whole log."""
    engines = scene.system.running("engine")
    await _kill_at_once(scene, "engines start without snapshots", engines, scene.system.lose_snapshots)


async def rolling_restart(scene: Scene) -> None:
    """Everything is restarted in order, one after another, as at an upgrade."""
    order = ("kafka", "postgres", "projections", "engine", "api")
    for part in itertools.chain.from_iterable(scene.system.running(kind) for kind in order):
        async with scene.hit(f"SIGTERM {part.name}, one of all", part):
            await part.terminate()
            await part.start(wait=True)
        await asyncio.sleep(min(4.0, scene.max_seconds))


async def engines_come_and_go(scene: Scene) -> None:
    """One engine, then three, then one, then two."""
    first, second, third = (scene.system.parts[f"engine-{number}"] for number in range(1, ENGINES + 1))
    pause = min(12.0, scene.max_seconds)
    async with scene.hit("one engine: SIGTERM engine-2", second):
        await second.terminate()
        await asyncio.sleep(pause)
    async with scene.hit("three engines: engine-2 and engine-3 start"):
        await asyncio.gather(second.start(wait=True), third.start(wait=True))
        await asyncio.sleep(pause)
    async with scene.hit("one engine: SIGTERM engine-1 and engine-3", first, third):
        await asyncio.gather(first.terminate(), third.terminate())
        await asyncio.sleep(pause)
        await first.start()


async def cut(scene: Scene, one_kind: str, other_kind: str, way: str) -> None:
    """A link fails between one of a kind and one of another; of brokers it may be all."""
    one = scene.pick(one_kind)
    others = [part for part in scene.system.running(other_kind) if part is not one]
    if one is None or not others:
        return
    if one_kind == other_kind or scene.rng.random() < 0.5:
        others = [scene.rng.choice(others)]
    cuts = WAYS[way](scene.rng, one.name, [part.name for part in others])
    seconds, names = scene.length(), " and ".join(part.name for part in others)
    network = scene.system.network
    hit = (one, *others) if one_kind == other_kind else (one,)
    async with scene.hit(f"{one.name} to {names}: {way}, for {seconds:.0f} s", *hit, beside=others):
        if way == BREAKING:
            await _break(scene, cuts, seconds)
        else:
            await asyncio.to_thread(network.cut, *cuts)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(network.mend, *cuts)


async def _break(scene: Scene, cuts: Sequence[Cut], seconds: float) -> None:
    """Connections end again and again, and new ones work for a moment."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await asyncio.to_thread(scene.system.network.cut, *cuts)
        await asyncio.to_thread(scene.system.network.mend, *cuts)
        await asyncio.sleep(PULSE_SECONDS * scene.rng.uniform(0.2, 1.8))


Links: TypeAlias = Callable[[random.Random, str, Sequence[str]], list[Cut]]
"""From a process and the ones that it is cut from."""


def _held(rng: random.Random, one: str, others: Sequence[str]) -> list[Cut]:
    return [cut for other in others for cut in both_ways(one, other)]


def _held_one_way(rng: random.Random, one: str, others: Sequence[str]) -> list[Cut]:
    outwards = rng.random() < 0.5
    return [Cut(one, other) if outwards else Cut(other, one) for other in others]


def _late(rng: random.Random, one: str, others: Sequence[str]) -> list[Cut]:
    seconds = rng.choice(DELAYS)
    return [cut for other in others for cut in both_ways(one, other, "delay", seconds)]


def _reset(rng: random.Random, one: str, others: Sequence[str]) -> list[Cut]:
    return [Cut(one, other, "reset") for other in others]


BREAKING: Final = "connections break again and again"
WAYS: Final[dict[str, Links]] = {
    "nothing passes": _held,
    "nothing passes in one direction": _held_one_way,
    "all is late": _late,
    "no connection lasts": _reset,
    BREAKING: _reset,
}


async def isolate(scene: Scene) -> None:
    """A broker is cut from everybody."""
    if (broker := scene.pick("kafka")) is None:
        return
    others = [part for part in scene.system.of("kafka", "engine", "projections", "api") if part is not broker]
    cuts = [cut for other in others for cut in both_ways(broker.name, other.name)]
    seconds = scene.length()
    async with scene.hit(f"{broker.name} is cut from everybody for {seconds:.0f} s", broker):
        await asyncio.to_thread(scene.system.network.cut, *cuts)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(scene.system.network.mend, *cuts)


async def add_partition(scene: Scene) -> None:
    """The topic of another service, which engines listen to, gets one more partition."""
    async with scene.hit(MORE_PARTITIONS):
        await scene.system.add_partition()


async def fill_disk(scene: Scene) -> None:
    """The disk of a broker is full for a while. It ends by itself then, and is started again."""
    disk, broker = scene.system.disk, scene.system.parts["kafka-1"]
    if disk is None or broker.name in scene.busy:
        return
    seconds = scene.length()
    async with scene.hit(f"the disk of {broker.name} is full for {seconds:.0f} s", broker):
        broker.wanted = False  # it may end by itself
        await asyncio.to_thread(disk.fill)
        await asyncio.sleep(seconds)
        await broker.kill()
        await asyncio.to_thread(disk.free)
        await broker.start()


async def several(scene: Scene) -> None:
    """Three faults, each begun while those before may still be there."""
    simple = [name for name in FAULTS if name not in ALONE]
    chosen = scene.rng.sample(simple, 3)
    async with asyncio.TaskGroup() as group:
        for name in chosen:
            group.create_task(begin(scene, name))
            await asyncio.sleep(min(SPREAD_SECONDS, scene.max_seconds) * scene.rng.random())


def _for(fault: Callable[..., Awaitable[None]], *about: str) -> Fault:
    return lambda scene: fault(scene, *about)


PARTS: Final = ("engine", "projections", "api", "kafka", "postgres")
LINKS: Final = (
    ("engine", "kafka"),
    ("projections", "kafka"),
    ("api", "kafka"),
    ("kafka", "kafka"),
    ("projections", "postgres"),
    ("api", "postgres"),
    ("engine", "sandbox"),
)
FAULTS: Final[dict[str, Fault]] = {
    **{f"kill {kind}": _for(kill, kind) for kind in PARTS},
    **{f"terminate {kind}": _for(terminate, kind) for kind in PARTS},
    **{f"stop {kind}": _for(stop, kind) for kind in (*PARTS, "sandbox")},
    **{f"{one} to {other}: {way}": _for(cut, one, other, way) for one, other in LINKS for way in WAYS},
    "isolate broker": isolate,
    "all brokers": all_brokers,
    "power cut": power_cut,
    "lost snapshots": lost_snapshots,
    "rolling restart": rolling_restart,
    "engines come and go": engines_come_and_go,
    "add partition": add_partition,
    "fill disk": fill_disk,
    "several": several,
}
"""By name."""
ALONE: Final = (
    "all brokers",
    "power cut",
    "lost snapshots",
    "rolling restart",
    "engines come and go",
    "fill disk",
    "several",
)
"""Those that take hold of so much that others beside them would mean nothing."""
