"""Whether the counts of the read model are those of its rows. This says something if the rows are those of the log.

Days are compared, and hours as far as the projections tell them apart. Stages are added up over all workflows: their
rows don't say which one they belong to. Where instances may be deleted, the counts are at least those of the rows.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from projections.counting import (
    ALL_WORKFLOWS,
    HOURS_PER_DAY,
    INSTANCE,
    NOW,
    CountKey,
    Counts,
    add_instance,
    add_stage,
    add_up,
    by_day,
    by_step,
    hour_of,
    kept_since,
    moment_of,
    take_start_out,
)
from projections.rows import Instance, PastStage, Stage
from projections.verification.differences import Difference
from projections.verification.skipped import NOTHING, Skipped
from projections.verification.tables import Values

COUNTED_TABLES: Final = frozenset({"instances", "stages", "past_stages"})
"""Tables whose rows are counted. A stage that did not succeed counts in each pass of its instance."""


class RowCounts:
    """Counts the rows of a snapshot as they come.

    Args:
        skipped: instances that may be deleted. They counted when things happened to them, up to their end.
    """

    def __init__(self, skipped: Skipped = NOTHING) -> None:
        self._counts: Counts = Counter()
        self._skipped = skipped

    def note(self, table: str, values: Values) -> None:
        """Count a row, if rows of its table are counted."""
        if table == "instances":
            instance = Instance(*values)
            add_instance(self._counts, instance)
            if instance.id in self._skipped.restored:
                take_start_out(self._counts, instance)
        elif table == "stages":
            add_stage(self._counts, Stage(*values), ALL_WORKFLOWS)
        elif table == "past_stages":
            add_stage(self._counts, PastStage(*values), ALL_WORKFLOWS)

    def differences(self, shown: Mapping[int, Counts], at: datetime) -> Iterator[Difference]:
        """What differs from the counts that the snapshot has. Hours are told where their days are right.

        Args:
            shown: those counts, by the hours of a step, as `in_steps` has them.
            at: when they were.
        """
        days = list(self._different(shown, HOURS_PER_DAY))
        wrong = {key._replace(hour=by_day(key.hour)) for key, *_ in days}
        first = kept_since(hour_of(at))
        hours = [
            different
            for different in self._different(shown, 1)
            if different[0].hour >= first and different[0]._replace(hour=by_day(different[0].hour)) not in wrong
        ]
        for step, differences in ((HOURS_PER_DAY, days), (1, hours)):
            for key, wanted, found in differences:
                yield Difference("counts", _named(key, step), {"count": wanted}, {"count": found})

    def _different(self, shown: Mapping[int, Counts], step: int) -> Iterator[tuple[CountKey, int, int]]:
        wanted = in_steps(self._counts, step)
        last = self._skipped.last_hour
        last_hour = NOW if last is None else hour_of(last)
        for key in sorted(wanted.keys() | shown[step].keys()):
            if NOW < key.hour <= last_hour and shown[step][key] >= wanted[key]:
                continue  # more has happened than there are rows of
            if wanted[key] != shown[step][key]:
                yield key, wanted[key], shown[step][key]


def in_steps(counts: Counts, step: int) -> Counts:
    """Counts as they are compared, those that are 0 left out.

    Args:
        counts: by hour.
        step: hours that are added up: 1 or 24.
    """
    steps: Counts = Counter()
    for key, count in counts.items():
        workflow_id = key.workflow_id if key.stage == INSTANCE else ALL_WORKFLOWS
        add_up(steps, [(key._replace(hour=by_step(key.hour, step), workflow_id=workflow_id), count)])
    return steps


def _named(key: CountKey, step: int) -> dict[str, object]:
    """The key in words."""
    named: dict[str, object] = {"what": key.what}
    if key.stage != INSTANCE:
        named["stage"] = key.stage
    if key.hour >= 0:
        begins = moment_of(key.hour)
        named |= {"hour": f"{begins:%Y-%m-%dT%HZ}"} if step == 1 else {"day": f"{begins:%Y-%m-%d}"}
        named["bucket"] = key.bucket
    if key.workflow_id != ALL_WORKFLOWS:
        named["workflow"] = key.workflow_id
    return named
