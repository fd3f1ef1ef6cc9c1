"""Partitions that somebody adds to topics, under real processes: whatever is there stays where it is."""

import asyncio
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from schemas.settings import EngineSettings
from schemas.topics import COMMANDS, EVENTS, EVENTS_PUBLISHED, PUBLIC, SNAPSHOTS
from tests.integration.broker_faults import grow, make_again
from tests.integration.installation import PARTITIONS, Installation
from tests.integration.repairs import repaired, settled, until_faults
from tests.integration.waiting import eventually

WAITS: Final = {"name": "waits", "stages": [{"wait_event": {"event": "go"}}]}
KEYS: Final = [f"key-{number}" for number in range(8)]


async def test_instances_stay_where_they_are(kafka_bootstrap_servers: str, database_url: str, tmp_path: Path) -> None:
    engine = {"snapshot_seconds": 0.5}
    async with Installation(kafka_bootstrap_servers, database_url, tmp_path, engine=engine) as installation:
        client = installation.client()
        workflow = (await client.post("/v2/workflows", WAITS)).data["id"]

        async def run(key: str) -> str:
            path = f"/v2/workflows/{workflow}/instances"
            return str((await client.post(path, idempotency_key=key)).data["id"])

        before = [await run(key) for key in KEYS]
        await settled(installation)
        await grow(installation.settings, PARTITIONS + 2, COMMANDS, EVENTS, PUBLIC, SNAPSHOTS, EVENTS_PUBLISHED)
        await until_faults(installation.engine, (COMMANDS, "partitions"))
        await asyncio.gather(*(process.restart() for process in installation.processes))
        assert [await run(key) for key in KEYS] == before
        for id in before:
            await client.post(f"/v2/instances/{id}/events", {"name": "go"})

        async def states() -> set[str]:
            return {(await client.get(f"/v2/instances/{id}")).data["state"] for id in before}

        await eventually(states, lambda found: found == {"succeeded"})

        misled = installation.add_engine(engine_id="engine-2")
        assert isinstance(misled.settings, EngineSettings)
        misled.settings = replace(misled.settings, partitions=PARTITIONS + 1)
        await installation.engine.terminate()
        await misled.start()
        await until_faults(misled, (EVENTS, "partitions"), (COMMANDS, "partitions"))
        await misled.kill()

        await installation.api.terminate()
        await make_again(installation.settings, COMMANDS)
        await repaired(installation)
        await asyncio.gather(installation.engine.start(), installation.api.start())
        await until_faults(installation.engine)
        assert [await run(key) for key in KEYS] == before
