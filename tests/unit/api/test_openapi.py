"""The description of the API says what the API does."""

import re
from typing import Any

import jsonschema_rs
import pytest

from api.app import OPERATIONS
from api.openapi.document import document
from schemas.definition import InvalidDefinition, inlined_schema, parse_definition
from tests.unit.api.fakes import Backend, make_client

V1 = {
    ("get", "/_info"),
    ("post", "/workflows"),
    ("get", "/workflows"),
    ("get", "/workflows/{flowId}"),
    ("delete", "/workflows/{flowId}"),
    ("post", "/workflows/{workflowID}/instances"),
    ("get", "/instances"),
    ("get", "/instances/{instanceID}"),
    ("post", "/instances/{instanceID}/events"),
    ("put", "/instances/{instanceID}/abort"),
    ("get", "/instances/{instanceID}/history"),
    ("get", "/instances/{instanceID}/stages/{number}/history"),
    ("post", "/triggers"),
    ("get", "/triggers"),
    ("get", "/triggers/{triggerID}"),
    ("delete", "/triggers/{triggerID}"),
    ("get", "/triggers/{triggerID}/occurrences"),
}
V2 = {(method, f"/v2{path}") for method, path in V1} | {
    ("post", "/v2/triggers/{triggerID}/test"),
    ("post", "/v2/workflows/validate"),
    ("get", "/v2/workflows/schema.json"),
    ("get", "/v2/submissions/schema.json"),
    ("get", "/v2/stats"),
    ("post", "/v2/instances/{instanceID}/stages/{number}/activities/{activityID}/resume"),
    ("post", "/v2/instances/{instanceID}/retry"),
    ("get", "/v2/instances/{instanceID}/log"),
    ("post", "/v2/instances/bulk"),
    ("get", "/v2/bulk"),
    ("get", "/v2/bulk/{bulkID}"),
    ("post", "/v2/bulk/{bulkID}/stop"),
    ("get", "/v2/instances/stream"),
    ("get", "/v2/instances/{instanceID}/stream"),
}
FLOWS = {
    ("post", "/flows"),
    ("get", "/flows"),
    ("get", "/flows/{flowId}"),
    ("post", "/flows/{flowId}/runs"),
    ("get", "/flows/{flowId}/runs"),
    ("get", "/flows/{flowId}/runs/{runId}"),
    ("post", "/flows/{flowId}/runs/{runId}/events"),
    ("put", "/flows/{flowId}/runs/{runId}/abort"),
}


def operations(base_path: str = "") -> dict[tuple[str, str], Any]:
    paths = document(base_path, OPERATIONS)["paths"]
    return {(method, path): operation for path, item in paths.items() for method, operation in item.items()}


def test_all_operations_are_described_with_their_parameters() -> None:
    described = operations()
    assert set(described) == V1 | V2 | FLOWS
    for (_, path), operation in described.items():
        named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", path))
        assert {"405", "500", "503"} <= set(operation["responses"])
    assert len({operation["operationId"] for operation in described.values()}) == len(described)


def test_every_reference_leads_somewhere() -> None:
    described = document("", OPERATIONS)
    references = set(re.findall(r"'\$ref': '#/components/schemas/(\w+)'", str(described)))
    assert references == set(described["components"]["schemas"])


@pytest.mark.parametrize("base_path", ["", "/api/orchestration"])
async def test_it_is_served_outside_and_under_the_base_path(base_path: str) -> None:
    client = make_client(Backend(), base_path=base_path)
    outside = await client.call("GET", "/openapi.json", base="")
    under = await client.call("GET", "/openapi.json")
    assert outside.json() == under.json()
    assert outside.headers["content-type"] == "application/json"
    assert f"{base_path}/workflows" in outside.json()["paths"]


ACCOUNT = {"account": {"id": "a"}}
AMOUNT = {"amount": 1, "asset": "EUR/2"}
SEND = {"source": ACCOUNT, "destination": ACCOUNT, "amount": AMOUNT}
PAYMENT = {"payment": {"id": "p"}}
PSP = {"payment": {"psp": "stripe"}}

