"""What tests of topics that were cut share: what processes show of it, and `orchestration topics repair`."""

import asyncio
from typing import Final

from click.testing import CliRunner, Result

from deploy.cli import main
from schemas.settings import environment_of
from schemas.topics import EVENTS
from tests.integration.event_log_reader import records
from tests.integration.installation import PARTITIONS, Installation, Process
from tests.integration.waiting import eventually

STANDING_STILL_SECONDS: Final = 90.0
"""An engine looks again after at most 30 s."""


async def settled(installation: Installation) -> None:
    """Wait until all that has happened is in snapshots and in the read model."""

    async def behind() -> float:
        positions = installation.tables.positions()
        ends = {p: some[-1].offset + 1 for p, some in (await records(installation.settings, EVENTS)).items() if some}
        return float(sum(end - positions[partition][0] for partition, end in ends.items()))

    async def age() -> float:
        sample = "orchestration_engine_snapshot_age_seconds"
        ages = [await installation.engine.metric(f'{sample}{{partition="{n}"}}') for n in range(PARTITIONS)]
        return max(ages)

    await eventually(behind, lambda left: left == 0)
    await eventually(age, lambda seconds: seconds == 0)


async def faults(process: Process) -> set[tuple[str, str]]:
    """Topic and reason of what stands still, as a process shows it."""
    found = set()
    for line in (await process.metrics()).splitlines():
        if line.startswith("orchestration_log_fault{"):
            labels = dict(part.split("=") for part in line.partition("{")[2].partition("}")[0].split(","))
            found.add((labels["topic"].strip('"'), labels["reason"].strip('"')))
    return found


async def until_faults(process: Process, *wanted: tuple[str, str]) -> None:
    """Wait until a process shows these faults, and no others."""
    await eventually(lambda: faults(process), lambda found: found == set(wanted), seconds=STANDING_STILL_SECONDS)


async def repair(installation: Installation, *arguments: str, status: int = 0) -> str:
    """What `orchestration topics repair` says, once Kafka answers: the command waits for it for two seconds."""
    environment = environment_of(installation.settings)

    async def run() -> Result:
        return await asyncio.to_thread(CliRunner(env=environment).invoke, main, ["topics", "repair", *arguments])

    done = await eventually(run, lambda done: "no broker answers" not in done.output)
    assert done.exit_code == status, done.output
    return done.output


async def repaired(installation: Installation) -> str:
    """Look, repair, look again; what was wrong."""
    before, again = "", await repair(installation, status=3)
    # A look changes nothing. What a start has begun, such as snapshots, may still move offsets.
    async with asyncio.timeout(STANDING_STILL_SECONDS):
        while again != before:
            before, again = again, await repair(installation, status=3)
    assert "would append" in before
    assert before.endswith("run it again with --yes to do this\n")
    assert (await repair(installation, "--yes")).endswith("repaired\n")
    after = await repair(installation)
    assert after.count(": ok (offsets") == PARTITIONS
    assert after.endswith("nothing is wrong\n")
    return before
