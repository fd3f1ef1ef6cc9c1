"""How far engines and projections are behind, and whether the log is the one that the read model is of."""

from collections.abc import Iterator, Mapping
from typing import Final

from deploy.doctor.findings import Finding, ok, or_ok, warning, wrong
from projections.rows import ReadPosition
from schemas.kafka import Limits
from schemas.settings import variable

MANY: Final = 10_000
"""Records that are caught up with in seconds. More of them are worth a look."""
REPAIR: Final = "run `orchestration topics repair`, which says what is lost"


def commands(topic: str, limits: Mapping[int, Limits], committed: Mapping[int, int], *, engines: int) -> Finding:
    """Whether the engines keep up with commands.

    Args:
        topic: name of the commands.
        limits: what its partitions hold.
        committed: by partition, the command that the engines take next, as their group has noted.
        engines: how many of them there are.
    """
    about = f"topic {topic}"
    waiting = sum(max(0, found.end - max(committed.get(number, 0), found.oldest)) for number, found in limits.items())
    text = f"{waiting:,} commands wait"
    if waiting and not engines:
        return wrong(about, f"{text}, and no engine runs", "start `orchestration engine`")
    if waiting > MANY:
        return warning(about, text, "look at *What to scale* in docs/operations.md")
    return ok(about, text)


def read_model(
    topic: str,
    topic_id: str,
    limits: Mapping[int, Limits],
    positions: Mapping[int, ReadPosition],
    owner: str | None = None,
) -> Iterator[Finding]:
    """Whether the read model is of this log, and how far it is.

    Args:
        topic: name of the events.
        topic_id: Kafka's id of it; empty if it does not tell.
        limits: what its partitions hold.
        positions: of the read model.
        owner: another topic, if positions are of it.
    """
    about = "read model"
    findings: list[Finding] = []
    if unknown := sorted(positions.keys() - limits.keys()):
        text = f"has positions of partitions that {topic} does not have: {', '.join(map(str, unknown))}"
        findings.append(
            wrong(about, text, "check the prefix of the topics and the schema: they belong to two installations")
        )
    if owner is not None:
        text = f"is of topic {owner}, which is another installation's"
        remedy = f"check {variable('topic_prefix')} and {variable('database_schema')}"
        findings.append(wrong(about, text, remedy))
    behind = 0
    for number, found in limits.items():
        position = positions.get(number, ReadPosition())
        where = f"partition {number} of {topic}"
        if position.topic_id and topic_id and position.topic_id != topic_id:
            if owner is None:
                findings.append(wrong(about, f"{where} was deleted and created again", REPAIR))
        elif position.next_offset > found.end:
            text = f"{where} ends at offset {found.end}, but records up to {position.next_offset} were read"
            findings.append(wrong(about, text, REPAIR))
        elif position.next_offset < found.oldest:
            text = f"{where} begins at offset {found.oldest}, but only records up to {position.next_offset} were read"
            findings.append(wrong(about, text, REPAIR))
        else:
            behind += found.end - position.next_offset
    if behind > MANY:
        text = f"{behind:,} records behind the log"
        findings.append(
            warning(about, text, "see that projections run, then look at *What to scale* in docs/operations.md")
        )
    yield from or_ok(findings, about, f"{behind:,} records behind the log")
    if oldest := {number: found.oldest for number, found in limits.items() if found.oldest > 0}:
        shown = ", ".join(f"{number} at offset {offset}" for number, offset in oldest.items())
        text = f"partitions that have lost their oldest records: {shown}"
        yield warning(
            f"topic {topic}", text, "`rebuild` and `verify` refuse such a log; see *Retention* in docs/operations.md"
        )
