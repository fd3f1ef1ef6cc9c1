"""How far a long command is: one line on the terminal, which is written over again and again."""

import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

SHOW_SECONDS: Final = 0.2
"""Pause between two lines. A terminal takes longer for one than reading a batch of records does."""
BAR_CHARACTERS: Final = 24
CLEAR: Final = "\r\x1b[K"


class Progress:
    """A bar on standard error, if that is a terminal; else nothing.

    Args:
        unit: what is counted, such as `records`.
        stream: where it is shown.
        clock: seconds that never go back.
    """

    def __init__(self, unit: str, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic):
        self._unit, self._clock = unit, clock
        self._stream = sys.stderr if stream is None else stream
        self._visible = self._stream.isatty()
        self._began_at = clock()
        self._shown_at = -SHOW_SECONDS
        self._is_shown, self._note = False, ""
        self._counted: tuple[str, int] | None = None
        self._since, self._before = self._began_at, 0

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return self._clock() - self._began_at

    def show(self, done: int, total: int, what: str = "", note: str = "") -> None:
        """Show how far it is, unless that was done a moment ago, with the same note.

        Args:
            done: how much of it is done.
            total: how much there is. When it changes, or what is counted does, the time that is left is estimated
                again.
            what: is counted, where that changes on the way.
            note: what is done just now.
        """
        now = self._clock()
        if not self._visible or (now - self._shown_at < SHOW_SECONDS and note == self._note):
            return
        self._shown_at, self._is_shown, self._note = now, True, note
        if self._counted != (what, total):
            self._counted, self._since, self._before = (what, total), now, done
        share = done / total if total else 1.0
        bar = "━" * round(share * BAR_CHARACTERS)
        rate = (done - self._before) / (now - self._since) if now > self._since else 0.0
        left = f", {(total - done) / rate:,.0f} s left" if rate and done < total else ""
        told = f"{done:,} of {total:,} {what or self._unit}{left}{'  ' if note else ''}{note}"
        self._write(f"{CLEAR}{bar:·<{BAR_CHARACTERS}} {share:4.0%}  {told}")

    def clear(self) -> None:
        """Make room for other output."""
        if self._is_shown:
            self._is_shown = False
            self._write(CLEAR)

    def make_room(self, record: object) -> bool:
        """A filter for a handler of log records that go to the same terminal: all pass."""
        self.clear()
        return True

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:  # the terminal is gone, and the command goes on
            self._visible = self._is_shown = False

    def end(self, text: str) -> None:
        """Say in the end what was done, if anybody has watched."""
        self.clear()
        if self._visible:
            self._stream.write(f"{text}\n")
            self._stream.flush()