STAGES: list[Any] = [
    {"noop": None},
    {"noop": {"any": "thing"}},
    {"noop": []},
    {},
    None,
    {"noop": {}, "delay": {"duration": "1s"}},
    {"sned": {}},
    {"wait_event": {"event": "x"}},
    {"wait_event": {"event": ""}},
    {"wait_event": {"event": None}},
    {"wait_event": None},
    {"delay": {"duration": "1h30m"}},
    {"delay": {"duration": "-1.5s"}},
    {"delay": {"duration": "5"}},
    {"delay": {"duration": "${n}s"}},
    {"delay": {"duration": 5}},
    {"delay": {"until": "2026-04-01T00:00:00Z"}},
    {"delay": {"until": "tomorrow"}},
    {"delay": {"until": "${x}", "duration": "1s"}},
    {"delay": {"until": "2026-04-01T00:00:00Z", "duration": "1s"}},
    {"delay": {"until": None, "duration": "1s"}},
    {"delay": {}},
    {"update": {"account": {"id": "a", "metadata": {"k": "v"}}}},
    {"update": {"account": {"id": "a", "metadata": {"k": 1}}}},
    {"update": {"account": {"id": "a"}}},
    {"send": SEND},
    {"send": {**SEND, "amount": None}},
    {"send": {**SEND, "amount": {"amount": -1, "asset": "x"}}},
    {"send": {**SEND, "amount": {"amount": "12", "asset": "x"}}},
    {"send": {**SEND, "amount": {"amount": "1.5", "asset": "x"}}},
    {"send": {**SEND, "amount": {"amount": "${x}", "asset": "x"}}},
    {"send": {**SEND, "amount": {"amount": 1}}},
    {"send": {**SEND, "metadata": {"a": "b"}, "timestamp": ""}},
    {"send": {**SEND, "metadata": {"a": None}}},
    {"send": {**SEND, "timestamp": "x"}},
    {"send": {**SEND, "source": {}}},
    {"send": {**SEND, "source": {**ACCOUNT, "wallet": None}}},
    {"send": {**SEND, "source": {**ACCOUNT, "wallet": {"id": "w"}}}},
    {"send": {**SEND, "source": {"wallet": {"id": "w", "name": "n"}}}},
    {"send": {**SEND, "source": {"wallet": {"id": "w", "name": "${n}"}}}},
    {"send": {**SEND, "source": {"account": {"id": "a", "allowOverdraft": "TRUE"}}}},
    {"send": {**SEND, "source": {"account": {"id": "a", "allowOverdraft": "yes"}}}},
    {"send": {**SEND, "source": PAYMENT}},
    {"send": {"source": PAYMENT, "destination": ACCOUNT}},
    {"send": {**SEND, "destination": PSP}},
    {"send": {**SEND, "source": PAYMENT, "destination": PSP}},
    {"send": {**SEND, "destination": {"payment": {"psp": "x", "type": "payout"}}}},
    {"send": {**SEND, "destination": {"payment": {"psp": "x", "type": "gift"}}}},
]


@pytest.mark.parametrize("stage", STAGES, ids=str)
def test_the_schema_of_a_definition_accepts_what_the_parser_accepts(stage: Any) -> None:
    body = {"stages": [stage]}
    try:
        parse_definition(body)
        accepted = True
    except InvalidDefinition:
        accepted = False
    assert jsonschema_rs.is_valid(inlined_schema(), body, validate_formats=True) is accepted


@pytest.mark.parametrize("body", [{}, {"stages": None}, {"stages": {}}, {"stages": []}, {"name": 1, "stages": []}, []])
def test_the_schema_of_the_whole_body(body: Any) -> None:
    accepted = isinstance(body, dict) and body.get("stages") == [] and "name" not in body
    assert jsonschema_rs.is_valid(inlined_schema(), body) is accepted


def test_a_fault_says_how_to_repeat_what_may_have_been_done() -> None:
    """Whoever repeats a run without its key pays twice."""
    path = document("", OPERATIONS)["paths"]["/v2/workflows/{workflowID}/instances"]
    for status in ("500", "503"):
        assert "repeat it with the same Idempotency-Key" in path["post"]["responses"][status]["description"]
    assert "repeat" not in document("", OPERATIONS)["paths"]["/v2/instances"]["get"]["responses"]["503"]["description"]
