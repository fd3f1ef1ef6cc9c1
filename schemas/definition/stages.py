"""A stage as it stands in a definition: an object whose one key is the stage's name.

`resolve_stage` makes it what runs; `stage_name` and `unresolved_input` are what the history shows, also of a stage
that can't be resolved.
"""

from collections.abc import Mapping
from typing import Any, Final

from schemas.definition.delay import Delay
from schemas.definition.errors import InvalidField, StageUnresolvable
from schemas.definition.noop import Noop
from schemas.definition.reading import ReadFields, read_object
from schemas.definition.send import Send
from schemas.definition.text import quoted
from schemas.definition.update import Update
from schemas.definition.wait_event import WaitEvent

ResolvedStage = Send | WaitEvent | Delay | Update | Noop

STAGES: Final[Mapping[str, type[ResolvedStage]]] = {
    "send": Send,
    "wait_event": WaitEvent,
    "delay": Delay,
    "update": Update,
    "noop": Noop,
}
"""By name."""


def read_stage(stage: object, variables: Mapping[str, str] | None) -> ResolvedStage:
    """Read a stage; with `variables` None it is checked as far as that goes without them, and the result means nothing.

    Raises:
        InvalidField: The stage, or a field of it, can't be read.
    """
    name, value, kind = stage_parts(stage)
    return kind.read(ReadFields((name,), read_object(value, (name,)), variables))


def stage_parts(stage: object) -> tuple[str, object, type[ResolvedStage]]:
    """The name of a stage, its value, and what it is.

    Raises:
        InvalidField: It is not an object with one key, or nothing is known of that name.
    """
    if not isinstance(stage, dict) or len(stage) != 1:
        raise InvalidField((), "must be an object with one key, the name of the stage")
    ((name, value),) = stage.items()
    kind = STAGES.get(name)
    if kind is None:
        raise InvalidField((), f"unknown stage {quoted(str(name))}")
    return name, value, kind


def resolve_stage(stage: Mapping[str, Any], variables: Mapping[str, str]) -> ResolvedStage:
    """Make a stage of a definition what runs: variables replaced, defaults filled in, everything checked again.

    Args:
        stage: The stage as in the definition, such as `{"delay": {"duration": "${n}s"}}`.
        variables: The instance's variables.

    Raises:
        StageUnresolvable: The stage fails; the message is its error and names the field.
    """
    try:
        return read_stage(stage, variables)
    except InvalidField as error:
        raise StageUnresolvable(str(error)) from None


def stage_name(stage: Mapping[str, Any]) -> str:
    """The name that the history gives a stage, such as `RunWaitEvent` for `{"wait_event": …}`."""
    kind = STAGES.get(next(iter(stage), ""))
    return "RunUnknown" if kind is None else kind.name


def unresolved_input(stage: Mapping[str, Any]) -> dict[str, Any]:
    """The `input` that the history shows of a stage that can't be resolved: its fields as given, `{}` for null."""
    fields = next(iter(stage.values()), None)
    return fields if isinstance(fields, dict) else {}
