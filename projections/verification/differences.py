"""What differs between the log and the read model, in words."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from projections.rows import ReadPosition
from projections.verification.tables import Table, Values
from schemas.redaction import on_one_line
from schemas.resources import InstanceState

MAX_SHOWN: Final = 160
"""Characters of a value that are shown; from where the two differ, if they are longer."""
CONTEXT: Final = 20
"""Characters of them before that."""


class Difference(Struct, frozen=True):
    """A row that is not what the log says."""

    table: str
    key: Mapping[str, Any]
    """Its primary key, by column."""
    log: Mapping[str, Any] | None
    """The columns that differ, as the log has them; None if it has no such row."""
    postgres: Mapping[str, Any] | None
    """The same as they are in Postgres; None if there is no such row."""

    def lines(self) -> Iterator[str]:
        """The difference in words."""
        key = ", ".join(f"{name} {value}" for name, value in self.key.items())
        where = f"{self.table}, {key}"
        if self.postgres is None:
            yield f"{where}: the row is missing in Postgres"
        elif self.log is None:
            yield f"{where}: the row is not in the log"
        else:
            yield f"{where}:"
            for name, value in self.log.items():
                log, postgres = _shown(value, self.postgres[name])
                yield f"  {name}: the log says {log}, Postgres says {postgres}"


class Report(Struct, frozen=True, kw_only=True):
    """The outcome."""

    at: datetime
    """When the compared rows were current, by the clock of the database."""
    positions: Mapping[int, int]
    """How far the log was compared, by partition: the offset behind the last record."""
    behind: int
    """Records of the log behind these, which the read model does not have yet."""
    rows: Mapping[str, int]
    """How many rows Postgres had, by table."""
    differences: list[Difference]
    """The first ones."""
    more: bool
    """Whether there may be more."""
    skipped: bool
    """Whether records of the log were left out, since this build can't decode them, or Postgres could not hold them."""

    ended_before: Mapping[InstanceState, datetime] = {}
    """Instances that ended before that are not compared, by outcome: the retention may have deleted them."""

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def lines(self) -> Iterator[str]:
        """The report in words."""
        for difference in self.differences:
            yield from difference.lines()
        if self.more:
            yield "there may be more differences; --limit shows more of them"
        if self.skipped:
            yield "records of the log that can't be decoded or stored are left out, as the projections do"
        for outcome, before in self.ended_before.items():
            yield f"instances whose outcome is {outcome} are compared if they ended after {before:%Y-%m-%d %H:%M} UTC"
        rows = ", ".join(f"{count:,} {table}" for table, count in self.rows.items())
        places = " ".join(f"{partition}:{offset}" for partition, offset in sorted(self.positions.items()))
        verdict = "equal" if self.equal else "DIFFERENT"
        yield f"{verdict}: log and Postgres at {self.at:%Y-%m-%d %H:%M:%S} UTC, with {rows}"
        rest = f"; the read model has yet to take {self.behind:,} records behind them" if self.behind else ""
        yield f"compared up to these offsets, by partition: {places}{rest}"


def compared(table: Table, log: Mapping[Values, Values], postgres: Mapping[Values, Values]) -> Iterator[Difference]:
    """What differs between rows by primary key, in order of the keys."""
    for key in sorted(log.keys() | postgres.keys()):
        ours, theirs = log.get(key), postgres.get(key)
        if ours == theirs:
            continue
        named = dict(zip(table.key, key, strict=True))
        if ours is None or theirs is None:
            yield Difference(table.name, named, None if ours is None else {}, None if theirs is None else {})
            continue
        columns = [name for name, a, b in zip(table.columns, ours, theirs, strict=True) if a != b]
        yield Difference(
            table.name,
            named,
            {name: ours[table.columns.index(name)] for name in columns},
            {name: theirs[table.columns.index(name)] for name in columns},
        )


def compared_position(partition: int, log: ReadPosition, postgres: ReadPosition) -> Iterator[Difference]:
    """What differs in a position, beside how far it is and which topic it is of."""
    columns = [name for name in ("epoch", "cause") if getattr(log, name) != getattr(postgres, name)]
    if columns:
        yield Difference(
            "positions",
            {"partition": partition},
            {name: getattr(log, name) for name in columns},
            {name: getattr(postgres, name) for name in columns},
        )


def _shown(one: object, other: object) -> tuple[str, str]:
    """Two values that differ, cut to where they do."""
    texts = [_text(value) for value in (one, other)]
    if max(map(len, texts)) <= MAX_SHOWN:
        return texts[0], texts[1]
    same = next((n for n, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), min(map(len, texts)))
    start = max(0, same - CONTEXT)
    end = start + MAX_SHOWN
    cut = [f"{'…' if start else ''}{text[start:end]}{'…' if len(text) > end else ''}" for text in texts]
    return cut[0], cut[1]


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return "nothing" if value is None else on_one_line(str(value))
