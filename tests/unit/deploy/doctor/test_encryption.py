"""What `orchestration doctor` says about keys."""

from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from deploy.doctor import encryption, examination
from deploy.doctor.findings import Finding
from schemas.encryption.keys import Keys
from schemas.encryption.vault import Vault
from schemas.fillers import filler
from schemas.kafka import NewTopic, Place
from schemas.kafka.memory import MemoryCluster, MemoryKafka
from schemas.records import NewRecord
from tests.unit.deploy.doctor.test_doctor import ENGINE, GIVEN, cluster

RECORD: Final = NewRecord(b"k", b"{}", [("type", b"SendEvent")], 0)
KEYS: Final = {"one": b"1" * 32, "two": b"2" * 32}


def written(*writers: str | None) -> MemoryCluster:
    """A partition with a record of each writer: sealed with a key of that id, or plain."""
    made = MemoryCluster()
    made.create(NewTopic("events", 2, 1))
    for writer in writers:
        record = RECORD if writer is None else Vault(Keys(KEYS, writer)).seal("events", 1, RECORD)
        made.append(Place("events", 1), [record])
    made.append(Place("events", 1), [filler(0)])
    return made


async def told(made: MemoryCluster, keys: Keys | None, *, required: bool = False, since_ms: int = 0) -> list[str]:
    kafka = MemoryKafka(made)
    async with kafka.reader() as reader:
        limits = await reader.limits([Place("events", 0), Place("events", 1)])
    ends = await encryption.look(kafka, limits, since_ms)
    return [finding.line() for finding in encryption.fits(keys, required, ends)]


async def test_all_is_well() -> None:
    assert await told(written(None, None), None) == ["ok       encryption: off"]
    both = Keys(KEYS, "two")
    assert await told(written("one", "two"), both, required=True) == [
        "ok       encryption: 2 keys read what is there, and two encrypts"
    ]
    assert await told(written(None), Keys(KEYS, None)) == [
        "ok       encryption: 2 keys read what is there, and none encrypts"
    ]


async def test_a_key_that_is_missing() -> None:
    for keys in (Keys({"two": KEYS["two"]}, "two"), Keys({"two": KEYS["two"], "one": b"x" * 32}, "two")):
        (line,) = await told(written("one", "two"), keys)
        assert line.startswith("wrong    encryption: records of events are encrypted with key one:")
        assert "ORCHESTRATION_ENCRYPTION_KEYS_FILE" in line
    assert await told(written("one", "two"), Keys({"two": KEYS["two"]}, "two", ["one"])) == [
        "ok       encryption: 1 keys read what is there, and two encrypts"
    ]
    first, second = await told(written("one"), None)
    assert first.startswith("wrong")
    assert second.startswith("warning  encryption: the newest records of events are encrypted, but this environment")


async def test_what_writes_plain_records() -> None:
    (line,) = await told(written("one", "two"), Keys(KEYS, None))
    assert line.startswith(
        "warning  encryption: the newest records of events are encrypted, but this environment would"
    )
    (line,) = await told(written("one", None), Keys(KEYS, "one"))
    assert line.startswith(
        "warning  encryption: records of events that were written within the last ten minutes are not"
    )


async def test_what_was_written_before_encryption_was_turned_on_does_not_tell_of_a_process_without_a_key() -> None:
    assert await told(written(None), Keys(KEYS, "one"), since_ms=1) == [
        "ok       encryption: 2 keys read what is there, and one encrypts"
    ]


async def test_plain_records_where_encryption_is_required() -> None:
    (line,) = await told(written(None, "one"), Keys(KEYS, "one"), required=True)
    assert line.startswith("wrong    encryption: events begin with records that are not encrypted")


async def test_keys_that_can_not_be_read_are_a_finding(tmp_path: Path) -> None:
    engine = replace(ENGINE, encryption_keys_file=str(tmp_path / "none"))
    found: list[Finding] = [
        finding async for finding in examination._encryption(engine, MemoryKafka(MemoryCluster()), cluster())
    ]
    assert [(finding.level, finding.about) for finding in found] == [("wrong", "encryption")]
    assert "can't be read: No such file or directory" in found[0].text
    assert GIVEN.engine.encryption_keys_file is None


@pytest.mark.parametrize("text", ["", "a: bad"])
async def test_a_file_that_is_wrong_is_a_finding(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)
    engine = replace(ENGINE, encryption_keys_file=str(tmp_path / "keys"))
    (finding,) = [one async for one in examination._encryption(engine, MemoryKafka(MemoryCluster()), cluster())]
    assert finding.level == "wrong"
