"""`POST /v2/workflows/validate`: everything that is wrong with a definition, and where in its text."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings

from api.bodies.json_body import decode_json
from api.bodies.yaml_body import decode_yaml
from api.errors import MalformedBody
from api.validation import MAX_PATH_BYTES, validate
from schemas.definition import InvalidDefinition, parse_definition
from schemas.resources import Validation
from tests.definition_strategies import definitions
from tests.unit.api.fakes import Backend, make_client

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LIMIT = 100_000
YAML_TYPE = {"Content-Type": "application/yaml"}

TEXT = """\
# A payout.
name: payout
descripton: pays
stages:
- sned: {}
- send:
    source: {account: {id: "m-${who}"}}
    destination:
      wallet:
        balance: 5
        name: é ${who}
    amount: {amount: 10.5, asset: ""}
- wait_event:
- noop: &more
    x: 1
- noop: *more
- update:
    account:
      <<: {id: 7}
      metadata: {"a.b": 1}
"""


def check(text: str | bytes, *, is_yaml: bool = True) -> Validation:
    return validate(text.encode() if isinstance(text, str) else text, is_yaml=is_yaml, max_bytes=LIMIT, now=NOW)


def places(validation: Validation) -> list[tuple[Any, Any, str]]:
    return [(found.line, found.column, found.path) for found in validation.findings]


def test_places_in_yaml() -> None:
    validation = check(TEXT)
    assert not validation.valid
    assert places(validation) == [
        (3, 1, "descripton"),  # a key that nobody knows
        (5, 3, "stages[0]"),  # an item of a list
        (10, 18, "stages[1].send.destination.wallet.balance"),  # a value
        (12, 22, "stages[1].send.amount.amount"),  # inside of braces
        (12, 35, "stages[1].send.amount.asset"),
        (13, 3, "stages[2].wait_event.event"),  # what is missing is shown where it is missing from
        (15, 5, "stages[3].noop.x"),
        (15, 5, "stages[4].noop.x"),  # an alias is shown where its anchor is
        (19, 16, "stages[5].update.account.id"),  # likewise what is merged
        (20, 25, "stages[5].update.account.metadata.a.b"),
    ]
    (who,) = validation.variables
    assert [(use.line, use.column, use.field) for use in who.uses] == [(7, 28, "id"), (11, 15, "name")]
    assert (who.name, who.required) == ("who", True)
    assert (validation.stages, validation.size, validation.max_size) == (6, len(TEXT.encode()), LIMIT)


def test_places_in_json() -> None:
    text = """{"stages": [ {"noop": null, "x": [1, {}]},
  {"send" : {"source": {"account": {"id": "${\\u0061}", "é": {}, "ledger": 5}},
    "destination": {}, "\\"": [], "timestamp": "x",
    "amount": {"amount": -1,"amount": 1.5, "asset": "EUR/2"}}},
 {"delay":{}}]}"""
    lines = text.splitlines()
    validation = check(text, is_yaml=False)
    assert places(validation) == [
        (1, 14, "stages[0]"),
        (2, lines[1].index('"é"') + 1, "stages[1].send.source.account.é"),
        (2, lines[1].index("5") + 1, "stages[1].send.source.account.ledger"),
        (3, 5, "stages[1].send.destination"),  # the key, since a value may begin lines below it
        (3, lines[2].index('"\\') + 1, 'stages[1].send."'),
        (3, lines[2].index('"x"') + 1, "stages[1].send.timestamp"),
        (4, lines[3].index("1.5") + 1, "stages[1].send.amount.amount"),  # of equal keys the last one counts
        (5, 3, "stages[2].delay"),
    ]
    assert [(use.line, use.column) for use in validation.variables[0].uses] == [(2, lines[1].index('"${') + 1)]


@settings(max_examples=200, deadline=None)
@given(definitions)
def test_json_and_yaml_of_a_definition_have_the_same_findings(value: Any) -> None:
    text = json.dumps(value, indent=1)
    as_json, as_yaml = check(text, is_yaml=False), check(text)
    assert as_json == as_yaml
    assert all(found.line for found in as_json.findings)


@settings(max_examples=300, deadline=None)
@given(definitions)
def test_it_accepts_what_creation_accepts(value: Any) -> None:
    text = yaml.safe_dump(value).encode()
    try:
        parse_definition(decode_yaml(text, LIMIT))
        created = True
    except (InvalidDefinition, MalformedBody):
        created = False
    assert check(text).valid is created


MALFORMED: list[tuple[bytes, bool, int, int, str]] = [
    (b"stages:\n- noop: {}\n  - noop: {}\n", True, 3, 3, "malformed YAML: while parsing a block mapping"),
    (b"stages: [\n", True, 2, 1, "malformed YAML: "),
    (b"stages: []\nstages: []\n", True, 2, 1, "key 'stages' occurs twice"),
    (b"stages: []\n---\nstages: []\n", True, 2, 1, "only one document is allowed"),
    ("name: é\tx\nstages: *a\n".encode(), True, 2, 9, "alias 'a' has no complete anchor"),
    (
        b"stages: [{wait_event: {event: ${e}}}]",
        True,
        1,
        31,
        'malformed YAML: between { and } or [ and ], a text with a variable needs quotes: "${…}"',
    ),
    (b"stages:\n\t- noop: {}\n", True, 2, 1, "malformed YAML: a tab, where only spaces indent a line"),
    (b"a: 1\nn\xc3\xa9: \xff", True, 2, 5, "malformed YAML: byte 0xff is not UTF-8; save the file as UTF-8"),
    (b"a: \x01", True, 0, 0, "malformed YAML: unacceptable character #x0001"),
    (b'\xef\xbb\xbf{"stages": []}', False, 1, 1, "malformed JSON: it begins with a byte order mark"),
    (b"{'stages': []}", False, 1, 2, "malformed JSON: object keys must be strings"),
    (b'{"stages": [],\n "n\xc3\xa9": 1, nul}', False, 2, 11, "malformed JSON: "),
    (b'{"stages": []} x', False, 1, 16, "malformed JSON: "),
    (b'{"stages": ["\\u0000"]}', False, 0, 0, "the character U+0000 is not supported"),
    (b"[" * 200 + b"]" * 200, False, 0, 0, "nested more than 100 levels"),
    (b"[" * 200 + b"]" * 200, True, 0, 0, "nested more than 100 levels"),
]


@pytest.mark.parametrize(("body", "is_yaml", "line", "column", "message"), MALFORMED)
def test_a_text_that_cannot_be_read_is_one_error(
    body: bytes, is_yaml: bool, line: int, column: int, message: str
) -> None:
    with pytest.raises(MalformedBody):
        decode_yaml(body, LIMIT) if is_yaml else decode_json(body)
    validation = check(body, is_yaml=is_yaml)
    (found,) = validation.findings
    shown = (found.line or 0, found.column or 0, found.path, found.severity)
    assert shown == (line, column, "", "error")
    assert message in found.message
    assert f"line {line}" not in found.message
    assert not validation.valid


def test_an_answer_is_bounded() -> None:
    text = f"stages:\n- &s {{noop: {{? {'k' * 20_000} : 1}}}}\n" + "- *s\n" * 1_999
    validation = validate(text.encode(), is_yaml=True, max_bytes=10**9, now=NOW)
    assert (validation.stages, validation.omitted) == (2_000, 1_500)
    assert max(len(found.path.encode()) for found in validation.findings) <= MAX_PATH_BYTES
    assert len(msgspec.json.encode(validation)) < 500_000


async def test_the_operation_answers_with_everything_and_creates_nothing() -> None:
    backend = Backend()
    answer = await make_client(backend).call("POST", "/v2/workflows/validate", TEXT.encode(), YAML_TYPE)
    assert answer.status == 200
    assert answer.data == msgspec.to_builtins(check(TEXT)) | {"maxSize": 524288}
    assert answer.data["findings"][0] == {
        "severity": "warning",
        "path": "descripton",
        "line": 3,
        "column": 1,
        "message": "unknown field, which has no effect (known here: activityMaxAttempts, name, stages)",
    }
    assert answer.data["findings"][1]["suggestion"] == "did you mean `send`?"
    assert backend.commands == []


@pytest.mark.parametrize("padding", [0, 20_000])
async def test_a_good_definition_as_json_of_any_size(padding: int) -> None:
    body = b" " * padding + b'{"name": "payout", "stages": [{"wait_event": {"event": "${e}"}}]}'
    answer = await make_client(Backend()).call("POST", "/v2/workflows/validate/", body)
    assert (answer.status, answer.data) == (
        200,
        {
            "valid": True,
            "findings": [],
            "variables": [
                {
                    "name": "e",
                    "required": True,
                    "uses": [
                        {
                            "path": "stages[0].wait_event.event",
                            "line": 1,
                            "column": padding + 56,
                            "field": "event",
                            "readAs": "string",
                        }
                    ],
                }
            ],
            "stages": 1,
            "size": len(body),
            "maxSize": 524288,
        },
    )


async def test_a_missing_body_and_one_over_the_limit_are_refused_as_at_creation() -> None:
    client = make_client(Backend())
    assert (await client.call("POST", "/v2/workflows/validate", b" ")).error == (400, "VALIDATION")
    assert (await client.call("POST", "/v2/workflows/validate", b" " * 524_289)).error == (413, "VALIDATION")


async def test_its_path_is_not_taken_for_an_id() -> None:
    client = make_client(Backend())
    answer = await client.call("GET", "/v2/workflows/validate")
    assert (answer.error, answer.headers["allow"]) == ((405, "VALIDATION"), "POST")
