"""Names in place of ids: a name is taken wherever an id is, if it is the only one."""

import json
from typing import Final
from uuid import UUID

from deploy.client.connection import Api
from deploy.client.errors import NotUnique, Refused
from deploy.client.parsing import not_empty

SHOWN_IDS: Final = 5
"""How many of the ids that a name stands for are told."""


async def workflow_id(api: Api, text: str) -> str:
    """The id of the workflow that a text means. One without a name has no other.

    Raises:
        UsageError: the text is empty.
        NotUnique: several workflows have this name.
        Refused: none has.
    """
    return parse_id(not_empty("the workflow", text)) or _only(
        "workflow", text, [item["id"] async for item in api.pages("workflows") if item["config"]["name"] == text]
    )


async def trigger_id(api: Api, text: str) -> str:
    """The id of the trigger that a text means; raises as `workflow_id` does."""
    return parse_id(not_empty("the trigger", text)) or _only(
        "trigger", text, [item["id"] async for item in api.pages("triggers", name=text) if item["name"] == text]
    )


def instance_id(text: str) -> str:
    """The id of an instance, which has no name.

    Raises:
        Refused: the text is not an id.
    """
    found = parse_id(text)
    if found is None:
        raise Refused(f"{_quoted(text)} is not the id of an instance, and instances have no names")
    return found


def parse_id(text: str) -> str | None:
    """The id that a text is, also if it is written in capitals."""
    try:
        return str(UUID(text))
    except ValueError:
        return None


def _only(kind: str, name: str, ids: list[str]) -> str:
    if not ids:
        raise Refused(f"no {kind} has the id or name {_quoted(name)}")
    if len(ids) > 1:
        shown = ", ".join(ids[:SHOWN_IDS]) + (" …" if len(ids) > SHOWN_IDS else "")
        raise NotUnique(f"{len(ids)} {kind}s have the name {_quoted(name)}: give one of the ids {shown}")
    return ids[0]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
