"""Runs mutations: a copy of the sources for each, and a process that runs the simulation there."""

import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutations.finders import Finders
from tests.mutations.mutation import Mutation


class Broken(Exception):
    """The process that runs seeds does not start, or has ended by itself: that tells nothing about the simulation."""


ROOT: Final = Path(__file__).parents[2]

COPIED: Final = ("api", "deploy", "engine", "projections", "schemas")
"""Folders of the sources. The tests are copied without those that the simulation does not need."""

SILENT_SECONDS: Final = 1800.0
"""After which a process that tells nothing any more is ended. It stops a seed by itself that takes too much time of a
core (`tests.simulation.running`), which on a busy machine is much later."""


@dataclass(frozen=True)
class Result:
    """What became of a mutation.

    Attributes:
        mutation: which one.
        seed: the seed that failed; None if none did.
        error: how it failed, in one line.
        seconds: how long it took.
    """

    mutation: Mutation
    seed: int | None
    error: str
    seconds: float


async def run_all(mutations: Sequence[Mutation], seeds: int, jobs: int, finders: Finders) -> AsyncIterator[Result]:
    """Run mutations, several at a time, and yield each result as it comes.

    Args:
        mutations: which.
        seeds: how many seeds each is given, from 1.
        jobs: how many processes at a time.
        finders: which seeds come first.

    Raises:
        Broken: one can't be run.
    """
    slots = asyncio.Semaphore(jobs)

    async def run(mutation: Mutation) -> Result:
        async with slots:
            return await run_one(mutation, finders.order(mutation.name, seeds))

    for task in asyncio.as_completed([asyncio.create_task(run(mutation)) for mutation in mutations]):
        yield await task


async def run_one(mutation: Mutation, seeds: Sequence[int]) -> Result:
    """Run the simulation on a copy with the mutation, one of these seeds after the other, until one fails.

    Raises:
        Broken: it can't be run there.
    """
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copy = Path(folder)
        await asyncio.to_thread(_copy, mutation, copy)
        seed, error = await _run_seeds(copy, seeds)
    return Result(mutation, seed, error, time.monotonic() - begin)


async def fails_anyway(seed: int) -> str:
    """How a seed fails without any mutation; nothing if it does not."""
    _, error = await _run_seeds(ROOT, [seed])
    return error


def _copy(mutation: Mutation, root: Path) -> None:
    ignored = shutil.ignore_patterns(
        "integration", "performance", "chaos", "browser", "unit", "contract", "expressions"
    )
    for name in COPIED:
        shutil.copytree(ROOT / name, root / name)
    shutil.copytree(ROOT / "tests", root / "tests", ignore=ignored)
    (root / mutation.path).write_text(mutation.mutated(ROOT))


async def _run_seeds(root: Path, seeds: Sequence[int]) -> tuple[int | None, str]:
    """The first seed that fails, and how."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.mutations.trial", *map(str, seeds)),
        cwd=root,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    complaints = asyncio.create_task(process.stderr.read())
    done, ended = 0, False
    try:
        while done < len(seeds):
            async with asyncio.timeout(SILENT_SECONDS):
                line = await process.stdout.readline()
            said = json.loads(line) if line else {}
            ended = not said or "error" in said
            if "error" in said:
                return said["seed"], said["error"]
            if ended:
                break
            done += 1
    except TimeoutError:
        return seeds[done], f"stopped: nothing was heard of the seed for {SILENT_SECONDS:.0f} s"
    finally:
        if not ended:
            process.kill()
        await process.wait()
        text = (await complaints).decode(errors="replace")
    if done < len(seeds):
        seed = seeds[done]
        raise Broken(f"{root}, seed {seed}: {text.strip().splitlines()[-1] if text.strip() else process.returncode}")
    return None, ""
