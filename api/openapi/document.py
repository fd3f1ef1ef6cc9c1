"""Operations as an OpenAPI 3.1 document."""

from collections.abc import Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final, get_origin

import msgspec

from api.routing import Operation, Parameter
from schemas.resources import Data, Error, Paged

ALWAYS: Final = (405, 500, 503)
"""Statuses that every operation can answer beside its own."""

HEADERS: Final = {401: "WWW-Authenticate", 403: "WWW-Authenticate", 405: "Allow", 503: "Retry-After"}
"""The header that an error has beside its body."""

MEANINGS: Final = {
    400: "The request is wrong, or does not fit what there is.",
    401: "There is no token, or not a good one.",
    403: "The token lacks a scope.",
    404: "What the path names does not exist, or is deleted.",
    405: "The path takes other methods.",
    409: "The request does not fit what there is now, often since somebody else was faster.",
    413: "The body is too large.",
    500: "A fault.",
    503: "The server is busy, or Kafka or Postgres is away.",
}
"""What an error means, by its status."""
UNKNOWN: Final = " The request may have been carried out, or may be later: repeat it with the same Idempotency-Key."
"""What a fault means beside that, where something is changed."""

EVENT_STREAM: Final = "text/event-stream"

Json = dict[str, Any]


def document(base_path: str, operations: Sequence[Operation]) -> Json:
    """The description.

    Args:
        base_path: where the operations live.
        operations: all of them.
    """
    schemas = _Schemas(operations)
    paths: dict[str, Json] = {}
    for operation in operations:
        described = _operation(operation, schemas)
        paths.setdefault(base_path + operation.path, {})[operation.method.lower()] = described
    components: Json = {"schemas": schemas.components}
    if any(_takes_token(operation) for operation in operations):
        components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Orchestration", "version": version("orchestration")},
        "paths": paths,
        "components": components,
    }


class _Schemas:
    """JSON Schemas of all types that operations use; structs become components."""

    def __init__(self, operations: Sequence[Operation]):
        used: list[Any] = [Error]
        for operation in operations:
            used += [parameter.type for parameter in operation.parameters]
            used += [operation.body, _unwrapped(operation.answer), *map(_unwrapped, operation.also.values())]
        types = [kind for kind in used if kind is not None and not isinstance(kind, dict)]
        schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
        self._by_type = list(zip(types, schemas, strict=True))
        self.components: Json = dict(components)

    def of(self, kind: Any) -> Json:
        """The schema of a type. A schema is returned as it is; one with a title becomes a component."""
        if isinstance(kind, dict):
            if "title" not in kind:
                return kind
            self.components[kind["title"]] = kind
            return {"$ref": f"#/components/schemas/{kind['title']}"}
        if get_origin(kind) in _ENVELOPES:
            name, inner = msgspec.structs.fields(kind)[0].name, self.of(_unwrapped(kind))
            return {"type": "object", "properties": {name: inner}, "required": [name], "additionalProperties": False}
        return next(schema for known, schema in self._by_type if known == kind)


_ENVELOPES: Final = (Data, Paged)
"""They have one field."""


def _unwrapped(kind: Any) -> Any:
    """What an envelope holds; any other type is its own."""
    return msgspec.structs.fields(kind)[0].type if get_origin(kind) in _ENVELOPES else kind


def _operation(operation: Operation, schemas: _Schemas) -> Json:
    successes = {operation.status: operation.answer, **operation.also}
    answers: Json = {
        str(status): _success(operation, status, answer, schemas) for status, answer in sorted(successes.items())
    }
    for status in sorted({*operation.errors, *ALWAYS}):
        answers[str(status)] = _error(operation, status, schemas)
    described: Json = {
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": [_parameter(parameter, schemas) for parameter in operation.parameters],
        "responses": answers,
    }
    if _takes_token(operation):
        described["security"] = [{"bearer": []}]
    if operation.body is not None:
        schema = schemas.of(operation.body)
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {media_type: {"schema": schema} for media_type in operation.body_types},
        }
    return described


def _takes_token(operation: Operation) -> bool:
    return 401 in operation.errors


def _parameter(parameter: Parameter, schemas: _Schemas) -> Json:
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.where == "path",
        "description": parameter.description,
        "schema": schemas.of(parameter.type),
    }


def _success(operation: Operation, status: int, body: Any, schemas: _Schemas) -> Json:
    answer: Json = {"description": HTTPStatus(status).phrase}
    if operation.streams:
        answer["content"] = {EVENT_STREAM: {"schema": _messages(operation, schemas)}}
    elif body is not None:
        answer["content"] = {"application/json": {"schema": schemas.of(body)}}
    return answer


def _messages(operation: Operation, schemas: _Schemas) -> Json:
    """The text of a stream, and what the data of its messages are."""
    return {
        "type": "string",
        "description": "Server-sent events. `contentSchema` is about the data of the event `instance`.",
        "contentMediaType": "application/json",
        "contentSchema": schemas.of(operation.answer),
    }


def _error(operation: Operation, status: int, schemas: _Schemas) -> Json:
    is_unknown = status >= 500 and any(parameter.name == "Idempotency-Key" for parameter in operation.parameters)
    answer: Json = {
        "description": MEANINGS[status] + (UNKNOWN if is_unknown else ""),
        "content": {"application/json": {"schema": schemas.of(Error)}},
    }
    if status in HEADERS:
        answer["headers"] = {HEADERS[status]: {"schema": {"type": "string"}}}
    return answer
