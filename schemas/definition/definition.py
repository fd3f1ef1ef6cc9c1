"""A workflow's definition: its name and its stages."""

from collections.abc import Mapping
from typing import Any

import msgspec

from schemas.definition.errors import InvalidDefinition, InvalidField, located
from schemas.definition.fields import Fields
from schemas.definition.reading import ReadFields
from schemas.definition.stages import read_stage


class Definition(msgspec.Struct, frozen=True):
    """A workflow's definition: its name and the stages that its instances run, one after another.

    Attributes:
        name: What people call the workflow.
        stages: What an instance does, in order. Exactly as given: unknown fields are kept, `{"noop": null}` stays null.
        activity_max_attempts: How often an activity is tried before it is paused and waits until a person resumes it.
            When not given, a setting of the engine says it, and otherwise it is tried for ever.
    """

    name: str
    stages: list[dict[str, Any]]
    activity_max_attempts: int | None = None

    @classmethod
    def read(cls, fields: Fields) -> "Definition":
        """Read a definition but for what is in its stages; raises `InvalidField`."""
        return cls(fields.text("name"), fields.objects("stages"), fields.count("activityMaxAttempts"))


def parse_definition(value: object) -> Definition:
    """Check the body of a request that creates a workflow.

    Args:
        value: The decoded JSON or YAML: `{name?, stages: [...]}`; other keys are ignored.

    Raises:
        InvalidDefinition: No variables can make it run. The rules are the table of the contract, `workflows`,
            "Creating a workflow: what is checked". A number such as `10.5` or `10.0` is not an integer: JSON wrote it
            with a fraction, so it is of the wrong type.
    """
    try:
        definition = Definition.read(ReadFields((), definition_object(value), None))
    except InvalidField as error:
        raise InvalidDefinition(str(error)) from None
    for number, stage in enumerate(definition.stages):
        try:
            read_stage(stage, None)
        except InvalidField as error:
            raise InvalidDefinition(located(("stages", number, *error.path), error.reason)) from None
    return definition


def definition_object(value: object) -> Mapping[str, Any]:
    """The fields of a definition; raises `InvalidField`."""
    if not isinstance(value, dict):
        raise InvalidField((), "a workflow must be an object with a list of stages")
    return value
