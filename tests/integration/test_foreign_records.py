"""Records that somebody else writes to our topics, on a real Kafka and with real processes."""

from uuid import UUID

from schemas.kafka.unpacking import MAX_UNPACKED_BYTES
from schemas.topics import (
    COMMANDS,
    COMMANDS_DEAD,
    DEFINITIONS,
    EVENTS,
    EVENTS_PUBLISHED,
    PUBLIC,
    partition_of,
    topic_name,
)
from tests.integration.event_log_reader import admitted_events, records
from tests.integration.installation import PARTITIONS, Installation
from tests.integration.waiting import eventually
from tests.raw_records import RawRecord, put_raw

NOT_TEXT = (b"\xff\xfe", b"1")
"""A header whose name is not UTF-8."""
ZSTD = 4
ID = str(UUID(int=1)).encode()
ALL_LINES = 1_000_000

FOREIGN = [
    RawRecord(b"k", b"v", [NOT_TEXT]),
    RawRecord(b"k", b"{}", [(b"type", None), (b"version", None), (b"schema", None), (b"epoch", None)]),
    RawRecord(ID, b'{"at":1}', [(b"type", b"CommandSkipped"), (b"cause", b"9" * 5000), (b"epoch", b"1_0")]),
    RawRecord(b"not-a-uuid", b'{"name":"","event":"X","workflow_id":"w"}', [(b"type", b"CreateTrigger"), NOT_TEXT]),
    RawRecord(b"not-a-uuid", b'{"kind":"trigger","event":"X","workflow_id":"w"}', [(b"version", b"1")]),
    RawRecord(b"0", b'{"next_offset":"x"}'),
]


async def test_they_stop_nothing_and_every_command_is_answered(
    installation: Installation, kafka_bootstrap_servers: str
) -> None:
    client = installation.client()
    processes = (installation.api, installation.engine, installation.projections)
    said_before = [process.log(ALL_LINES) for process in processes]
    workflow = await client.workflow({"noop": {}})
    buried = sum(map(len, (await records(installation.settings, COMMANDS_DEAD)).values()))
    places: list[tuple[int, int]] = []
    for partition in range(PARTITIONS):
        for topic in (COMMANDS, EVENTS, EVENTS_PUBLISHED, DEFINITIONS, PUBLIC):
            if topic != DEFINITIONS or partition == 0:
                name = topic_name(installation.settings, topic)
                base = await put_raw(kafka_bootstrap_servers, name, FOREIGN, partition)
                if topic == COMMANDS:
                    places += [(partition, base + number) for number in range(len(FOREIGN))]
        large = RawRecord(b"\xff" * 3_000_000, b"{")
        name = topic_name(installation.settings, COMMANDS)
        places.append((partition, await put_raw(kafka_bootstrap_servers, name, [large], partition)))
        blown_up = [RawRecord(ID, bytes(MAX_UNPACKED_BYTES // 2), [(b"type", b"SubmitRun")])] * 3
        base = await put_raw(kafka_bootstrap_servers, name, blown_up, partition, packing=ZSTD)
        places.append((partition, base + len(blown_up) - 1))  # decided, or their expiry would look like a loss

    reached: set[int] = set()
    while len(reached) < PARTITIONS:
        instance = await client.run(workflow, wait=True)
        assert instance["terminated"]
        reached.add(partition_of(instance["id"].encode(), PARTITIONS))

    async def left() -> int:
        found = await admitted_events(installation.settings)
        decided = {(p, recorded.cause) for p, some in found.items() for recorded in some}
        return len(set(places) - decided)

    await eventually(left, lambda count: count == 0)
    dead = [record for some in (await records(installation.settings, COMMANDS_DEAD)).values() for record in some]
    assert len(dead) - buried == len(places)
    assert max(len(record.key or b"") for record in dead) == 1024
    for process, before in zip(processes, said_before, strict=True):
        await eventually(process.ready)
        assert "Traceback" not in process.log(ALL_LINES).removeprefix(before)
