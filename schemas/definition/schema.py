"""The JSON Schema (2020-12) of a workflow's definition, made from what the stages read (`describing`)."""

from typing import Any, Final

from schemas.definition.definition import Definition
from schemas.definition.describing import Schema, describe
from schemas.definition.fields import Readable
from schemas.definition.stages import STAGES
from schemas.json_schema import DIALECT

TITLE: Final = "WorkflowDefinition"


def definition_schema() -> Schema:
    """What creation accepts, for editors and other tools: one document with definitions (`$defs`).

    It accepts unknown fields, as creation does. It refuses a few texts of sizes that nobody needs (`patterns`), and
    can't tell `10.0`, which creation refuses as an amount, from `10`.
    """
    described: dict[str, Schema] = {}

    def refer(kind: type[Readable]) -> Schema:
        name = kind.__name__
        if name not in described:
            described[name] = {}  # so that a class inside of itself would end
            described[name] = describe(kind, refer)
        return {"$ref": f"#/$defs/{name}"}

    schema = _definition(describe(Definition, refer), {name: refer(kind) for name, kind in STAGES.items()}, described)
    return {"$schema": DIALECT, "title": TITLE} | schema | {"$defs": dict(sorted(described.items()))}


def inlined_schema() -> Schema:
    """The same without definitions, for documents that have others at their root."""
    schema = definition_schema()
    inlined = _inlined(schema, schema["$defs"])
    return {key: value for key, value in inlined.items() if key not in ("$schema", "$defs")}


def _definition(schema: Schema, stages: dict[str, Schema], described: dict[str, Schema]) -> Schema:
    items = []
    for name, reference in stages.items():
        about = described[reference["$ref"].rpartition("/")[2]]
        # Null counts as an object without fields.
        value = reference if about.get("required") or "anyOf" in about else {"anyOf": [{"type": "null"}, reference]}
        items.append({
            "description": about["description"],
            "type": "object",
            "properties": {name: value},
            "required": [name],
            "additionalProperties": False,
        })  # fmt: skip
    schema["properties"]["stages"]["items"] = {"oneOf": items}
    return schema


def _inlined(value: Any, described: dict[str, Schema]) -> Any:
    if isinstance(value, list):
        return [_inlined(item, described) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        target = described[value["$ref"].rpartition("/")[2]]
        return _inlined(target | {key: item for key, item in value.items() if key != "$ref"}, described)
    return {key: _inlined(item, described) for key, item in value.items()}
