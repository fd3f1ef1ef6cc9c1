"""`link(event, "rel")`: which URI it means. Fetching is for the caller, see `Expression.evaluate`."""

from typing import Any

import msgspec

from schemas.expressions.errors import EvaluationError
from schemas.expressions.limits import Budget
from schemas.expressions.operators import type_name


class LinkAnswer(msgspec.Struct, frozen=True):
    """What came of fetching a link.

    Attributes:
        data: the `data` of the answer, decoded JSON.
        error: why there is no data; `link()` then fails with this message.
        may_pass: whether another attempt could succeed.
    """

    data: Any = None
    error: str | None = None
    may_pass: bool = False


def find_link(arguments: list[Any], budget: Budget) -> str:
    """The URI of the one entry of `links` with the name; raises EvaluationError if it is missing or doubled."""
    if len(arguments) != 2:
        raise EvaluationError(f"expect two arguments, got {len(arguments)}")
    resource, name = arguments
    if not isinstance(name, str):
        raise EvaluationError("second parameter must be a string")
    if resource is not None and not isinstance(resource, dict):
        raise EvaluationError(f"link takes an object, got {type_name(resource)}")
    links = (resource or {}).get("links")
    budget.spend(len(links) if isinstance(links, list) else 0)
    entries = [link for link in links if isinstance(link, dict)] if isinstance(links, list) else []
    uris = [entry.get("uri") for entry in entries if entry.get("name") == name]
    if not uris:
        raise EvaluationError(f"link '{name}' not defined for object")
    if len(uris) > 1:
        raise EvaluationError(f"multiple link '{name}' found for object")
    if not isinstance(uris[0], str):
        raise EvaluationError(f"link '{name}' has no uri")
    return uris[0]
