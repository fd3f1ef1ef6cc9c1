"""An event loop in virtual time, in which processes live: when nothing is ready, time jumps to the next timer.

A *life* is one run of a process, from its start to its end. It is a context: what runs in it, and all that is scheduled
from there, belongs to it (see `contextvars`). So the loop can do to a process what an operating system does:

- `kill`: nothing of it runs any more. No `finally`, no cancellation: what was in flight is lost.
- `stop` and `go_on`: meanwhile nothing of it runs; then everything does that has become due, in order. Others may have
  taken its place in between, and it does not know.

What must go on without the process is scheduled in a context of its own: requests on their way, timers of the cluster.
"""

import asyncio
import contextlib
import functools
import heapq
import itertools
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from contextvars import Context, ContextVar, copy_context
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, Literal, ParamSpec, TypeVar, TypeVarTuple, Unpack
from unittest.mock import patch

import anyio._backends._asyncio  # noqa: F401 - loaded first by a stream, it would keep that simulation's `get_running_loop`

T = TypeVar("T")
W = TypeVar("W")
C = TypeVar("C")
P = ParamSpec("P")
Ts = TypeVarTuple("Ts")
START = datetime(2026, 3, 1, 10, tzinfo=UTC)

MIN_SWEPT: Final = 200
"""From how many canceled timers, or tasks that have ended, on they are swept out, if they are the greater part."""
ENDING_SECONDS: Final = 300.0
"""How long what is left may take to end when the simulation is over, in virtual time."""


class Deadlock(AssertionError):
    """Every task waits and no timer is set: nothing could ever happen again."""


