"""The JSON Schema of submissions accepts what the engine takes, and is where the documentation says."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonschema_rs
import pytest

from schemas.commands import MAX_SUBMISSION_BYTES, Submission
from schemas.kafka.memory import StoredRecord
from schemas.records import RecordCodec, UndecodableRecord
from schemas.submission_schema import as_file, submission_schema

FILE = Path(__file__).parents[3] / "deploy" / "examples" / "submission.schema.json"
SCHEMA = submission_schema()
WORKFLOW = str(UUID(int=1))
KEY = {"idempotency_key": "k"}

TAKEN: list[tuple[str, Any]] = [
    ("SubmitRun", {"workflow_id": WORKFLOW}),
    ("SubmitRun", {"workflow_id": WORKFLOW, "variables": {"a": ""}, "by": "shop", "reason": ""}),
    ("SubmitRun", {"workflow_id": WORKFLOW, "by": None, "reason": None}),
    ("SubmitEvent", {"name": "paid", **KEY}),
    ("SubmitEvent", {"name": "paid", "payload": {"n": [1, {}]}, **KEY, "by": "x" * 200, "reason": "x" * 500}),
    ("SubmitAbort", KEY),
    ("SubmitAbort", {"idempotency_key": "~ of A-1!"}),
]
REFUSED: list[tuple[str, Any]] = [
    ("SubmitRun", {}),
    ("SubmitRun", []),
    ("SubmitRun", {"workflow_id": WORKFLOW.upper().replace("0", "A")}),
    ("SubmitRun", {"workflow_id": f"{WORKFLOW}\n"}),
    ("SubmitRun", {"workflow_id": WORKFLOW, "varibles": {}}),
    ("SubmitRun", {"workflow_id": WORKFLOW, "variables": {"a": 1}}),
    ("SubmitRun", {"workflow_id": WORKFLOW, "variables": None}),
    ("SubmitRun", {"workflow_id": WORKFLOW, "stages": []}),
    ("SubmitRun", {"workflow_id": WORKFLOW, "by": ""}),
    ("SubmitRun", {"workflow_id": WORKFLOW, "reason": "x" * 501}),
    ("SubmitEvent", {"name": "paid"}),
    ("SubmitEvent", {"name": "", **KEY}),
    ("SubmitEvent", {"name": "paid", "idempotency_key": ""}),
    ("SubmitEvent", {"name": "paid", "idempotency_key": "x" * 201}),
    *(("SubmitEvent", {"name": "paid", "idempotency_key": key}) for key in (" k", "k ", " ", "k\n", "a\tb", "für A-1")),
    ("SubmitEvent", {"name": "paid", "payload": [], **KEY}),
    ("SubmitAbort", {}),
    ("SubmitAbort", {**KEY, "name": "paid"}),
]


def decode(type_: str, value: bytes, *more: tuple[str, bytes | None]) -> Submission:
    record = StoredRecord(0, WORKFLOW.encode(), value, [("type", type_.encode()), *more], 0)
    _, command = RecordCodec().decode_command(record)
    assert isinstance(command, Submission)
    return command


def is_valid(type_: str, value: Any) -> bool:
    """What the schema of a type says; that of any submission agrees."""
    one = jsonschema_rs.Draft202012Validator({**SCHEMA, "oneOf": [{"$ref": f"#/$defs/{type_}"}]}).is_valid(value)
    assert jsonschema_rs.Draft202012Validator(SCHEMA).is_valid(value) or not one
    return one


@pytest.mark.parametrize(("type_", "value"), TAKEN)
def test_what_is_taken_is_valid(type_: str, value: Any) -> None:
    assert type(decode(type_, json.dumps(value).encode())).__name__ == type_
    assert is_valid(type_, value)


@pytest.mark.parametrize(("type_", "value"), REFUSED)
def test_what_is_refused_is_not(type_: str, value: Any) -> None:
    with pytest.raises(UndecodableRecord):
        decode(type_, json.dumps(value).encode())
    assert not is_valid(type_, value)


def test_headers_of_others_are_ignored() -> None:
    value = json.dumps(KEY).encode()
    for name in ("version", "epoch", "cause", "traceparent", "dead-reason"):
        for content in (b"v2", b"1", b"", b"\xff", None):
            assert decode("SubmitAbort", value, (name, content)) == decode("SubmitAbort", value)


def test_a_value_may_be_as_large_as_is_documented() -> None:
    around = len(b'{"workflow_id":"%s","variables":{"a":""}}' % WORKFLOW.encode())
    for size, fits in ((MAX_SUBMISSION_BYTES, True), (MAX_SUBMISSION_BYTES + 1, False)):
        text = b'{"workflow_id":"%s","variables":{"a":"%s"}}' % (WORKFLOW.encode(), b"x" * (size - around))
        assert len(text) == size
        if fits:
            decode("SubmitRun", text)
        else:
            with pytest.raises(UndecodableRecord, match="more than 1048576 bytes"):
                decode("SubmitRun", text)


def test_it_is_a_schema_of_its_dialect() -> None:
    assert jsonschema_rs.meta.is_valid(SCHEMA)
    assert "\\A" not in as_file().decode()


def test_the_file_is_what_is_made() -> None:
    assert FILE.read_bytes() == as_file(), "write `schemas.submission_schema.as_file()` there"
