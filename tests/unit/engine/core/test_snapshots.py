"""Snapshots: a cut is exact however the shard goes on, and with the tail of the log it comes to what the log says."""

import random
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from engine.core.decisions import ActivityDone
from engine.core.duplicates import DEFAULT_BOUNDS, Bounds
from engine.core.errors import Rejected, SnapshotUnreadable, TooManySetAside
from engine.core.judgements import MAX_FORGOTTEN
from engine.core.sections import Entry
from engine.core.shard import Shard
from engine.core.snapshots import READABLE, SCHEMA, Cut, Loader, Summary
from engine.core.state import MAX_SET_ASIDE
from schemas import rejections
from schemas.commands import AbortInstance, CreateTrigger, DeleteTrigger
from tests.unit.engine.core.histories import CALL, DELAY, NOW, TIGHT, UPDATE, WAIT, Live, replay, restored, run
from tests.unit.engine.core.test_trigger import CREATED, DELETED, ID, T, fired

GOLDEN = Path(__file__).parent / f"snapshot_{SCHEMA}.txt"


class Topic:
    """What a topic holds: the last value of each key, and the last summary with what it stands for."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.summary: Summary | None = None
        self.next_offset = 0

    def write(self, entries: Iterable[Entry]) -> None:
        for key, value in entries:
            if value is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = value

    def read(self, bounds: Bounds = DEFAULT_BOUNDS) -> Shard:
        """A shard that has read the snapshot."""
        assert self.summary is not None
        return load(self.entries, self.summary, bounds)


def load(entries: dict[str, bytes], summary: Summary, bounds: Bounds = DEFAULT_BOUNDS) -> Shard:
    shard = Shard(bounds)
    loader = Loader(shard)
    for key, value in entries.items():
        loader.put(key, value)
    for _ in loader.finish(summary):
        pass
    return shard


def all_of(shard: Shard) -> tuple[dict[str, bytes], Summary]:
    """The entries of a shard, all of them."""
    shard.rebase()
    cut = shard.cut()
    entries = {key: value for key, value in cut.entries() if value is not None}
    cut.close(written=False)
    return entries, cut.summary


class Writer:
    """Writes rounds of a shard into a topic, bit by bit, and sometimes in vain."""

    def __init__(self, live: Live, rng: random.Random):
        self.live, self.rng, self.topic = live, rng, Topic()
        self.cut: Cut | None = None
        self.rounds = 0

    def step(self) -> None:
        """Begin a round, go on with it or end it."""
        if self.cut is None:
            self.cut, self.next_offset = self.live.shard.cut(), len(self.live.log)
            self.expected = restored(self.live.log, self.live.bounds).contents()
            self.entries, self.written = self.cut.entries(), list[Entry]()
        for _ in range(self.rng.randrange(8)):
            entry = next(self.entries, None)
            if entry is None:
                self.end()
                return
            self.written.append(entry)

    def end(self) -> None:
        """End the round: the topic has it, has it not, or has it without the writer's knowledge."""
        assert self.cut is not None
        outcome = self.rng.choice(("written", "written", "lost", "unknown"))
        if outcome != "lost":
            if self.cut.is_full:  # as the runtime does: tombstones for what is in the topic and not in the shard
                self.written += [Entry(key, None) for key in self.topic.entries if not self.live.shard.has(key)]
            self.topic.write(self.written)
            self.topic.summary, self.topic.next_offset = self.cut.summary, self.next_offset
            assert len(self.topic.entries) == self.cut.summary.entries
            assert self.topic.read(self.live.bounds).contents() == self.expected
            self.rounds += 1
        self.cut.close(written=outcome == "written")
        if outcome != "written" and self.rng.random() < 0.5:
            self.live.shard.rebase()
        self.cut = None


