"""What the plans of all pairs share: a plan is a generator of activities that is sent their outcomes.

    account = yield from call(get_account(...))   # the answer, or the stage fails with the activity's error

Plans are replayed from the recorded outcomes, so they must be pure: same outcomes, same activities.
"""

from collections.abc import Generator, Mapping
from typing import Any, Protocol, TypeVar

import msgspec

from engine.core.errors import StageFailed
from schemas.activities import Activity
from schemas.definition import Amount

_T = TypeVar("_T")


class Outcome(Protocol):
    """How an activity ended, as it was recorded.

    Attributes:
        output: The stack's answer (JSON); None if it has no body.
        error: Why it failed for good, None if it succeeded.
        code: The stack's `errorCode` of that failure, None if it sent none.
    """

    @property
    def output(self) -> Any: ...  # noqa: D102 - see above

    @property
    def error(self) -> str | None: ...  # noqa: D102 - see above

    @property
    def code(self) -> str | None: ...  # noqa: D102 - see above


Plan = Generator[Activity, Outcome, _T]


class Move(msgspec.Struct, frozen=True):
    """What goes from one end to the other.

    Attributes:
        amount: How much.
        metadata: The user's, for every transaction, debit and credit.
        timestamp: Likewise, RFC 3339; `""` if not given.
    """

    amount: Amount
    metadata: Mapping[str, str]
    timestamp: str


def call(activity: Activity) -> Plan[Any]:
    """Run an activity; the result is its output. The stage fails with the activity's error."""
    outcome = yield activity
    if outcome.error is not None:
        raise StageFailed(outcome.error)
    return outcome.output


def answered(answer: Any, activity: str, *path: str, kind: type[_T]) -> _T:
    """A value inside an answer of the stack.

    Raises:
        StageFailed: It is missing, empty or of another type. Going on without it would move money to an account or
            wallet without a name.
    """
    value = answer
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    if type(value) is not kind or value == "":
        raise StageFailed(f"{activity}: the stack's answer has no usable {'.'.join(path)}")
    return value
