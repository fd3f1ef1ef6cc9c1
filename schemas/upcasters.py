"""Upcasters: how what older builds have written becomes what this build reads.

The layout of a released message is frozen, and with it what its fields mean: logs hold it for ever. What may be added
are new messages, and new fields with a default that an older build may pass over without harm. Any other change is a
new *schema version*:

1. change the message in `schemas.events` or `schemas.commands` (a definition: in `schemas.current`),
2. append an upcaster here, which turns the fields of the version before into those of the new one,
3. write down the new version with `python -m tests.histories freeze`.

Records carry their version in header `schema`. A build that does not know it stops (`schemas.records.UnknownMessage`)
instead of taking the record for something else. So engines and projections are upgraded before anything of the new
version is relied on, and there is no way back to the older build. See docs/adr/0031-evolution.md.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from schemas.activities import CREATE_TRANSACTION

Fields = dict[str, Any]
"""A message by the names of its fields, as its JSON has them. Fields that the message declares as `Raw` are that here,
too: numbers in them must not change by being read. Fields that have their default are missing."""

Upcaster = Callable[[Fields], Fields]

DEFINITION: Final = "Definition"
"""What records of topic `definitions` are called here; `kind` tells workflows from triggers."""


def _without_copies(activity: Fields) -> Fields:
    """`Ledger` and `Data` were copies of `ledger` and `data`, for those who read histories. The API makes them now."""
    if activity["name"] != CREATE_TRANSACTION:
        return activity
    shown = {name: value for name, value in activity["input"].items() if name not in ("Ledger", "Data")}
    return activity | {"input": shown}


UPCASTERS: Final[Mapping[str, Sequence[Upcaster]]] = {
    "ActivityStarted": (_without_copies,),
}
"""By message name: entry i turns the fields of schema version i + 1 into those of version i + 2."""


def newest(name: str) -> int:
    """The schema version that this build writes of a message."""
    return len(UPCASTERS.get(name, ())) + 1


def upcast(name: str, state: bytes, schema: int, raw: Collection[str]) -> bytes:
    """The state of a message in the newest version.

    Args:
        name: of the message.
        state: in an older version, as JSON.
        schema: that version.
        raw: names of the fields that stay as they are written.

    Raises:
        Exception: of any kind, if the state is not one of this message and version.
    """
    parts = msgspec.json.decode(state, type=dict[str, Raw])
    fields: Fields = {key: part if key in raw else msgspec.json.decode(part) for key, part in parts.items()}
    for upcaster in UPCASTERS[name][schema - 1 :]:
        fields = upcaster(fields)
    return msgspec.json.encode(fields)
