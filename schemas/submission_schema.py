"""The JSON Schema (2020-12) of what other services append to `commands`, made from the commands themselves."""

from typing import Any, Final, get_args

import msgspec

from schemas.commands import HEADER_TEXT, Submission
from schemas.json_schema import DIALECT

TITLE: Final = "Submission"

Schema = dict[str, Any]


def submission_schema() -> Schema:
    """One document: any submission, and each by the header `type` of its record (`$defs`)."""
    kinds = get_args(Submission)
    references, described = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    return {
        "$schema": DIALECT,
        "title": TITLE,
        "description": "Value of a record that another service appends to topic `commands`. The record's header `type`"
        " names which of these it is, and its key is the id of the instance: see docs/intake.md.",
        "oneOf": list(references),
        "$defs": {name: _plain(schema) for name, schema in described.items()},
    }


def _plain(schema: Any) -> Any:
    """A schema with patterns as every dialect of regular expressions knows them, and texts on one line."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _plain(value) for key, value in schema.items()}
    if isinstance(key := plain.get("idempotency_key"), dict):
        plain["idempotency_key"] = _plain({**key, "pattern": HEADER_TEXT})
    if isinstance(pattern := plain.get("pattern"), str):
        plain["pattern"] = pattern.replace(r"\A", "^").replace(r"\Z", "$")
    if isinstance(text := plain.get("description"), str):
        plain["description"] = text.partition("\n")[0]
    return plain


def as_file() -> bytes:
    """The schema as a file."""
    return msgspec.json.format(msgspec.json.encode(submission_schema()), indent=2) + b"\n"
