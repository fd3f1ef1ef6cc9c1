"""Whether a commit is slower: noise of a seed, and what is said of it."""

import random

import pytest

from tests.performance.compare import NOISE_STATUS, SLOWER_STATUS, comparisons, lines, status, turns
from tests.performance.significance import MAX_PAIRS, MIN_PAIRS, Comparison, Verdict, compare

PAIRS = 10
SEEDS = range(40)


def rounds(
    seed: int, speed: float, noise: float, *, drift: float = 0.0, pairs: int = PAIRS
) -> tuple[list[float], list[float]]:
    """Throughput of the base, and of a head with this share of its speed.

    Args:
        seed: of the noise.
        speed: of the head.
        noise: standard deviation of a round, as a share.
        drift: that of the machine from one pair to the next.
        pairs: how many.
    """
    chance, machine = random.Random(seed), 1000.0
    base, head = list[float](), list[float]()
    for _ in range(pairs):
        machine *= 1 + chance.gauss(0, drift)
        base.append(machine * (1 + chance.gauss(0, noise)))
        head.append(machine * speed * (1 + chance.gauss(0, noise)))
    return base, head


def verdicts(speed: float, noise: float, **options: float) -> list[Verdict]:
    """What is said of some seeds."""
    return [
        compare(*rounds(seed, speed, noise, **options), more_is_better=True).verdict  # type: ignore[arg-type]
        for seed in SEEDS
    ]


def test_a_tenth_less_is_found() -> None:
    found = verdicts(0.90, 0.02)
    assert found.count(Verdict.SLOWER) >= 0.95 * len(SEEDS)
    assert Verdict.NOT_SLOWER not in found


def test_a_tenth_less_is_found_while_the_machine_drifts() -> None:
    found = verdicts(0.90, 0.02, drift=0.2)
    assert found.count(Verdict.SLOWER) >= 0.95 * len(SEEDS)
    assert Verdict.NOT_SLOWER not in found


def test_equal_ones_are_not_slower() -> None:
    found = verdicts(1.0, 0.02, drift=0.2)
    assert found.count(Verdict.NOT_SLOWER) >= 0.95 * len(SEEDS)
    assert Verdict.SLOWER not in found


def test_a_faster_one_is_not_slower() -> None:
    assert set(verdicts(1.2, 0.02)) == {Verdict.NOT_SLOWER}


@pytest.mark.parametrize("speed", [0.90, 1.0])
def test_noise_is_said(speed: float) -> None:
    found = verdicts(speed, 0.30)
    assert found.count(Verdict.UNKNOWN) >= 0.8 * len(SEEDS)
    assert (Verdict.NOT_SLOWER if speed < 0.95 else Verdict.SLOWER) not in found


def test_the_border_is_rarely_taken_for_slower() -> None:
    found = verdicts(0.95, 0.03)
    assert found.count(Verdict.SLOWER) <= 0.1 * len(SEEDS)


def test_a_round_in_which_something_else_ran_does_not_decide() -> None:
    base, head = rounds(3, 1.0, 0.01)
    head[4] /= 10
    assert compare(base, head, more_is_better=True).verdict is Verdict.NOT_SLOWER


def test_a_cost_is_turned_round() -> None:
    base, head = rounds(1, 1.2, 0.01)
    assert compare(base, head, more_is_better=False).verdict is Verdict.SLOWER
    assert compare(head, base, more_is_better=False).verdict is Verdict.NOT_SLOWER


def test_too_few_pairs_tell_nothing() -> None:
    base, head = rounds(1, 0.5, 0.0, pairs=MIN_PAIRS - 1)
    assert compare(base, head, more_is_better=True).verdict is Verdict.UNKNOWN
    base, head = rounds(1, 0.5, 0.0, pairs=MIN_PAIRS)
    assert compare(base, head, more_is_better=True).verdict is Verdict.SLOWER


def test_the_same_rounds_have_the_same_interval() -> None:
    base, head = rounds(1, 0.93, 0.05)
    assert compare(base, head, more_is_better=True) == compare(base, head, more_is_better=True)


def test_how_many_pairs_could_tell() -> None:
    noisy = Comparison(1, 1, 10, ratio=1.0, low=0.9, high=0.9**-1)
    assert noisy.verdict is Verdict.UNKNOWN
    assert noisy.pairs_needed is not None
    assert 10 < noisy.pairs_needed <= MAX_PAIRS
    assert Comparison(1, 1, 10, ratio=0.951, low=0.7, high=1.3).pairs_needed is None
    assert Comparison(1, 1, 10, ratio=0.95, low=0.9, high=1.0).pairs_needed is None


def test_turns_alternate() -> None:
    assert list(turns(3)) == [(0, 0), (0, 1), (1, 1), (1, 0), (2, 0), (2, 1)]


def figures(*values: list[float]) -> list[dict[str, float]]:
    """Rounds with a speed and a cost."""
    speeds, costs = values
    return [{"noop, per s": speed, "CPU ms of ours": cost} for speed, cost in zip(speeds, costs, strict=True)]


@pytest.mark.parametrize(
    ("speed", "noise", "ends", "told"),
    [
        (1.0, 0.01, 0, "no figure of the head is more than 5 % slower"),
        (0.9, 0.01, SLOWER_STATUS, "the head is more than 5 % slower"),
        (1.0, 0.5, NOISE_STATUS, "the noise is too large to tell whether the head is more than 5 % slower"),
    ],
)
def test_the_exit_status_and_what_is_told(speed: float, noise: float, ends: int, told: str) -> None:
    base, head = rounds(1, speed, noise)
    costs, same = rounds(2, 1.0, 0.005)
    found = comparisons((figures(base, costs), figures(head, same)))
    assert found["CPU ms of ours"].verdict is Verdict.NOT_SLOWER
    assert status(found) == ends
    shown = list(lines(found))
    assert shown[-1].strip() == told
    assert ("too noisy" in shown[1]) is (ends == NOISE_STATUS)


def test_what_is_slower_counts_more_than_what_cannot_be_told() -> None:
    slower, unknown = Comparison(1, 1, 10, 0.8, 0.7, 0.9), Comparison(1, 1, 10, 1.0, 0.8, 1.2)
    assert status({"a": unknown, "b": slower}) == SLOWER_STATUS
