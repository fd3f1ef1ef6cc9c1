"""Money under kills, on a small scale: no transaction is lost or made twice (at length: `python -m tests.chaos`)."""

import os
from pathlib import Path

from tests.chaos.load import MIN_KILLS, Load
from tests.integration.installation import Installation

SEED = int(os.environ.get("MONEY_SEED", "1"))
"""Decides what is run and when the engine is killed; set the variable to try another one."""


async def test_money_is_neither_lost_nor_moved_twice(
    kafka_bootstrap_servers: str, database_url: str, tmp_path: Path
) -> None:
    async with Installation(kafka_bootstrap_servers, database_url, tmp_path, sandbox=True) as installation:
        load = Load(installation, instances=100, kill_seconds=1.5, seed=SEED)
        met = await load.run()
    assert load.kills >= MIN_KILLS - 1
    # A fifth of the calls fails: nothing of this would mean that the run has tested nothing.
    assert met["account to account: CreateTransaction CreateTransaction"]
    assert met["money came after INSUFFICIENT_FUND"]
    assert met["aborted in the first attempt"] + met["aborted while retrying"]
