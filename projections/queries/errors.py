"""What goes wrong with queries. The docstring is the default message."""

from typing import Final


class ReadModelUnavailable(Exception):
    """Postgres is away or too slow. The client should retry."""

    def __init__(self, message: str | None = None):
        super().__init__(message or self.__doc__)


class RowUnreadable(Exception):
    """A row can't be read by this build. Only the remedies can help, not another try.

    Args:
        what: such as "instance" with its id.
        problem: why.
    """

    def __init__(self, what: str, problem: object):
        super().__init__(f"{what} can't be read here ({problem}). {REMEDIES}")


REMEDIES: Final = (
    "A newer build has written its row, or the row was damaged: upgrade this process to the newest build of the"
    " installation; if it is that, run `orchestration verify`, and `orchestration rebuild` if it finds differences."
)
"""What to do about a row that can't be read."""


class ReadModelBehind(TimeoutError):
    """Postgres was started, and the projections have not caught up since. Reads wait for them."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)
