"""Pauses before a process is started again."""

from deploy.pauses import MAX_PAUSE_SECONDS, STEADY_SECONDS, Pauses


def test_pauses_grow_up_to_a_limit_and_begin_again_behind_a_steady_run() -> None:
    pauses = Pauses()
    assert [pauses.after(1.0) for _ in range(7)] == [0.5, 1, 2, 4, 8, MAX_PAUSE_SECONDS, MAX_PAUSE_SECONDS]
    assert [pauses.after(seconds) for seconds in (STEADY_SECONDS, 1.0, STEADY_SECONDS, 1.0)] == [0.5, 1, 0.5, 1]
