"""`/openapi.json` is right, and the service does what it says: schemathesis makes requests from it, checks answers."""

import itertools
import json
import os
import re
import zlib
from typing import Any

import pytest
import schemathesis
import yaml
from schemathesis import Case, GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from api.app import OPERATIONS
from api.openapi.document import document
from schemas.settings import ApiSettings
from tests.integration.http_client import Client, Json
from tests.integration.installation import Installation

SEED = int(os.environ.get("CONTRACT_SEED", "1"))
"""Decides which requests are made; set the variable to make other ones."""
MAX_EXAMPLES = 25
"""Requests per operation beside those that cover its schema: so few keep the suite quick."""
COVERAGE_SHARE = 20
"""One of so many of the bodies that cover a schema is sent: a definition's schema alone has thousands."""
SLOW_SHARES = {"v2GetInstanceLog": 12}
"""One of so many of the requests is sent where each takes its time: at its end the log waits half a second for more."""
REQUEST_TIMEOUT_SECONDS = 30.0
UNDECIDABLE: dict[str, list[CheckFunction]] = {
    # A schema can't tell which texts are expressions.
    "createTrigger": [positive_data_acceptance],
    "v2CreateTrigger": [positive_data_acceptance],
    # `pageSize=` says nothing, and an object without members becomes that on its way into the query.
    "listTriggers": [negative_data_rejection],
    "v2ListWorkflows": [negative_data_rejection],
    "v2ListInstances": [negative_data_rejection],
    "v2ListTriggers": [negative_data_rejection],
    "v2ListTriggersOccurrences": [negative_data_rejection],
    "v2ListBulk": [negative_data_rejection],
    # Which filters there are, and that one is needed, is not in the schema.
    "v2StartBulk": [positive_data_acceptance],
    # Nor that `from` is before `to`; an empty one is none.
    "v2GetStats": [positive_data_acceptance, negative_data_rejection],
}
"""By operation: what can't be decided from the description."""
NUMBERS_OF_YAML_1_2 = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|0o[0-7]+$")
"""Schemathesis writes YAML 1.1, where the text `1e100` needs no quotes. Bodies are YAML 1.2, where it is a number."""
yaml.CSafeDumper.add_implicit_resolver("tag:yaml.org,2002:float", NUMBERS_OF_YAML_1_2, list("-+.0123456789"))

keys = (f"key-{number}" for number in itertools.count())

described = document(ApiSettings().base_path, OPERATIONS)
schema = schemathesis.openapi.from_dict(described)
schema.config.seed = SEED
schema.config.generation.max_examples = MAX_EXAMPLES
schema.config.generation.allow_x00 = False  # no text may hold U+0000, which a schema can hardly say
schema.config.generation.no_shrink = True
schema.config.update(request_timeout=REQUEST_TIMEOUT_SECONDS)

ENDLESS = "/stream"
"""How paths end whose answers have no end; tests/integration/test_streams.py reads them."""
OPERATION_IDS = [
    operation["operationId"]
    for path, operations in described["paths"].items()
    if not path.endswith(ENDLESS)
    for operation in operations.values()
]
OPERATION_IDS.sort(key="v2StartBulk".__eq__)  # it may abort all that the others need


@pytest.fixture(scope="module")
async def client(installation: Installation) -> Client:
    print(f"CONTRACT_SEED={SEED}")
    return installation.client()


@pytest.fixture(scope="module")
async def ids(client: Client) -> dict[str, str]:
    """Ids that exist, by the names that paths have for them; made-up ones would only ever meet 404.

    DELETE and PUT, which is abort, have their own, so that the others go on to meet what is neither deleted nor ended.
    What is run ends at once, since the run may be waited for.
    """
    workflow = await client.workflow({"noop": {}})
    flow = await client.workflow({"wait_event": {"event": "go"}})
    running, aborted = [(await client.run(flow))["id"] for _ in range(2)]
    body = {"event": "paid", "workflowID": flow}
    trigger, deleted = [(await client.post("/triggers", body)).data["id"] for _ in range(2)]
    return {
        "workflowID": workflow,
        "flowId": flow,
        "runFlow flowId": workflow,
        "DELETE flowId": await client.workflow({"noop": {}}),
        "instanceID": running,
        "runId": running,
        "PUT instanceID": aborted,
        "PUT runId": aborted,
        "triggerID": trigger,
        "DELETE triggerID": deleted,
    }


