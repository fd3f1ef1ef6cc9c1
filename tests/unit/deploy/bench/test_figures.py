"""Quantiles, histograms and throughput of a round."""

import itertools

import pytest

from deploy.bench.figures import Bucket, Figures, histogram, quantile


def test_quantiles() -> None:
    ordered = [number / 1000 for number in range(1, 101)]
    assert [quantile(ordered, q) for q in (0.5, 0.99, 1.0)] == [51, 100, 100]
    assert quantile([], 0.5) == 0


def test_throughput_is_that_of_whole_seconds() -> None:
    figures = Figures("", [0.0] * 5, 2.4, ends=[0.1, 0.9, 1.0, 1.99, 2.3])
    assert figures.throughput() == [2, 2]
    assert figures.per_second == pytest.approx(5 / 2.4)


def test_a_histogram_has_all_requests_and_no_empty_ends() -> None:
    found = histogram([0.001, 0.00101, 0.010, 0.0101])
    assert found[0] == Bucket(1.0, 1.122, 2)
    assert found[-1] == Bucket(10.0, 11.2202, 2)
    assert len(found) == 21
    assert sum(bucket.requests for bucket in found) == 4
    assert all(one.upper == other.lower for one, other in itertools.pairwise(found))
    assert histogram([]) == []


@pytest.mark.parametrize("latency", [0.0, 1e-9, 0.0009999999, 0.1, 59.99])
def test_a_single_latency_is_in_its_bucket(latency: float) -> None:
    (bucket,) = histogram([latency])
    assert bucket.requests == 1
    assert bucket.lower < bucket.upper
