"""What came of scenarios, for people (text) and for programs (JSON)."""

from collections.abc import Sequence
from typing import Any

import msgspec

from deploy.scenarios.running import Result
from deploy.scenarios.story import Story
from deploy.scenarios.timeline import timeline
from deploy.scenarios.times import shown
from schemas.redaction import on_one_line


def lines_of(result: Result) -> list[str]:
    """One line for a scenario that passed; what was expected, what was found and what happened for one that did not."""
    story = result.story
    took = f"  ({outcome(story)})"
    if result.passed:
        return [f"  ok      {on_one_line(result.case.name)}{took}"]
    lines = [f"  FAILED  {on_one_line(result.case.name)}{took}", ""]
    lines += [f"      {on_one_line(failure)}" for failure in result.failures]
    lines += ["", "      what happened, and when:"]
    lines += [f"      {on_one_line(line)}" for line in timeline(story)]
    return [*lines, ""]


def outcome(story: Story) -> str:
    """What has become of the instance, in a few words."""
    if story.duration is not None:
        return f"{story.outcome} after {shown(story.duration)}"
    return story.outcome if story.waits_for is None else f"waiting for {story.waits_for}"


def summary(results: Sequence[Result], seconds: float) -> str:
    """How many passed."""
    failed = sum(not result.passed for result in results)
    passed = len(results) - failed
    return f"{passed} passed, {failed} failed in {seconds:.2f} s"


def as_json(results: Sequence[Result]) -> bytes:
    """All results as one JSON object."""
    shown_results = [_shown(result) for result in results]
    failed = sum(not result.passed for result in results)
    return msgspec.json.encode({"passed": len(results) - failed, "failed": failed, "scenarios": shown_results})


def _shown(result: Result) -> dict[str, Any]:
    story = result.story
    return {
        "file": str(result.case.file),
        "line": result.case.line,
        "name": result.case.name,
        "passed": result.passed,
        "failures": result.failures,
        "outcome": story.outcome,
        "error": story.error,
        "duration": None if story.duration is None else shown(story.duration),
        "seconds": round(result.seconds, 6),
        "stages": [
            {
                "name": stage.name,
                "status": stage.status,
                "error": stage.error,
                "input": stage.input,
                "started": stage.started,
                "ended": stage.ended,
                "activities": [
                    {
                        "name": activity.name,
                        "attempts": activity.attempts,
                        "errors": activity.errors,
                        "input": activity.input,
                        "output": activity.output,
                    }
                    for activity in stage.activities
                ],
            }
            for stage in story.stages
        ],
        "timeline": timeline(story),
    }
