"""What is wrong with a partition, and what would make it whole. No IO.

Fillers let offsets go on where they were, and tell engines that somebody knows what is lost (`schemas.fillers`).
Positions from which nobody can go on are moved.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from deploy.repair.facts import CLAIMS, ENGINES, EVENTS_SEEN, PUBLISHER, READ_MODEL, Hole, Known, PartitionFacts
from schemas.log_integrity import MARK_OFFSETS
from schemas.topics import COMMANDS, EVENTS, EVENTS_PUBLISHED

GO_ON: Final = {
    ENGINES: "instances go on as the newest snapshot has them, and repeat calls with the same idempotency keys",
    READ_MODEL: "the read model stays as it is, without them",
    PUBLISHER: "they are not published",
}
"""What follows from events that are lost, for whoever lacks them."""


NOT_PUBLISHED: Final = Known(who=PUBLISHER, next_offset=0, epoch=-1)
"""The position of a publisher that has none."""


class Fill(Struct, frozen=True):
    """Append fillers."""

    topic: str
    partition: int
    count: int
    is_loss: bool = True
    """Whether they are in the place of records. If not, one only says that somebody knows what is wrong."""


class Move(Struct, frozen=True):
    """Move a position."""

    partition: int
    known: Known
    """As it is."""
    to: Known


class Finding(Struct, frozen=True):
    """Something that is wrong."""

    topic: str
    partition: int
    text: str
    """What it is, and what is lost by it."""


class Repair(Struct, frozen=True):
    """What is wrong with a partition, and what has to be done, in this order."""

    findings: list[Finding]
    actions: list[Fill | Move]


class _Need(Struct):
    """What is wrong with one topic, and what it needs."""

    texts: list[str]
    fillers: int = 0
    """How many it takes until the offsets go on where they were."""
    notice: bool = False
    """Whether a filler in `events` has to say that it is known."""
    is_loss: bool = False
    """Whether events are lost, or may be."""

    def note(self, text: str, *, is_loss: bool) -> None:
        """Something that a filler has to say is known."""
        self.texts.append(text)
        self.notice, self.is_loss = True, self.is_loss or is_loss


def repair_of(facts: PartitionFacts) -> Repair:
    """What is wrong with a partition, and what would repair it."""
    commands, events = _commands(facts), _events(facts)
    moves, lost = list[Fill | Move](), list[str]()
    for known in (facts.read_model, facts.publisher):
        if known is not None:
            to = _moved(facts, known, events)
            if facts.publisher_lost and known is facts.publisher:
                lost.append(
                    f"the position of the publisher is lost. The newest public event follows from offset "
                    f"{known.next_offset - 1} of {EVENTS}, so it goes on behind that"
                )
                known = NOT_PUBLISHED
            if to != known:
                moves.append(Move(facts.number, known, to))
    fillers = max(events.fillers, int(events.notice or commands.notice))
    fills = [Fill(COMMANDS, facts.number, commands.fillers), Fill(EVENTS, facts.number, fillers, events.is_loss)]
    findings = [
        Finding(topic, facts.number, text)
        for topic, texts in ((COMMANDS, commands.texts), (EVENTS, events.texts), (EVENTS_PUBLISHED, lost))
        for text in texts
    ]
    return Repair(findings, [*(fill for fill in fills if fill.count), *moves])


def _commands(facts: PartitionFacts) -> _Need:
    need, scan, found = _Need([]), facts.scan, facts.commands
    ends = {
        ENGINES: facts.next_command,
        READ_MODEL: facts.cause + 1,
        EVENTS_SEEN: scan.causes_end,
        CLAIMS: scan.commands_end,
    }
    who = max(ends, key=lambda name: ends[name])
    known_id = scan.commands_id or ("" if facts.repaired else facts.commands_id_known)
    if _differ(known_id, facts.commands_id):
        need.note("the topic was deleted and created again. Commands that were not decided are lost", is_loss=False)
    if ends[who] > found.end:
        need.fillers = ends[who] - found.end
        need.texts.append(
            f"it ends at offset {found.end}, but {who} knows commands up to {ends[who]}. Those of them that were not "
            "decided are lost"
        )
    next_command = max(facts.next_command, scan.causes_end)
    if found.oldest - next_command > MARK_OFFSETS and not facts.repaired:
        need.note(
            f"the commands from offset {next_command} to {found.oldest - 1} were deleted before they were decided. "
            "They are lost",
            is_loss=False,
        )
    return need


def _events(facts: PartitionFacts) -> _Need:
    need, scan, found = _Need([]), facts.scan, facts.events
    ends = {known.who: known.next_offset for known in facts.positions} | {CLAIMS: scan.events_end}
    who = max(ends, key=lambda name: ends[name])
    others = [known for known in facts.positions if _differ(known.topic_id, facts.events_id)]
    if any(known.who != ENGINES or not facts.repaired for known in others):
        need.note("the topic was deleted and created again", is_loss=False)
    if ends[who] > found.end:
        need.fillers = ends[who] - found.end
        need.note(
            f"it ends at offset {found.end}, but {who} knows events up to {ends[who]}. {need.fillers} are lost: "
            f"{_go_on(facts)}",
            is_loss=True,
        )
    elif scan.events_end:
        text = f"it ended at offset {scan.events_end} before it was cut. Events are lost: {_go_on(facts)}"
        need.note(text, is_loss=True)
    for text in _for_engines(facts):
        need.note(text, is_loss=True)
    if facts.snapshot_unreadable and found.oldest > 0:
        need.texts.append(
            f"the newest snapshot is of another build, and the events before offset {found.oldest} are deleted. Only "
            "engines of the build that wrote it can go on"
        )
    return need


def _for_engines(facts: PartitionFacts) -> Iterator[str]:
    """Why engines can't restore the partition, beside that it is too short."""
    known, oldest = facts.engines, facts.events.oldest
    if known.unclaimed >= 0:
        yield (
            f"the record at offset {known.unclaimed} belongs to a claim that is not in the log, which was cut and has "
            "grown again. Such records will be passed over"
        )
    if facts.repaired:
        return
    if facts.snapshot_unreadable and oldest > 0:
        return  # a filler would have engines go on without it
    if not facts.has_snapshot and oldest == 0 and 0 <= facts.scan.loss < facts.scan.event:
        yield (
            f"there is no snapshot, and events are lost, in whose place are fillers from offset {facts.scan.loss} on. "
            "Instances that began before the last of these and had not ended are lost"
        )
    elif not facts.has_snapshot and oldest > 0:
        yield (
            f"there is no snapshot, and the events before offset {oldest} are deleted. Instances that began before it "
            "and had not ended are lost"
        )
    elif facts.has_snapshot and known.next_offset < oldest:
        yield (
            f"the events from offset {known.next_offset} to {oldest - 1} were deleted before a snapshot had them. They "
            f"are lost: {GO_ON[ENGINES]}"
        )
    elif known.hole is not None:
        yield f"{_missing(known.hole)}. They are lost: {_go_on(facts)}"
    elif known.other_claim is not None:
        yield (
            f"the claim at offset {known.epoch}, which {known.who} knows, is not there any more: the log was cut and "
            f"has grown again. Events are lost: {GO_ON[ENGINES]}"
        )


