"""Workflow definitions: what is checked at creation, and stages made ready to run. Pure: no IO, no clock.

| module | holds |
|---|---|
| `definition` | `parse_definition`: the body of a request that creates a workflow |
| `check` | `check_definition`: all errors and warnings of one, and the variables that it uses |
| `stages` | `resolve_stage`: a stage of a definition, with an instance's variables, as what runs |
| `send`, `ends`, `wait_event`, `delay`, `update`, `noop` | the stages: how each is read and shown |
| `fields` | what the `read` of a stage asks for; `reading`, `checking` and `describing` are what answers |
| `schema`, `patterns` | `definition_schema`: what creation accepts, as JSON Schema |
| `findings`, `advice`, `suggestions` | what a check says |
| `text`, `durations`, `instants` | `${name}`, Go's durations, RFC 3339 |
| `ledger_texts` | addresses of accounts, and assets |
| `errors` | what is wrong with a definition, or with a stage that is to run |

Contract: `workflows`.
"""

from schemas.definition.check import check_definition
from schemas.definition.definition import Definition, parse_definition
from schemas.definition.delay import Delay
from schemas.definition.durations import format_duration, parse_duration
from schemas.definition.ends import AccountEnd, PaymentDestination, PaymentSource, WalletEnd
from schemas.definition.errors import InvalidDefinition, Path, StageUnresolvable, shown_path
from schemas.definition.findings import Finding, Report, Use
from schemas.definition.instants import format_instant, parse_instant
from schemas.definition.noop import Noop
from schemas.definition.schema import definition_schema, inlined_schema
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
    "Finding",
    "InvalidDefinition",
    "Noop",
    "Path",
    "PaymentDestination",
    "PaymentSource",
    "Report",
    "ResolvedStage",
    "Send",
    "Source",
    "StageUnresolvable",
    "Update",
    "Use",
    "WaitEvent",
    "WalletEnd",
    "check_definition",
    "definition_schema",
    "format_duration",
    "format_instant",
    "inlined_schema",
    "parse_definition",
    "parse_duration",
    "parse_instant",
    "resolve_stage",
    "shown_path",
    "stage_name",
    "unresolved_input",
]
