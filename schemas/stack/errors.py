"""What can go wrong with a call of the stack."""

from schemas.error_texts import BoundedError


class CallFailed(BoundedError):
    """Base of these errors. The message is what the history shows.

    Attributes:
        status: HTTP status of the stack's answer; None without an answer.
        code: the stack's errorCode, if it sent one.
    """

    def __init__(self, error: str, status: int | None = None, code: str | None = None):
        super().__init__(error)
        self.status = status
        self.code = code


class NotSendable(CallFailed):
    """The input makes no valid request. No attempt could succeed, so this counts as refused by the stack."""

    def __init__(self, error: str):
        super().__init__(error, code="VALIDATION")


class NoAnswer(CallFailed):
    """The stack was not reached, or did not answer in time or in full. Nobody knows whether it did what it was told."""


class NoToken(CallFailed):
    """No access token for the stack could be had."""


class Refused(CallFailed):
    """The stack answered with an error."""


class Withdrawn(CallFailed):
    """The request was not sent: while it waited for a token or a connection, whoever wanted it changed their mind."""


class Unreadable(CallFailed):
    """The stack reports success, but its answer is not what the contract says."""
