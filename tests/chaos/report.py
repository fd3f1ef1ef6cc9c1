"""What came of a campaign, as a table for people and as JSON."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.chaos.campaign import Round
from tests.chaos.recovery import Recovery

LABEL_WIDTH: Final = 78
SHOWN_REFUSALS: Final = 12


def table(rounds: Sequence[Round]) -> Iterator[str]:
    """Lines about all rounds: what was felt of each fault, and what clients were answered."""
    yield "seconds: how long the fault lasted; until each partition worked again, from its begin; until all did,"
    yield "from its end; the longest gap of partitions that it did not hit"
    yield f"{'fault':{LABEL_WIDTH}} {'lasted':>7} {'from its begin':>31} {'its end':>8} {'others':>8}"
    for result in rounds:
        for recovery in result.recoveries:
            yield _row(recovery)
    refusals = sum((result.refusals for result in rounds), Counter[str]())
    yield ""
    yield f"{refusals.total()} requests were refused"
    yield from (f"{count:7} {text}" for text, count in refusals.most_common(SHOWN_REFUSALS))
    outcomes = sum((result.outcomes for result in rounds), Counter[str]())
    yield f"{outcomes.total()} requests"
    yield from (f"{count:7} {text}" for text, count in sorted(outcomes.items()))
    for kind in sorted({kind for result in rounds for kind in result.longest}):
        longest = max(rounds, key=lambda result: result.longest.get(kind, 0.0))
        yield f"longest request {kind}: {longest.longest[kind]:.1f} s, in round {longest.name}"


def _row(recovery: Recovery) -> str:
    again = " ".join(f"{_shown(seconds):>7}" for seconds in recovery.after_begin.values())
    ends = [seconds for seconds in recovery.after_end.values() if seconds is not None]
    last = f"{max(ends):.1f}" if len(ends) == len(recovery.after_end) else "never"
    label = recovery.label[: LABEL_WIDTH - 1]
    return f"{label:{LABEL_WIDTH}} {recovery.seconds:7.1f} {again:>31} {last:>8} {_shown(recovery.healthy_gap):>8}"


def _shown(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f}"


def write_json(path: Path, rounds: Sequence[Round], **about: Any) -> None:
    """Everything, for programs.

    Args:
        path: of the file.
        rounds: what came of them.
        about: how they were run.
    """
    shown = [
        msgspec.to_builtins({**vars(result), "recoveries": [vars(r) for r in result.recoveries]}) for result in rounds
    ]
    path.write_text(json.dumps({**about, "rounds": shown}, indent=1))
