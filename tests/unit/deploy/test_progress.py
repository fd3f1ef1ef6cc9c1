"""The line that tells how far a long command is."""

import io
import logging

from deploy.progress import CLEAR, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_terminal_shows_how_far_it_is_and_how_long_it_takes() -> None:
    terminal, clock = Terminal(), Clock()
    progress = Progress("records", terminal, clock)
    progress.show(0, 1200)
    clock.now = 0.1
    progress.show(1, 1200)  # too early to be seen
    clock.now = 2.0
    progress.show(300, 1200, note="partition 3")
    clock.now = 4.0
    progress.show(5, 10, "rows")
    clock.now = 5.0
    progress.show(10, 10, "rows")
    progress.end("done")
    assert terminal.getvalue().split(CLEAR)[1:] == [
        "························   0%  0 of 1,200 records",
        "━━━━━━··················  25%  300 of 1,200 records, 6 s left  partition 3",
        "━━━━━━━━━━━━············  50%  5 of 10 rows",
        "━━━━━━━━━━━━━━━━━━━━━━━━ 100%  10 of 10 rows",
        "done\n",
    ]
    assert progress.seconds == 5.0


def test_a_file_shows_nothing() -> None:
    file = io.StringIO()
    progress = Progress("records", file, Clock())
    progress.show(1, 2)
    progress.clear()
    progress.end("done")
    assert file.getvalue() == ""


def test_a_new_note_is_shown_at_once() -> None:
    terminal, clock = Terminal(), Clock()
    progress = Progress("records", terminal, clock)
    progress.show(9, 10)
    progress.show(10, 10)
    progress.show(10, 10, note="making indexes")
    assert terminal.getvalue().split(CLEAR)[1:] == [
        "━━━━━━━━━━━━━━━━━━━━━━··  90%  9 of 10 records",
        "━━━━━━━━━━━━━━━━━━━━━━━━ 100%  10 of 10 records  making indexes",
    ]


def test_a_line_of_the_log_has_a_line_of_its_own() -> None:
    terminal = Terminal()
    progress = Progress("records", terminal, Clock())
    handler = logging.StreamHandler(terminal)
    handler.addFilter(progress.make_room)
    progress.show(1, 2)
    handler.handle(logging.makeLogRecord({"msg": "said"}))
    assert terminal.getvalue().endswith(f"1 of 2 records{CLEAR}said\n")


def test_a_terminal_that_is_gone_ends_nothing() -> None:
    class Gone(Terminal):
        def write(self, text: str) -> int:
            raise OSError("Input/output error")

    progress = Progress("records", Gone(), Clock())
    progress.show(1, 2)
    progress.clear()
