"""The JSON Schema of a workflow's definition: what `schemas.definition.parse_definition` accepts.

A required text that holds `${name}` may turn out to be anything, so each such schema also takes a text with a
reference. An optional field may be null (contract: `workflows`, "Creating a workflow: what is checked").
"""

from typing import Any, Final

Schema = dict[str, Any]

_REFERENCE: Final = r"\$\{[^}]+\}"
_NULL: Schema = {"type": "null"}


def _text(*patterns: str) -> Schema:
    """A text with a reference, or one that matches one of the patterns."""
    return {"type": "string", "pattern": "|".join((*patterns, _REFERENCE))}


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}


def _optional(schema: Schema) -> Schema:
    return {"anyOf": [_NULL, schema]}


def _one_of(**kinds: Schema) -> Schema:
    """An object with one of several keys; the others are missing or null."""
    return {
        "anyOf": [
            _object((given,), **{kind: kinds[kind] if kind == given else _NULL for kind in kinds}) for given in kinds
        ]
    }


def _one_text_of(common: Schema, **texts: Schema) -> Schema:
    """An object with one of several texts; the others are missing, null, empty, or references that may become empty."""
    absent = _optional({"type": "string", "pattern": rf"^({_REFERENCE})*$"})
    return {
        "anyOf": [
            _object((given,), **common, **{name: texts[name] if name == given else absent for name in texts})
            for given in texts
        ]
    }


_ANY_TEXT: Schema = {"type": ["string", "null"]}
_REQUIRED_TEXT: Schema = {"type": "string", "minLength": 1}
_TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_BOOLEAN: Schema = {
    "anyOf": [{"type": ["boolean", "null"]}, _text("^$", "^[tT][rR][uU][eE]$", "^[fF][aA][lL][sS][eE]$")]
}
_AMOUNT: Schema = {"anyOf": [{"type": "integer", "minimum": 0}, _text(r"^\+?[0-9]{1,1000}$")]}
_INSTANT: Schema = {"anyOf": [{"type": "string", "format": "date-time"}, _text()]}
_DURATION: Final = _text(
    r"^[-+]?0$", r"^[-+]?([0-9]{1,9}(\.[0-9]{1,9})?(ns|us|µs|ms|s)|[0-9]{1,5}(\.[0-9]{1,9})?(m|h)){1,4}$"
)
_TRANSFER_TYPE: Schema = {
    "anyOf": [_NULL, _text("^$", "^[tT][rR][aA][nN][sS][fF][eE][rR]$", "^[pP][aA][yY][oO][uU][tT]$")]
}

_ACCOUNT: Final = _object(
    ("id",), id=_REQUIRED_TEXT, ledger=_ANY_TEXT, throughAccount=_ANY_TEXT, allowOverdraft=_BOOLEAN
)
_WALLET: Final = _one_text_of({"balance": _ANY_TEXT}, id=_REQUIRED_TEXT, name=_REQUIRED_TEXT)
_PAYMENT_SOURCE: Final = _object(
    ("id",),
    id=_REQUIRED_TEXT,
    throughAccount=_ANY_TEXT,
    allowOverdraft=_BOOLEAN,
    ledger=_ANY_TEXT,
    holdingAccount=_ANY_TEXT,
)
_PAYMENT_DESTINATION: Final = _object(
    ("psp",),
    psp=_REQUIRED_TEXT,
    type=_TRANSFER_TYPE,
    metadata=_ANY_TEXT,
    waitingValidation=_BOOLEAN,
    sourceAccount=_ANY_TEXT,
    connectorId=_ANY_TEXT,
)
_ACCOUNT_OR_WALLET: Schema = {
    "anyOf": [
        _object(("account",), account=_ACCOUNT, wallet=_NULL, payment=_NULL),
        _object(("wallet",), account=_NULL, wallet=_WALLET, payment=_NULL),
    ]
}
_MONEY: Final = _object(("amount", "asset"), amount=_AMOUNT, asset=_REQUIRED_TEXT)
_SEND_COMMON: Schema = {
    "metadata": _optional(_TEXTS),
    "timestamp": {"anyOf": [_NULL, {"const": ""}, _INSTANT]},
}
_SEND: Schema = {
    "anyOf": [
        _object(
            ("source", "destination", "amount"),
            source=_ACCOUNT_OR_WALLET,
            destination=_one_of(account=_ACCOUNT, wallet=_WALLET, payment=_PAYMENT_DESTINATION),
            amount=_MONEY,
            **_SEND_COMMON,
        ),
        _object(
            ("source", "destination"),
            source=_object(("payment",), account=_NULL, wallet=_NULL, payment=_PAYMENT_SOURCE),
            destination=_ACCOUNT_OR_WALLET,
            amount=_optional(_MONEY),
            **_SEND_COMMON,
        ),
    ]
}
_STAGES: dict[str, Schema] = {
    "send": _SEND,
    "wait_event": _object(("event",), event=_REQUIRED_TEXT),
    "delay": _one_text_of({}, duration=_DURATION, until=_INSTANT),
    "update": _object(
        ("account",),
        account=_object(("id", "metadata"), id=_REQUIRED_TEXT, ledger=_ANY_TEXT, metadata=_TEXTS),
    ),
    "noop": _optional(_object()),
}

DEFINITION: Schema = {
    **_object(
        ("stages",),
        name=_ANY_TEXT,
        stages={
            "type": "array",
            "items": {
                "oneOf": [
                    {"type": "object", "properties": {name: schema}, "required": [name], "additionalProperties": False}
                    for name, schema in _STAGES.items()
                ]
            },
        },
    ),
    "title": "WorkflowDefinition",
    "description": "A workflow's definition. Unknown fields of a stage are kept.",
}
"""Of the body of a request that creates a workflow."""
