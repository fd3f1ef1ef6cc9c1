"""Whether the counts of the read model are those of its rows. This says something if the rows are those of the log.

Both are added up to days, since the projections do so in their own time. Stages are added up over all workflows: their
rows don't say which one they belong to.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from projections.counting import ALL_WORKFLOWS, INSTANCE, CountKey, Counts, add_instance, add_stage, by_day, moment_of
from projections.rows import Instance, PastStage, Stage
from projections.verification.differences import Difference
from projections.verification.tables import Values

COUNTED_TABLES: Final = frozenset({"instances", "stages", "past_stages"})
"""Tables whose rows are counted. A stage that did not succeed counts in each pass of its instance."""


class RowCounts:
    """Counts the rows of a snapshot as they come."""

    def __init__(self) -> None:
        self._counts: Counts = Counter()

    def note(self, table: str, values: Values) -> None:
        """Count a row, if rows of its table are counted."""
        if table == "instances":
            add_instance(self._counts, Instance(*values))
        elif table == "stages":
            add_stage(self._counts, Stage(*values), ALL_WORKFLOWS)
        elif table == "past_stages":
            add_stage(self._counts, PastStage(*values), ALL_WORKFLOWS)

    def differences(self, shown: Counts) -> Iterator[Difference]:
        """What differs from the counts that the snapshot has."""
        wanted = in_days(self._counts)
        for key in sorted(wanted.keys() | shown.keys()):
            if wanted[key] != shown[key]:
                yield Difference("counts", _named(key), {"count": wanted[key]}, {"count": shown[key]})


def in_days(counts: Counts) -> Counts:
    """Counts as they are compared, those that are 0 left out."""
    days: Counts = Counter()
    for key, count in counts.items():
        workflow_id = key.workflow_id if key.stage == INSTANCE else ALL_WORKFLOWS
        days[key._replace(hour=by_day(key.hour), workflow_id=workflow_id)] += count
    return Counter({key: count for key, count in days.items() if count})


def _named(key: CountKey) -> dict[str, object]:
    """The key in words."""
    named: dict[str, object] = {"what": key.what}
    if key.stage != INSTANCE:
        named["stage"] = key.stage
    if key.hour >= 0:
        named |= {"day": f"{moment_of(key.hour):%Y-%m-%d}", "bucket": key.bucket}
    if key.workflow_id != ALL_WORKFLOWS:
        named["workflow"] = key.workflow_id
    return named
