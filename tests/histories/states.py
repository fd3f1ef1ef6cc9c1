"""What histories come to, as files beside them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.histories.folding import World, state_of
from tests.histories.lines import DATA, Line


async def state_of_history(lines: Sequence[Line]) -> dict[str, Any]:
    """What this build makes of a history, from its first event on."""
    return await state_of_world(World(lines, snapshots=0))


async def state_of_world(world: World) -> dict[str, Any]:
    """The same of a history that is there already."""
    restored, database = await world.restored(), await world.projected()
    return state_of(restored.shard, database.tables, [event async for event in world.public()])


def path_of(generation: str, story: str) -> Path:
    """The file of a history."""
    return DATA / generation / f"{story}.state.json"


def write_state(generation: str, story: str, state: dict[str, Any]) -> None:
    """Write down what a history comes to."""
    path_of(generation, story).write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=1) + b"\n")


def read_state(generation: str, story: str) -> dict[str, Any]:
    """What it came to."""
    state: dict[str, Any] = msgspec.json.decode(path_of(generation, story).read_bytes())
    return state
