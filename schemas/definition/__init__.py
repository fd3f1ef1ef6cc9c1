"""Workflow definitions: what is checked at creation, and stages made ready to run. Pure: no IO, no clock.

| module | holds |
|---|---|
| `definition` | `parse_definition`: the body of a request that creates a workflow |
| `stages` | `resolve_stage`: a stage of a definition, with an instance's variables, as what runs |
| `send`, `ends`, `wait_event`, `delay`, `update`, `noop` | the stages: how each is read and shown |
| `fields` | reading one object of a stage, with or without variables |
| `text`, `durations`, `instants` | `${name}`, Go's durations, RFC 3339 |

Contract: `workflows`.
"""

from schemas.definition.definition import Definition, parse_definition
from schemas.definition.delay import Delay
from schemas.definition.durations import format_duration, parse_duration
from schemas.definition.ends import AccountEnd, PaymentDestination, PaymentSource, WalletEnd
from schemas.definition.errors import InvalidDefinition, StageUnresolvable
from schemas.definition.instants import format_instant, parse_instant
from schemas.definition.noop import Noop
from schemas.definition.send import Amount, Destination, Send, Source
from schemas.definition.stages import ResolvedStage, resolve_stage, stage_name, unresolved_input
from schemas.definition.update import Update
from schemas.definition.wait_event import WaitEvent

__all__ = [
    "AccountEnd",
    "Amount",
    "Definition",
    "Delay",
    "Destination",
    "InvalidDefinition",
    "Noop",
    "PaymentDestination",
    "PaymentSource",
    "ResolvedStage",
    "Send",
    "Source",
    "StageUnresolvable",
    "Update",
    "WaitEvent",
    "WalletEnd",
    "format_duration",
    "format_instant",
    "parse_definition",
    "parse_duration",
    "parse_instant",
    "resolve_stage",
    "stage_name",
    "unresolved_input",
]