@pytest.mark.parametrize("seed", range(12))
def test_a_cut_is_exact_and_with_the_tail_it_is_the_whole_log(seed: int) -> None:
    rng = random.Random(seed)
    live = Live(TIGHT if seed % 2 else DEFAULT_BOUNDS)
    writer, passed = Writer(live, rng), 0
    for step in range(1500):
        live.give_any(rng, step)
        if rng.random() < 0.4:
            writer.step()
        if rng.random() < 0.02 and writer.rounds > passed:
            passed = writer.rounds
            shard = writer.topic.read(live.bounds)
            assert shard.changes == 0
            replay(shard, live.log, writer.topic.next_offset)
            assert shard.contents() == live.shard.contents()
            if rng.random() < 0.5:  # the next owner goes on with what it read
                shard.settle()
                live.shard, writer.cut = shard, None
    assert writer.rounds > 20


def test_a_full_round_leaves_exactly_what_lives() -> None:
    rng, live = random.Random(1), Live(TIGHT)
    for step in range(600):
        live.give_any(rng, step)
    entries, summary = all_of(live.shard)
    assert sorted({key.partition("/")[0] for key in entries}) == [
        *("definition", "ended", "fired", "instance", "judged", "late", "late_abort", "pending", "retried"),
        *("trigger", "waiting", "workflow"),
    ]
    assert len(entries) == summary.entries == sum(map(len, live.shard.sections))
    assert {key for key in entries if key.startswith("instance/")} == {
        f"instance/{id}"
        for id in live.shard.contents()["instances"]  # type: ignore[attr-defined]
    }


def test_after_a_restore_only_those_that_want_something_done_are_looked_at() -> None:
    live = Live()
    for id, stages in {"event": [WAIT], "delay": [DELAY], "call": [UPDATE], "turn": [{"noop": {}}] * 101}.items():
        live.give(id, run(*stages))
    live.give("over", run(UPDATE, WAIT))
    live.give("over", ActivityDone(CALL))
    whole = live.restored()
    for shard in (live.shard, whole):
        shard.settle()
    loaded = load(*all_of(live.shard))
    for shard in (live.shard, whole, loaded):
        assert sorted(shard.subjects()) == ["call", "delay", "turn"]
        assert all(shard.effect(id) is not None for id in shard.subjects())


def test_an_entry_does_not_tell_whether_something_is_to_be_done() -> None:
    live = Live()
    live.give("delay", run(DELAY))
    live.shard.settle()
    assert [value[-1:] for value in all_of(live.shard)[0].values()] == [b"]", b"]"]


def base_known(live: Live) -> None:
    """Let the topic have what is there."""
    cut = live.shard.cut()
    list(cut.entries())
    cut.close(written=True)


def round_of(live: Live) -> list[str]:
    """The entries of the next round: keys, with a minus before those that are gone."""
    cut = live.shard.cut()
    entries = [key if value is not None else f"-{key}" for key, value in cut.entries()]
    cut.close(written=True)
    return entries


def test_what_starts_and_ends_between_two_turns_leaves_no_entry() -> None:
    live = Live()
    base_known(live)
    live.give("a", run())
    live.give("b", run({"noop": {}}))
    assert live.shard.changes == 0
    assert round_of(live) == []


def test_what_starts_and_ends_between_two_rounds_leaves_no_entry() -> None:
    live = Live()
    base_known(live)
    live.give("a", run(WAIT))
    live.shard.settle()
    assert live.shard.changes == 2
    live.give("a", AbortInstance())
    assert live.shard.changes == 0
    live.give("b", run(WAIT))
    assert [key.partition("/")[0] for key in round_of(live)] == ["definition", "instance"]
    live.give("b", AbortInstance())
    assert [key.partition("/")[0] for key in round_of(live)] == ["-definition", "-instance"]


def test_a_definition_goes_with_the_last_that_names_it() -> None:
    live = Live()
    base_known(live)
    live.give("t", CreateTrigger(name="", event="X", workflow_id="w"))
    live.give("a", run(WAIT))
    live.give("b", run(WAIT))
    (named,) = (key for key in round_of(live) if key.startswith("definition/"))
    live.give("a", AbortInstance())
    assert round_of(live) == ["-instance/a"]
    live.give("b", AbortInstance())
    assert round_of(live) == [f"-{named}", "-instance/b"]


