"""A cluster under fault, for a short time: one to two minutes (at length: `python -m tests.chaos`)."""

import os
import sys
from pathlib import Path

import pytest

from tests.chaos.campaign import Campaign
from tests.chaos.system import System

SEED = int(os.environ.get("CHAOS_SEED", "1"))
"""Decides whom faults hit and what clients do; set the variable to try another one."""
FAULTS = (
    "kill engine",
    "kill projections",
    "kafka to kafka: nothing passes",
    "kill engine",
    "api to kafka: no connection lasts",
    "add partition",
    "stop engine",
    "projections to postgres: nothing passes in one direction",
    "kill kafka",
    "terminate engine",
    "kill api",
    "engine to kafka: connections break again and again",
    "kill postgres",
)
OLD_INSTANCES = 300
"""So many wait since long ago, and so many are deleted meanwhile."""
MAX_SECONDS = 4.0
"""Longest that each of them lasts. Faults that outlast sessions and deadlines are left to the long runs."""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells who connects to whom")
async def test_nothing_that_was_acknowledged_is_lost_or_done_twice(tmp_path: Path) -> None:
    async with System(tmp_path, old_instances=OLD_INSTANCES) as system:
        campaign = Campaign(system, SEED, rate=4.0, max_seconds=MAX_SECONDS, money_waits=0.0)
        try:
            await campaign.prepare()
            await campaign.round(FAULTS, at_once=True, check=False)
            await campaign.finish()
        finally:
            await campaign.close()
    assert [finding for result in campaign.rounds for finding in result.findings] == []
    assert len(campaign.scene.marks) >= len(FAULTS) - 3, "most faults found somebody to hit"
    # A fifth of the stack's calls fails: nothing of this would mean that the run has tested nothing.
    met = campaign.met
    assert met["account to account: CreateTransaction CreateTransaction"], met
    assert met["money came after INSUFFICIENT_FUND"], met
    assert met["aborted in the first attempt"] + met["aborted while retrying"], met
