"""Every recorded history is read by this build: it folds, comes to the same state and rows, and is decided the same."""

import logging
from typing import Any

import pytest
from msgspec import Struct

from schemas.records import MESSAGES
from schemas.topics import SNAPSHOTS
from schemas.upcasters import newest
from tests.histories import deciding, states
from tests.histories.folding import NOT_OF_EVENTS, World, state_of
from tests.histories.lines import DATA, Line, RecordLine, generations, read, recorded
from tests.histories.recorder import Recorder
from tests.histories.stories import STORIES

HISTORIES = [pytest.param(*history, id="-".join(history)) for history in recorded()]

RESTATE = (
    "This build makes something else of what is recorded. If that is meant, it happens to every installation that is"
    " upgraded: run `python -m tests.histories restate`, and read the difference before you commit it."
)
RECORD = (
    "The stories come to other records than those of the newest generation. If that is meant, record the next one:"
    " `python -m tests.histories record {next}`. Those that were recorded stay as they are."
)


@pytest.mark.parametrize(("generation", "story"), HISTORIES)
async def test_a_history_comes_to_what_it_came_to(
    generation: str, story: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # takeovers hold events that can't be used
    state = await states.state_of_history(read(generation, story))
    known = states.read_state(generation, story)
    for part in known:
        assert state[part] == known[part], RESTATE


@pytest.mark.parametrize(("generation", "story"), HISTORIES)
async def test_each_snapshot_and_what_follows_come_to_the_same(
    generation: str, story: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    lines = read(generation, story)
    whole = (await World(lines, snapshots=0).restored()).shard.contents()
    keys = [line.key for line in lines if isinstance(line, RecordLine) and line.topic == SNAPSHOTS]
    markers = [number for number, key in enumerate(keys, 1) if key == "marker"]
    assert markers
    for count in markers:
        restored = await World(lines, snapshots=count).restored()
        assert restored.marker is not None, "the snapshot was left aside"
        assert _read(restored.shard.contents()) == _read(whole)


def _read(contents: Any) -> Any:
    """What anybody acts on of a state.

    States of snapshots from before schema 2 of `ActivityStarted` have copies, too.
    """
    if isinstance(contents, Struct):
        return type(contents), _read({field: getattr(contents, field) for field in contents.__struct_fields__})
    if isinstance(contents, dict):
        if "aside" in contents:  # the reasons are texts for people
            contents = {**contents, "aside": list(contents["aside"])}
        copies = {"Ledger", "Data"} if {"ledger", "data"} <= contents.keys() else ()
        return {key: _read(value) for key, value in contents.items() if key not in copies}
    return [_read(part) for part in contents] if isinstance(contents, list | tuple) else contents


@pytest.mark.parametrize(("generation", "story"), HISTORIES)
def test_a_history_is_decided_the_same(generation: str, story: str) -> None:
    assert list(deciding.differences(read(generation, story))) == []


@pytest.mark.parametrize("story", STORIES)
def test_the_newest_generation_is_what_this_build_records(story: str) -> None:
    recorder = Recorder()
    STORIES[story](recorder)
    newest_one = generations()[-1]
    assert recorder.lines == read(newest_one, story), RECORD.format(next=int(newest_one) + 1)


def test_the_newest_generation_has_every_message() -> None:
    generation = generations()[-1]
    written = set[tuple[str, int]]()
    for path in (DATA / generation).glob("*.jsonl"):
        written |= {_written(line) for line in read(generation, path.stem)}
    missing = {(name, newest(name)) for name in MESSAGES} - written
    assert not missing, "Extend a story, and record the next generation."


def _written(line: Line) -> tuple[str, int]:
    headers = line.headers if isinstance(line, RecordLine) else {}
    return headers.get("type", ""), int(headers.get("schema", "1"))


def test_all_entries_of_states_and_all_rows_are_recorded() -> None:
    generation, entries, rows = generations()[-1], set[str](), set[str]()
    for story in STORIES:
        state = states.read_state(generation, story)
        entries |= {key.partition("/")[0] for key in state["entries"]}
        rows |= {table for table, some in state["rows"].items() if some}
    world = state_of_nothing()
    assert entries >= world["sections"]
    assert rows == world["tables"]


def state_of_nothing() -> dict[str, set[str]]:
    """What a state could hold."""
    from engine.core.shard import Shard
    from projections.memory import Tables

    shard = Shard()
    state_of(shard, Tables(), [])
    return {
        "sections": {section.name for section in shard.sections},
        "tables": set(vars(Tables())) - NOT_OF_EVENTS,
    }