def test_what_a_deleted_trigger_has_fired_for_goes_bit_by_bit() -> None:
    live, count = Live(), 2 * MAX_FORGOTTEN + 1
    live.shard.replay(ID, [CREATED], 0)
    for number in range(count):
        live.shard.replay(ID, [fired(number, once_key=f"P:{number}", identity=f"k{number}")], number + 1)
    base_known(live)
    live.shard.replay(ID, [DELETED], count + 1)
    assert not live.shard.duplicates.has_fired_for(ID, "P:1")
    assert not live.shard.duplicates.has_judged(ID, "k1", T)
    entries, summary = all_of(live.shard)
    assert sum(key.startswith("fired/") for key in entries) == sum(key.startswith("judged/") for key in entries) > 1
    shard = load(entries, summary)
    assert shard.changes == 0
    for each in (live.shard, shard):
        assert not each.duplicates.has_fired_for(ID, f"P:{count - 1}")
        each.settle()
        each.settle()
    assert shard.contents() == live.shard.contents()
    entries, _ = all_of(shard)
    assert not [key for key in entries if key.startswith(("fired/", "judged/"))]


def test_a_cut_that_was_not_written_is_written_with_the_next() -> None:
    live = Live()
    live.give("a", run(WAIT))
    base_known(live)
    live.give("a", AbortInstance())
    live.give("b", run(WAIT))
    cut = live.shard.cut()
    list(cut.entries())
    live.give("b", AbortInstance())
    cut.close(written=False)
    assert [key for key in round_of(live) if "instance" in key] == ["-instance/b", "-instance/a"], "it may be written"
    cut = live.shard.cut()
    cut.close(written=True)
    assert live.shard.changes == 0


def test_a_cut_whose_entries_were_not_all_taken_was_not_written() -> None:
    live = Live()
    base_known(live)
    live.give("a", run(WAIT))
    cut = live.shard.cut()
    next(cut.entries())
    cut.close(written=True)
    assert live.shard.changes == 2


def test_one_cut_at_a_time() -> None:
    shard = Shard()
    cut = shard.cut()
    with pytest.raises(RuntimeError):
        shard.cut()
    shard.rebase()
    assert not cut.is_open
    assert shard.cut().is_full


def test_what_an_open_cut_has() -> None:
    live = Live()
    live.give("a", run(WAIT))
    assert (live.shard.has("instance/a"), live.shard.has("instance/b")) == (False, False), "it is not settled"
    cut = live.shard.cut()
    live.give("a", AbortInstance())
    live.give("b", run(WAIT))
    live.shard.settle()
    assert (live.shard.has("instance/a"), live.shard.has("instance/b")) == (True, False)
    assert (cut.has("instance/a"), cut.has("instance/b"), cut.has("marker"), cut.has("x/a")) == (True, *[False] * 3)
    cut.close(written=True)
    assert (live.shard.has("instance/a"), live.shard.has("instance/b")) == (False, True)


# What can't be read


def snapshot() -> tuple[dict[str, bytes], Summary]:
    live = Live()
    live.give("t", CreateTrigger(name="", event="X", workflow_id="w"))
    live.give("a", run(WAIT))
    return all_of(live.shard)


def test_a_snapshot_with_another_number_of_entries_is_unreadable() -> None:
    entries, summary = snapshot()
    load(entries, summary)
    for wrong in (entries | {"instance/b": entries["instance/a"]}, {"instance/a": entries["instance/a"]}):
        with pytest.raises(SnapshotUnreadable, match="entries"):
            load(wrong, summary)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("instance/a", b"[]"),
        ("instance/a", b'["b",2,"w","DIGEST",{},null,0,true,null,null,[],[],[],null,false,null,0,null,0]'),
        ("instance/a", b'["a",2,"w","DIGEST",{},null,0,true,null,null,[],[],[],null,true]'),
        ("trigger/t", b"\xff"),
        ("definition/DIGEST", b"[]"),
        ("definition/DIGEST", b"5"),
        ("other/x", b"1"),
        ("", b"1"),
        ("fired/x", b"2"),
        ("waiting/x/y", b"[]"),
        ("definition/4d5e", b"[]"),
    ],
)
def test_a_snapshot_with_a_wrong_entry_is_unreadable(key: str, value: bytes) -> None:
    entries, summary = snapshot()
    (digest,) = (key.removeprefix("definition/") for key in entries if key.startswith("definition/"))
    right = b'["a",2,"w","DIGEST",{},null,0,true,null,null,[],[],[],null,false,null,0,null,0]'
    assert entries["instance/a"] == right.replace(b"DIGEST", digest.encode())
    entries[key.replace("DIGEST", digest)] = value.replace(b"DIGEST", digest.encode())
    with pytest.raises(SnapshotUnreadable):
        load(entries, replace(summary, entries=len(entries)))


