"""Decides a history once more: this build has to come to the same events.

An instance that has begun under one build goes on under the next. If that decided otherwise about the same outcomes, a
`send` that is half done would be another one from then on.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from engine.core.shard import Shard
from engine.turn import Turn
from schemas.epochs import EpochFilter, is_claim
from schemas.events import CommandRejected, Event
from schemas.records import RecordCodec
from schemas.topics import COMMANDS, EVENTS
from tests.histories.folding import Stored, fold
from tests.histories.lines import GivenLine, Line, TurnLine
from tests.histories.recorder import decide_command

HEADERS: Final = ("version", "cause", "epoch")


def differences(lines: Sequence[Line]) -> Iterator[str]:
    """What this build decides otherwise."""
    codec, commands, events = RecordCodec(), list[Stored](), list[Stored]()
    given = list[GivenLine]()
    expected = list[Stored]()
    shard, epochs, epoch, turns = Shard(), EpochFilter(), -1, 0
    for line in lines:
        if isinstance(line, GivenLine):
            given.append(line)
        elif isinstance(line, TurnLine):
            turns += 1
            # Not from what it has decided itself: what counts is what the log says.
            turn = Turn(shard, codec, epoch, len(events), line.now)
            for one in given:
                if one.command is not None:
                    decide_command(turn, codec, commands[one.command])
                else:
                    turn.input(one.key, one.given)
            if line.confirms:
                turn.confirm()
            given.clear()
            expected = [
                Stored(number, record.key, record.value, record.headers)
                for number, record in enumerate(turn.records, len(events))
            ]
            shard, epochs = _folded(codec, events)
        elif line.topic == COMMANDS:
            record = line.record
            commands.append(Stored(line.offset, record.key, record.value, record.headers))
        elif line.topic == EVENTS:
            stored = Stored(line.offset, line.record.key, line.record.value, line.record.headers)
            if expected:
                yield from _compared(codec, turns, expected.pop(0), stored)
            events.append(stored)
            fold(shard, codec, epochs, stored)
            shard.settle()
            if is_claim(stored):
                epoch = stored.offset


def _folded(codec: RecordCodec, events: Sequence[Stored]) -> tuple[Shard, EpochFilter]:
    shard, epochs = Shard(), EpochFilter()
    for stored in events:
        fold(shard, codec, epochs, stored)
    shard.settle()
    return shard, epochs


def _compared(codec: RecordCodec, turn: int, decided: Stored, recorded: Stored) -> Iterator[str]:
    ours, theirs = codec.decode_event(decided), codec.decode_event(recorded)
    if (ours.aggregate_id, _as_then(ours.event, theirs.event), ours.version, ours.cause) != (
        theirs.aggregate_id,
        theirs.event,
        theirs.version,
        theirs.cause,
    ):
        yield f"turn {turn}, offset {recorded.offset}: it was {theirs}, and this build decides {ours}"


def _as_then(ours: Event, theirs: Event) -> Event:
    """What this build decides, without what earlier ones did not tell: which aborts had come too late."""
    if isinstance(ours, CommandRejected) and isinstance(theirs, CommandRejected) and theirs.request_key is None:
        return replace(ours, request_key=None, request_digest=None)
    return ours
