"""Whether the keys fit to what Kafka holds: looked at are the oldest and the newest record of each partition."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from deploy.doctor.findings import Finding, or_ok, warning, wrong
from schemas.encryption.keys import Keys
from schemas.encryption_marks import is_sealed
from schemas.kafka import Kafka, Limits, Place
from schemas.records import Record
from schemas.settings import variable

ABOUT: Final = "encryption"
LOOK_SECONDS: Final = 10.0
"""Deadline of a look. Without it a broker that is slow would hold up all that comes after it."""
TAKE_SECONDS: Final = 0.2
RECENT_SECONDS: Final = 600
"""How old the newest record may be to say how its writer is set up. Where little happens, it may be of the time before
encryption was turned on."""
NEWEST_OFFSETS: Final = 16
"""How far from the end the newest record is looked for: marks of transactions take offsets, too."""


class Ends(Struct, frozen=True):
    """The first and the last record of a partition that have content; None if there is none."""

    oldest: Record | None = None
    newest: Record | None = None
    recent: bool = False
    """Whether the last one is of the time that was asked for."""


async def look(kafka: Kafka, limits: Mapping[Place, Limits], since_ms: int) -> dict[Place, Ends]:
    """Read the ends of partitions, as they are in Kafka.

    Args:
        kafka: without a vault.
        limits: what the partitions hold.
        since_ms: from when on a record is recent, in milliseconds since 1970.

    Raises:
        KafkaFault: Kafka is away or refuses.
    """
    filled = {place: found for place, found in limits.items() if found.oldest < found.end}
    async with kafka.reader() as reader:
        ends: list[dict[Place, Record]] = []
        for starts, last in (
            ({place: found.oldest for place, found in filled.items()}, False),
            ({place: max(found.oldest, found.end - NEWEST_OFFSETS) for place, found in filled.items()}, True),
        ):
            found: dict[Place, Record] = {}
            left = set(starts)
            reader.read_from(starts)
            until = asyncio.get_running_loop().time() + LOOK_SECONDS
            while left and asyncio.get_running_loop().time() < until:
                for place, records in (await reader.take(TAKE_SECONDS)).items():
                    some = [record for record in records if record.value]
                    if some and (last or place not in found):
                        found[place] = some[-1 if last else 0]
                left = {place for place in left if await reader.position(place) < filled[place].end}
                if not last:
                    left -= found.keys()
            ends.append(found)
        since = await reader.first_since(dict.fromkeys(filled, since_ms)) if filled else {}
    oldest, newest = ends
    return {
        place: Ends(oldest.get(place), newest.get(place), _is_recent(newest.get(place), since.get(place)))
        for place in limits
    }


def _is_recent(newest: Record | None, first: int | None) -> bool:
    return newest is not None and first is not None and newest.offset >= first


def fits(keys: Keys | None, required: bool, ends: Mapping[Place, Ends]) -> Iterator[Finding]:
    """Whether the keys of this environment can read what is there, and encrypt as others do.

    Args:
        keys: of this environment.
        required: whether plain records are refused.
        ends: what partitions hold.
    """
    missing: dict[str, set[str]] = {}
    for place, found in ends.items():
        for record in (found.oldest, found.newest):
            name = _name(record)
            if name is not None and (keys is None or not (keys.has(name) or keys.is_lost(name))):
                missing.setdefault(name.decode(errors="replace"), set()).add(place.topic)
    findings = [
        wrong(
            ABOUT,
            f"records of {_listed(topics)} are encrypted with key {name}, which this environment does not have",
            f"add the key to the file that {variable('encryption_keys_file')} names",
        )
        for name, topics in sorted(missing.items())
    ]
    current = None if keys is None else keys.current
    sealed = [place.topic for place, found in ends.items() if _name(found.newest) is not None]
    plain = [place.topic for place, found in ends.items() if found.recent and _name(found.newest) is None]
    if current is None and sealed:
        text = f"the newest records of {_listed(sealed)} are encrypted, but this environment would write plain ones"
        findings.append(warning(ABOUT, text, f"set {variable('encryption_key_id')}, unless a rotation is under way"))
    if current is not None and plain:
        text = f"records of {_listed(plain)} that were written within the last ten minutes are not encrypted"
        remedy = f"give all processes {variable('encryption_key_id')}; if they have it, look again in ten minutes"
        findings.append(warning(ABOUT, text, remedy))
    before = [place.topic for place, found in ends.items() if found.oldest is not None and _name(found.oldest) is None]
    if required and before:
        refuses = f"which {variable('encryption_required')} refuses"
        text = f"{_listed(before)} begin with records that are not encrypted, {refuses}"
        findings.append(wrong(ABOUT, text, "set it to false"))
    yield from or_ok(
        findings, ABOUT, "off" if keys is None else f"{keys.count} keys read what is there" + _writes(current)
    )


def _writes(current: str | None) -> str:
    return ", and none encrypts" if current is None else f", and {current} encrypts"


def _name(record: Record | None) -> bytes | None:
    """The key that a record names; None if it is not encrypted."""
    if record is None or not is_sealed(record.headers):
        return None
    return (record.headers[0][1] or b"").rpartition(b":")[0]


def _listed(topics: Sequence[str] | set[str]) -> str:
    return ", ".join(sorted(set(topics)))