def _moved(facts: PartitionFacts, known: Known, need: _Need) -> Known:
    """Where a reader can go on; what is wrong with its position is added to what is wrong with the topic."""
    oldest, to = facts.events.oldest, replace(known, topic_id=facts.events_id or known.topic_id)
    if known.next_offset < oldest:
        need.texts.append(
            f"the events from offset {known.next_offset} to {oldest - 1} were deleted before {known.who} had them. "
            f"They are lost: {GO_ON[known.who]}"
        )
        return replace(to, next_offset=oldest, epoch=facts.epoch_of_oldest)
    if known.hole is not None and known.hole.start > known.next_offset:
        text = f"{known.who} is at offset {known.next_offset}. It comes to there when it runs: run this again then"
        need.texts.append(f"{_missing(known.hole)}, and {text}")
        return known
    if known.hole is not None:
        need.texts.append(f"{_missing(known.hole)}, where {known.who} has come to. They are lost: {GO_ON[known.who]}")
        return replace(to, next_offset=known.hole.stop, epoch=known.hole.epoch, hole=None)
    if known.missed >= 0:
        need.texts.append(
            f"it was cut and has grown again, and {known.who} has passed over what is in it from offset {known.missed} "
            f"to {known.next_offset - 1}. It goes back to there"
        )
        return replace(to, next_offset=known.missed, missed=-1)
    if known.unclaimed >= 0:
        if known.unclaimed != facts.engines.unclaimed:
            need.texts.append(
                f"the record at offset {known.unclaimed}, which {known.who} comes to, belongs to a claim that is not "
                "in the log. Such records will be passed over"
            )
        need.notice = need.is_loss = True
    if known.other_claim is not None:
        need.texts.append(
            f"the claim at offset {known.epoch}, which {known.who} knows, is not there any more: the log was cut and "
            f"has grown again. {_capital(known.who)} goes on at offset {known.next_offset}, and may lack what is "
            "before it"
        )
        return replace(to, epoch=known.other_claim, other_claim=None)
    return to if _differ(known.topic_id, facts.events_id) else known


def _missing(hole: Hole) -> str:
    return f"the events from offset {hole.start} to {hole.stop - 1} are missing, with others behind"


def _go_on(facts: PartitionFacts) -> str:
    if facts.has_snapshot:
        return GO_ON[ENGINES]
    return "there is no snapshot, so instances that had not ended go on as the events show them that are left"


def _differ(known: str, found: str) -> bool:
    """Whether two ids of topics are known and are not the same."""
    return bool(known and found) and known != found


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
