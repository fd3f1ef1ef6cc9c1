"""The JSON Schema of scenario files, for editors."""

from typing import Any

import msgspec

from deploy.scenarios.model import ScenarioFile
from schemas.json_schema import DIALECT


def schema() -> dict[str, Any]:
    """The schema, made of the model."""
    made = msgspec.json.schema(ScenarioFile)
    known: dict[str, Any] = _plain(made)
    return {"$schema": DIALECT, "title": "Scenarios of a workflow", **known}


def as_file() -> bytes:
    """As it is kept beside this module: a test compares the two."""
    return msgspec.json.format(msgspec.json.encode(schema()), indent=2) + b"\n"


def _plain(value: Any) -> Any:
    """Without what other regular expressions don't know, and without defaults that stand for `not given`."""
    if isinstance(value, dict):
        kept = {key: _plain(one) for key, one in value.items() if not (key == "default" and one in (None, {}, []))}
        if isinstance(kept.get("pattern"), str):
            kept["pattern"] = kept["pattern"].replace(r"\Z", "$")
        return kept
    return [_plain(one) for one in value] if isinstance(value, list) else value
