"""Running cases, and what came of each."""

import time
from collections.abc import Sequence

from msgspec import Struct

from deploy.scenarios.expectations import Comparison
from deploy.scenarios.files import Case
from deploy.scenarios.play import play
from deploy.scenarios.story import Story


class Result(Struct, frozen=True):
    """What came of a case.

    Attributes:
        case: which.
        failures: what was not as expected, a sentence each; none if it passed.
        story: what happened.
        seconds: how long it took, in real time.
    """

    case: Case
    failures: Sequence[str]
    story: Story
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether all was as expected."""
        return not self.failures


def run(case: Case) -> Result:
    """Run a case and compare."""
    begin = time.perf_counter()
    played = play(case)
    differences = Comparison(played.story, played.books).compare(case.expect)
    failures = [*played.problems, *(difference.line() for difference in differences)]
    return Result(case, failures, played.story, time.perf_counter() - begin)
