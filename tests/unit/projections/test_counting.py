"""Hours, buckets and percentiles of counts. What batches add to them is in `tests/store_contract.py`."""

import itertools
import random
import re
from datetime import UTC, datetime, timedelta

import pytest

from projections.counting import BOUNDS, NOW, bucket_of, by_day, hour_of, moment_of, percentile
from projections.migrate import shipped

AT = datetime(2026, 3, 1, 10, 59, 59, 999_999, tzinfo=UTC)


def test_hours_begin_on_the_hour_and_days_at_midnight_in_utc() -> None:
    assert moment_of(hour_of(AT)) == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert moment_of(hour_of(AT + timedelta(microseconds=1))) == datetime(2026, 3, 1, 11, tzinfo=UTC)
    assert moment_of(by_day(hour_of(AT))) == datetime(2026, 3, 1, tzinfo=UTC)
    assert by_day(NOW) == NOW


def test_bounds_go_up_by_half_and_a_little() -> None:
    steps = [after / before for before, after in itertools.pairwise(BOUNDS)]
    assert 1.56 <= min(steps) <= max(steps) <= 1.6
    assert (BOUNDS[0], BOUNDS[-1]) == (1000, 6.3 * 10**12)


def test_postgres_has_the_same_bounds() -> None:
    (text,) = re.findall(rb"ARRAY\[([0-9,\s]+)\]::bigint", shipped()["0010_stats.sql"])
    assert tuple(map(int, text.split(b","))) == BOUNDS


def test_a_bucket_begins_with_its_bound() -> None:
    for number, bound in enumerate(BOUNDS):
        assert bucket_of(AT, AT + timedelta(microseconds=bound - 1)) == number
        assert bucket_of(AT, AT + timedelta(microseconds=bound)) == number + 1
    assert bucket_of(AT, AT) == 0


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_percentiles_are_off_by_little(share: float) -> None:
    chance = random.Random(7)
    took = sorted(timedelta(seconds=chance.lognormvariate(0, 3)) for _ in range(10_001))
    buckets: dict[int, int] = {}
    for one in took:
        bucket = bucket_of(AT, AT + one)
        buckets[bucket] = buckets.get(bucket, 0) + 1
    found, exact = percentile(buckets, share), took[int(share * 10_000)].total_seconds()
    assert found is not None
    assert abs(found / exact - 1) < 0.27


def test_percentiles_at_the_ends() -> None:
    assert percentile({}, 0.5) is None
    assert percentile({0: 2}, 0.5) == 0.0005
    assert percentile({len(BOUNDS): 1}, 0.95) == BOUNDS[-1] / 1e6
