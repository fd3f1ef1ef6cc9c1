"""The body that creates a trigger: fields, then expressions (contract: `triggers-and-events`, Trigger resource).

An optional field that is null was not given. Messages begin with the field they are about.
"""

from typing import Any, Final

from msgspec import Struct

from api.errors import Invalid
from schemas.expressions import Expression, ExpressionSyntaxError, turns
from schemas.expressions.limits import MAX_TRIGGER_PATTERN_STEPS, excess

_FIELDS: Final = {field.lower(): field for field in ("name", "event", "version", "workflowID", "filter", "vars")}


class NewTrigger(Struct, frozen=True, kw_only=True):
    """A trigger as its author wrote it; what was not given is None."""

    name: str
    event: str
    version: str | None
    workflow_id: str
    filter: str | None
    vars: dict[str, str] | None


def read_trigger(body: Any) -> NewTrigger:
    """The trigger of a decoded body. Its expressions are not compiled yet, its workflow may be unknown.

    Raises:
        Invalid: the body is not an object, or a field is missing, of another type or in other letters.
    """
    if not isinstance(body, dict):
        raise Invalid("the body must be an object with an event and a workflowID")
    for name in body:
        # The reference reads these in any case. Without its `Filter`, the trigger would fire for every message.
        meant = _FIELDS.get(name.lower(), name)
        if name != meant:
            raise Invalid(f"{meant}: must be written like this, not {name}")
    return NewTrigger(
        name=_text(body, "name") or "",
        event=_required(body, "event"),
        version=_text(body, "version"),
        workflow_id=_required(body, "workflowID"),
        filter=_text(body, "filter"),
        vars=_texts(body, "vars"),
    )


async def check_expressions(trigger: NewTrigger) -> None:
    """Compile the filter, unless it is empty, and the variables.

    Raises:
        Invalid: one does not compile (the message is the compiler's), or they are too large together.
    """
    if problem := excess(trigger.filter, trigger.vars or {}):
        raise Invalid(f"vars: {problem}")
    expressions = {f"vars.{name}": text for name, text in (trigger.vars or {}).items()}
    if trigger.filter:
        expressions["filter"] = trigger.filter
    # Compiling takes up to a second in all, which no other request may wait for.
    await turns.beside(_compile, expressions)


def _compile(expressions: dict[str, str]) -> None:
    pattern_steps = 0
    for field, text in expressions.items():
        try:
            pattern_steps += Expression(text).compile()
        except ExpressionSyntaxError as error:
            raise Invalid(f"{field[:100]}: {error}") from None
        if pattern_steps > MAX_TRIGGER_PATTERN_STEPS:
            raise Invalid("the patterns of the filter and the variables together are too large")


def _required(body: dict[str, Any], field: str) -> str:
    value = _text(body, field)
    if not value:
        raise Invalid(f"{field}: must not be empty")
    return value


def _text(body: dict[str, Any], field: str) -> str | None:
    value = body.get(field)
    if value is not None and not isinstance(value, str):
        raise Invalid(f"{field}: must be a string")
    return value


def _texts(body: dict[str, Any], field: str) -> dict[str, str] | None:
    value = body.get(field)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Invalid(f"{field}: must be an object of expressions")
    for name, text in value.items():
        if not isinstance(text, str):
            raise Invalid(f"{field}.{name[:100]}: must be a string")
    return value
