"""Why a comparison can't be made. `ReadModelMoved` is met again by trying again."""

from projections.errors import ProjectionsError


class CannotVerify(ProjectionsError):
    """Log and read model can't be compared. The message says why."""


class ReadModelMoved(CannotVerify):
    """The read model was replaced or went back to older data while it was looked at. Try again."""
