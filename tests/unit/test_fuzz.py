"""A few cases of every target of `python -m tests.fuzz`."""

import pytest

from tests.fuzz import TARGETS
from tests.fuzz.runner import Target, attack

CASES = 300


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.NAME)
async def test_damaged_input_is_refused_in_order(target: Target) -> None:
    report = await attack(target, 1, range(CASES))
    assert report.cases == CASES
    assert not report.failures, "\n".join(report.failures)
