"""A workflow's definition: its name and its stages."""

from typing import Any

import msgspec

from schemas.definition.errors import InvalidDefinition, InvalidField
from schemas.definition.stages import read_stage


class Definition(msgspec.Struct, frozen=True):
    """A definition that was checked.

    Attributes:
        name: `""` when not given.
        stages: Exactly as given: unknown fields are kept, `{"noop": null}` stays null.
    """

    name: str
    stages: list[dict[str, Any]]


def parse_definition(value: object) -> Definition:
    """Check the body of a request that creates a workflow.

    Args:
        value: The decoded JSON or YAML: `{name?, stages: [...]}`; other keys are ignored.

    Raises:
        InvalidDefinition: No variables can make it run. The rules are the table of the contract, `workflows`,
            "Creating a workflow: what is checked". A number such as `10.5` or `10.0` is not an integer: JSON wrote it
            with a fraction, so it is of the wrong type.
    """
    if not isinstance(value, dict):
        raise InvalidDefinition("a workflow must be an object with a list of stages")
    name = value.get("name")
    if name is not None and not isinstance(name, str):
        raise InvalidDefinition("name: must be a string")
    stages = value.get("stages")
    if not isinstance(stages, list):
        raise InvalidDefinition("stages: is required" if stages is None else "stages: must be a list")
    for number, stage in enumerate(stages):
        try:
            read_stage(stage, None)
        except InvalidField as error:
            raise InvalidDefinition(f"stages[{number}]{'.' if error.path else ': '}{error}") from None
    return Definition(name or "", stages)
