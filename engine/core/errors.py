"""Errors of the core. The type decides what happens."""

from schemas.error_texts import BoundedError


class CoreError(BoundedError):
    """Base of all errors that decisions raise."""


class Rejected(CoreError):
    """A command changes nothing, for a reason that its sender is told. `code` is one of `schemas.rejections`."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = str(self)


class StageFailed(CoreError):
    """The running stage ends with this text as its error."""


class IllegalTransition(CoreError):
    """An event does not follow from the state: the log or the code is corrupt. Nothing was changed."""


class SnapshotUnreadable(CoreError):
    """A snapshot is not whole, or not of this build. What was read of it must not be used."""


class TooManySetAside(CoreError):
    """So many aggregates do not fold that the build or the log is wrong, and not an aggregate."""