@pytest.fixture(scope="module")
async def served(client: Client) -> Json:
    answer = await client.get("/openapi.json")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    description: Json = answer.json()
    return description


def test_the_description_is_openapi_3_1(served: Json) -> None:
    assert served["openapi"].startswith("3.1.")
    assert [str(error) for error in OPENAPI_31_VALIDATOR.iter_errors(served)] == []


def test_the_served_description_is_the_one_that_is_tested(served: Json) -> None:
    for path, operations in described["paths"].items():
        assert served["paths"][path] == operations
    for name, component in described["components"]["schemas"].items():
        assert served["components"]["schemas"][name] == component


@pytest.mark.parametrize("operation_id", OPERATION_IDS)
def test_the_service_does_what_it_says(operation_id: str, installation: Installation, ids: dict[str, str]) -> None:
    # Schemathesis' own collector makes the requests of all operations, and so in each worker, for many seconds.
    check = build_operation_test(
        config=schema.config,
        operation=schema.find_operation_by_id(operation_id),
        test_func=check_case,
        given_kwargs={},
        feedback=FeedbackSources(),
    )
    check(installation=installation, ids=ids)


def check_case(case: Case[Any], installation: Installation, ids: dict[str, str]) -> None:
    """Send what schemathesis has made, or something that makes more sense to the service, and check its answer."""
    assert case.meta
    if case.method == "POST" and case.meta.phase.name == "coverage" and not chosen(case, COVERAGE_SHARE):
        return
    operation_id = case.operation.definition.raw["operationId"]
    if not chosen(case, SLOW_SHARES.get(operation_id, 1)):
        return
    # Half of the requests that should succeed get an id that exists.
    if case.meta.generation.mode is GenerationMode.POSITIVE and chosen(case, 2):
        for name in ids.keys() & case.path_parameters.keys():
            own = (f"{operation_id} {name}", f"{case.method} {name}", name)
            case.path_parameters[name] = next(ids[key] for key in own if key in ids)
    if case.meta.generation.mode is GenerationMode.POSITIVE:
        case.query.pop("cursor", None)  # only we make cursors
        plain = with_plain_integers(case.body)
        if repr(plain) != repr(case.body):  # what is set anew, schemathesis judges anew
            case.body = plain
    # The same key with another body would be refused, as it should be.
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = next(keys)
    # A schema can't tell what is UTF-8 behind its percent signs.
    if case.headers and "X-Reason" in case.headers:
        case.headers["X-Reason"] = "Zo%C3%AB asked for it"
    case.call_and_validate(base_url=installation.api.url, excluded_checks=UNDECIDABLE.get(operation_id))


def with_plain_integers(value: Any) -> Any:
    """The value with `10` for `10.0`: a description can't tell them apart, and an amount `10.0` is refused."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {key: with_plain_integers(item) for key, item in value.items()}
        case list():
            return [with_plain_integers(item) for item in value]
    return value


def test_what_is_sent_has_no_integers_with_a_point() -> None:
    body = {"amount": 114730.0, "other": [1.5, {"a": -0.0}, "1.0", True, None, 10**30]}
    sent = json.dumps(with_plain_integers(body))
    assert sent == '{"amount": 114730, "other": [1.5, {"a": 0}, "1.0", true, null, 1000000000000000000000000000000]}'


def chosen(case: Case[Any], share: int) -> bool:
    """True for one of so many cases, the same ones in every run."""
    return zlib.crc32(repr((case.path_parameters, case.query, case.body)).encode()) % share == 0
