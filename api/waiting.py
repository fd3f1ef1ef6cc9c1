"""How many requests may be in progress at once."""


class Admission:
    """A cap on requests in progress: one more is refused, so that they don't pile up in an outage.

    Args:
        limit: most at once.
    """

    def __init__(self, limit: int):
        self._limit = limit
        self.waiting = 0

    def enter(self) -> bool:
        """Let a request in; `leave` must follow. False when the limit is reached."""
        if self.waiting >= self._limit:
            return False
        self.waiting += 1
        return True

    def leave(self) -> None:
        """A request is done."""
        self.waiting -= 1