def test_a_definition_that_nobody_names_and_one_that_is_missing_are_unreadable() -> None:
    entries, summary = snapshot()
    (name,) = (key for key in entries if key.startswith("definition/"))
    for gone in ("instance/a", name):
        rest = {key: value for key, value in entries.items() if key != gone}
        with pytest.raises(SnapshotUnreadable):
            load(rest, replace(summary, entries=len(rest)))


# Set aside


def test_an_aggregate_that_was_set_aside_does_nothing_any_more() -> None:
    live = Live()
    live.give("t", CreateTrigger(name="", event="X", workflow_id="w"))
    rng = random.Random(3)
    for step in range(300):
        live.give_any(rng, step)
    live.give("a", run(UPDATE))
    base_known(live)
    for key in ("a", "t"):
        live.shard.set_aside(key, "boom" * 10_000)
    shard = load(*all_of(live.shard))
    assert shard.contents() == live.shard.contents()
    for each in (live.shard, shard):
        assert list(each.aside) == ["a", "t"]
        assert len(each.aside["a"]) < 10_000
        assert (each.instance("a"), each.trigger("t")) == (None, None)
        assert not [subject for subject in each.subjects() if subject == "a" or subject.startswith("t/")]
        before = each.contents()
        assert each.decide("a", ActivityDone(CALL), NOW).events == ()
        assert each.fail("a", ActivityDone(CALL), NOW, "boom").events == ()
        for key, command in (("a", run(UPDATE)), ("a", AbortInstance()), ("t", DeleteTrigger())):
            with pytest.raises(Rejected) as rejected:
                each.decide(key, command, NOW)
            assert rejected.value.code == rejections.SET_ASIDE
        for offset, (key, event) in enumerate(live.log):
            if key in ("a", "t"):
                assert each.replay(key, [event], offset) == ()
        assert each.contents() == before


def test_so_many_are_set_aside() -> None:
    shard = Shard()
    for number in range(MAX_SET_ASIDE):
        shard.set_aside(f"i{number}", "boom")
    shard.set_aside("i0", "boom again")
    with pytest.raises(TooManySetAside):
        shard.set_aside("one more", "boom")


# Encodings


def test_what_snapshots_hold_is_frozen() -> None:
    """If this fails, encodings have changed: raise `SCHEMA`, keep reading the one before, and record the new one."""
    *lines, last = GOLDEN.read_text().splitlines()
    summary = msgspec.json.decode(last, type=Summary)
    recorded = {key: value.encode() for key, _, value in (line.partition(" ") for line in lines)}
    shard = load(recorded, summary)
    assert {key.partition("/")[0] for key in recorded} == {section.name for section in shard.sections}
    entries, again = all_of(shard)
    assert entries == recorded
    assert msgspec.json.encode(again).decode() == last


@pytest.mark.parametrize("schema", [schema for schema in READABLE if schema != SCHEMA])
def test_snapshots_of_older_builds_are_read(schema: int) -> None:
    *lines, last = (GOLDEN.parent / f"snapshot_{schema}.txt").read_text().splitlines()
    recorded = {key: value.encode() for key, _, value in (line.partition(" ") for line in lines)}
    shard = load(recorded, msgspec.json.decode(last, type=Summary))
    entries, again = all_of(shard)
    assert entries.keys() == recorded.keys()
    assert again == msgspec.json.decode(last, type=Summary)
    assert load(entries, again).contents() == shard.contents()
