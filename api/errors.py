"""What goes wrong with a request: status, error code and message (contract: `http-api`, Errors).

An operation raises one of these; `routing` answers it. Messages are for people.
"""

from typing import ClassVar, Final

from schemas.error_texts import BoundedError, cut_error
from schemas.resources import ErrorCode

REPEAT: Final = "repeat it with the same Idempotency-Key; without a key, a repetition would be a second request"
"""What whoever does not learn the outcome of a request is told. Money would move twice otherwise."""


class ApiError(BoundedError):
    """A request that is answered with an error."""

    status: ClassVar[int] = 500
    code: ClassVar[ErrorCode] = "INTERNAL"

    def __init__(self, message: str = "internal error"):
        super().__init__(message)
        self.message = str(self)


class Invalid(ApiError):
    """The request is malformed, or not allowed in the present state."""

    status = 400
    code = "VALIDATION"


class MalformedBody(Invalid):
    """The body can't be decoded.

    Attributes:
        problem: What is wrong, without the place.
        line: Where, from 1 on; 0 if that is not known.
        column: Likewise, in characters.
    """

    def __init__(self, problem: str, line: int = 0, column: int = 0, message: str = ""):
        super().__init__(message or problem)
        self.problem = cut_error(problem)
        self.line = line
        self.column = column


class InstanceEnded(Invalid):
    """The instance has ended: it takes no event, and an abort changes nothing."""

    def __init__(self, message: str = "the instance has ended"):
        super().__init__(message)


class NotFound(ApiError):
    """What the path names does not exist. The code depends on the operation (`Operation.not_found_code`)."""

    status = 404
    code = "NOT_FOUND"


class Conflict(ApiError):
    """What the request wants is not what there is any more."""

    status = 409
    code = "CONFLICT"


class NotAllowed(ApiError):
    """The path exists, with other methods."""

    status = 405
    code = "VALIDATION"


class TooLarge(ApiError):
    """The body is over the limit."""

    status = 413
    code = "VALIDATION"


class Fault(ApiError):
    """A fault of ours."""


class Unavailable(ApiError):
    """Kafka, Postgres or a process behind them is away, or too many requests wait. The client should try again."""

    status = 503


class CommandLogUnavailable(Unavailable):
    """The command was not acknowledged. It may have been appended all the same, unless the message says otherwise."""


class CommandsCut(CommandLogUnavailable):
    """The log of commands has lost some that were decided, so a new one would be taken for one of those."""

    def __init__(self) -> None:
        super().__init__(
            "the request was not carried out: the log of commands was cut, and an operator has to repair it"
        )


class CommandsLost(CommandLogUnavailable):
    """The log of commands has lost some of which nothing more is known, and a new one stands in the place of one."""

    def __init__(self) -> None:
        super().__init__(
            "nobody can tell whether the request will be carried out, since the log of commands was cut: "
            "look before you send it again"
        )


class ClientGone(Exception):
    """The client closed the connection before its body was complete, so an answer would reach nobody."""