class Life:
    """One run of a process.

    Args:
        name: of the process.
    """

    def __init__(self, name: str):
        self.name = name
        self.state: Literal["running", "stopped", "killed"] = "running"
        self.context = copy_context()
        """In which the process runs."""
        self.context.run(_LIFE.set, self)
        self._held: list[Step] = []
        self._tasks: list[asyncio.Task[Any]] = []
        self._swept = MIN_SWEPT

    def spawn(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run something in this process."""
        return asyncio.get_running_loop().create_task(work, context=self.context.copy())

    def kill(self) -> None:
        """Let nothing of it run any more. A step that is under way comes to its next await."""
        self.state = "killed"

    def stop(self) -> None:
        """Hold everything until `go_on`."""
        if self.state == "running":
            self.state = "stopped"

    def go_on(self) -> None:
        """Run what was held, and all that comes later."""
        if self.state == "stopped":
            self.state = "running"
            held, self._held = self._held, []
            if held:
                held[0].loop.again(held)

    def hold(self, step: "Step") -> None:
        """Keep what has become due while it does not run."""
        self._held.append(step)

    def keep(self, task: "asyncio.Task[Any]") -> None:
        """Keep a task until it is over. Python would close one that nobody waits for, and so run its `finally`."""
        self._tasks.append(task)
        if len(self._tasks) > self._swept:
            self._tasks = [task for task in self._tasks if not task.done()]
            self._swept = max(2 * len(self._tasks), MIN_SWEPT)

    def revive(self) -> None:
        """Let it come to its end, when the simulation is over."""
        self.state = "stopped"
        self.go_on()


_LIFE: Final[ContextVar[Life | None]] = ContextVar("life", default=None)


def current_life() -> Life | None:
    """The life in which this runs; None outside of all processes."""
    return _LIFE.get()


class Step(asyncio.TimerHandle):
    """What is to be called, at once or at its time. Unlike asyncio's own it remembers nothing for debugging.

    Half of what a simulation does is to make these, and to cancel them.
    """

    __slots__ = ()
    _callback: Callable[..., object] | None
    _context: Context
    _scheduled: bool
    """Whether it waits for its time."""

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: "VirtualLoop",
        context: Context | None,
        when: float | None = None,
    ):
        self._callback, self._args = callback, args
        self._loop, self._when, self._scheduled = loop, when, when is not None
        self._context = copy_context() if context is None else context
        self._cancelled = False

    def cancel(self) -> None:
        if not self._cancelled:
            self._cancelled = True
            self._callback, self._args = None, ()
            if self._scheduled:
                self._loop.timer_canceled()

    def when(self) -> float:
        assert self._when is not None
        return self._when

    @property
    def loop(self) -> "VirtualLoop":
        """In which it is called."""
        return self._loop

    @property
    def life(self) -> Life | None:
        """To which it belongs."""
        return self._context.get(_LIFE)


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop that owns its time, and knows to which life each of its steps belongs.

    What is due at one time runs in the order in which it was asked for.
    """

    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        vars(self)["get_debug"] = bool  # asked for each future; this answers without a frame of its own
        self._now = 0.0
        self._due: list[Step] = []
        self._timers: list[tuple[float, int, Step]] = []
        self._numbers = itertools.count()
        self._canceled = 0
        self._lives: dict[Life, None] = {}
        self._outside: dict[asyncio.Task[Any], None] = {}
        self._ends = False
        self.steps = 0
        """How many steps were run."""

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        step = Step(callback, args, self, context)
        self._due.append(step)
        return step

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        when = self._now + delay
        step = Step(callback, args, self, context, when)
        heapq.heappush(self._timers, (when, next(self._numbers), step))
        return step

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        step = Step(callback, args, self, context, when)
        heapq.heappush(self._timers, (when, next(self._numbers), step))
        return step

    def create_task(self, coro: Any, *, name: object = None, context: Context | None = None) -> "asyncio.Task[Any]":
        task = _Task(next(self._numbers), coro, loop=self, name=name, context=context)
        life = _LIFE.get() if context is None else context.get(_LIFE)
        if life is not None:
            self._lives[life] = None
            life.keep(task)
        return task

    def outside(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Run something that belongs to no process."""
        task = self.create_task(work, context=Context())
        self._outside[task] = None
        task.add_done_callback(self._outside.pop, context=Context())
        return task

    def again(self, steps: list[Step]) -> None:
        """Run what was held."""
        self._due += steps

    def run_in_executor(self, executor: Any, func: Callable[[Unpack[Ts]], T], *args: *Ts) -> "asyncio.Future[T]":
        """Nothing takes virtual time, so there is no need for a thread."""
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What is found out after the end, or about a task that nobody can look at, is of no interest."""
        task = context.get("task", context.get("future"))
        if not self._ends and (task is None or (isinstance(task, _Task) and not task.is_lost)):
            super().call_exception_handler(context)

    def timer_canceled(self) -> None:
        """A step is canceled whose time has not come."""
        self._canceled += 1
        if self._canceled > MIN_SWEPT and self._canceled > len(self._timers) // 2:
            self._timers = [timer for timer in self._timers if not timer[2].cancelled()]
            heapq.heapify(self._timers)
            self._canceled = 0

    def _run_once(self) -> None:
        """One round of the loop after the other, until it is to stop: all that is due, then time goes on."""
        while not self._stopping:
            if not self._due:
                self._go_on_to_next()
            timers, now = self._timers, self._now
            while timers and timers[0][0] <= now:
                step = heapq.heappop(timers)[2]
                step._scheduled = False
                self._due.append(step)
            due, self._due = self._due, []
            for step in due:
                self._run(step)

    def _go_on_to_next(self) -> None:
        """Let the time go on to the next timer."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
            self._canceled -= 1
        if not self._timers:
            raise Deadlock
        self._now = max(self._now, self._timers[0][0])

    def _run(self, step: Step) -> None:
        """Run a step. One that fails ends the simulation."""
        callback = step._callback
        if callback is None:
            return
        life = step._context.get(_LIFE)
        if life is not None and life.state != "running":
            life.hold(step)
            return
        self.steps += 1
        try:
            step._context.run(callback, *step._args)
        except Exception:
            if not self._ends:
                raise

    def end(self) -> None:
        """Cancel everything, of the processes too: what they have in flight must not be closed by Python later on."""
        self._ends = True
        for life in self._lives:
            life.revive()
        tasks = sorted(asyncio.all_tasks(self), key=hash)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(Deadlock):
            if tasks:
                self.run_until_complete(asyncio.wait(tasks, timeout=ENDING_SECONDS))
            self.run_until_complete(self.shutdown_asyncgens())
        self.close()

    def close(self) -> None:
        self._due.clear()
        self._timers.clear()
        super().close()


class _Task(asyncio.Task[Any]):
    """A task that is at the same place of a set in every process."""

    def __init__(self, number: int, coro: Any, **options: Any):
        self._number = number
        context = options["context"]
        self.life = _LIFE.get() if context is None else context.get(_LIFE)
        super().__init__(coro, **options)

    @property
    def is_lost(self) -> bool:
        """Whether nobody can look at what becomes of it."""
        return self.life is None or self.life.state == "killed"

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


def outside(work: Coroutine[Any, Any, T]) -> "asyncio.Future[T]":
    """Run something that belongs to no process; its result. Who does not wait for it any more may cancel that."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    result: asyncio.Future[T] = loop.create_future()
    loop.outside(work).add_done_callback(partial(_hand_over, result), context=Context())
    return result


def _hand_over(result: "asyncio.Future[T]", done: "asyncio.Future[T]") -> None:
    error = None if done.cancelled() else done.exception()
    if isinstance(error, AssertionError):  # what nobody may survive
        raise error
    if result.done() or done.cancelled():
        return
    if error is None:
        result.set_result(done.result())
    else:
        result.set_exception(error)


class VirtualClock:
    """The wall clock of the simulation, in step with the loop, but it may be set."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)
        self._loop: asyncio.AbstractEventLoop | None = None

    def now(self) -> datetime:
        return START + timedelta(seconds=self.monotonic()) + self.ahead

    def monotonic(self) -> float:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop.time()


def simulate(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time."""
    loop = VirtualLoop()
    # asyncio's own asks the system each time whether this process was forked: about a tenth of all that a seed costs.
    with patch("asyncio.get_running_loop", lambda: loop), patch("asyncio.events.get_running_loop", lambda: loop):
        try:
            return loop.run_until_complete(main)
        finally:
            loop.end()


def in_world(
    make: Callable[[], AbstractAsyncContextManager[W]],
) -> Callable[[Callable[[W], Coroutine[Any, Any, None]]], Callable[[], None]]:
    """A decorator of tests that run in virtual time.

    Args:
        make: makes what a test is given, there.
    """

    def simulated(test: Callable[[W], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        async def main() -> None:
            async with make() as world:
                await test(world)

        def wrapped() -> None:
            simulate(main())

        # Not all that `functools.wraps` copies: pytest would look for fixtures.
        wrapped.__name__, wrapped.__doc__ = test.__name__, test.__doc__
        return wrapped

    return simulated


def in_virtual_time(tests: type[C]) -> type[C]:
    """A decorator of a class of tests, its own and inherited ones: those that are coroutines run in virtual time.

    Its fixtures must be plain functions, for the tests' loop is not there before them.
    """
    for name in dir(tests):
        test = getattr(tests, name)
        if name.startswith("test_") and asyncio.iscoroutinefunction(test):
            setattr(tests, name, _simulated(test))
    return tests


def _simulated(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    @functools.wraps(test)  # so pytest finds the fixtures and marks of the test
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        simulate(test(*args, **kwargs))

    return wrapped
