"""What is allowed, and surely not what somebody wants: of stages that could be read.

Nothing is said where a variable decides.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from schemas.definition.delay import Delay
from schemas.definition.ends import AccountEnd
from schemas.definition.errors import Path, shown_path
from schemas.definition.findings import Report
from schemas.definition.instants import format_instant
from schemas.definition.send import Send
from schemas.definition.stages import ResolvedStage
from schemas.definition.text import has_reference, quoted
from schemas.definition.wait_event import WaitEvent


class Advice:
    """Looks at the stages of one definition, one after another.

    Args:
        report: takes the warnings.
        now: what is before it is past.
    """

    def __init__(self, report: Report, now: datetime) -> None:
        self._report = report
        self._now = now
        self._awaited: dict[str, Path] = {}

    def give(self, path: Path, values: Mapping[str, Any], stage: ResolvedStage) -> None:
        """Warn about a stage.

        Args:
            path: where it is, its name included.
            values: its fields as given.
            stage: what was read from them, without variables.
        """
        match stage:
            case Delay():
                self._delay(path, values, stage)
            case WaitEvent():
                self._wait_event(path, stage)
            case Send(source=AccountEnd() as source, destination=AccountEnd() as destination):
                self._transfer(path, source, destination)

    def _delay(self, path: Path, values: Mapping[str, Any], stage: Delay) -> None:
        name = "duration" if stage.until is None else "until"
        if has_reference(values[name]):
            return
        if stage.until is not None and stage.until <= self._now:
            message = f"{format_instant(stage.until)} is in the past, so the stage ends at once"
            self._report.warn((*path, name), message)
        if stage.duration_nanoseconds is not None and stage.duration_nanoseconds <= 0:
            self._report.warn((*path, name), "the duration is not above zero, so the stage ends at once")

    def _wait_event(self, path: Path, stage: WaitEvent) -> None:
        first = self._awaited.setdefault(stage.event, path[:2])
        if first != path[:2]:
            message = (
                f"{shown_path(first)} waits for {quoted(stage.event)} too, and an event ends one stage: "
                "this one needs another event of that name"
            )
            self._report.warn((*path, "event"), message)

    def _transfer(self, path: Path, source: AccountEnd, destination: AccountEnd) -> None:
        if source.ledger != destination.ledger:
            return
        if source.id == destination.id:
            self._report.warn(path, "source and destination are the same account")
        for end, account in (("source", source), ("destination", destination)):
            if account.allow_overdraft:
                message = "has no effect between two accounts of one ledger"
                self._report.warn((*path, end, "account", "allowOverdraft"), message, at_key=True)
