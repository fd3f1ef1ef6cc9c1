"""How an operation of v2 differs from the same one of v1 (contract: `http-api`, Surface v2)."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from api.routing import Handler, Operation, Parameter


class Difference(Struct, frozen=True, kw_only=True):
    """Where an operation differs. What is not given is as in v1."""

    handler: Handler
    answer: Any
    """Type of the body of success."""
    parameters: tuple[Parameter, ...] | None = None
    errors: tuple[int, ...] | None = None


def in_v2(operations: Iterable[Operation], differences: Mapping[str, Difference]) -> tuple[Operation, ...]:
    """The operations of v1 as those of v2, in the same order.

    Args:
        operations: those of v1.
        differences: by the id that the operation has in v1.
    """
    return tuple(_in_v2(operation, differences.get(operation.id)) for operation in operations)


def _in_v2(original: Operation, difference: Difference | None) -> Operation:
    operation = replace(
        original,
        id=f"v2{original.id[0].upper()}{original.id[1:]}",
        path=f"/v2{original.path}",
        not_found_code="NOT_FOUND",
    )
    if difference is None:
        return operation
    return replace(
        operation,
        handler=difference.handler,
        answer=difference.answer,
        parameters=operation.parameters if difference.parameters is None else difference.parameters,
        errors=operation.errors if difference.errors is None else difference.errors,
    )
