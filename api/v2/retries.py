"""`/v2/instances/{instanceID}/retry`."""

from typing import Final

from api.answers import Answer, json_answer
from api.calls import Call
from api.parameters import IDEMPOTENCY_KEY, REASON
from api.resources import retries
from api.routing import Operation
from api.v1.instances import INSTANCE_ID
from api.v2.instances import render
from schemas.resources import Data, V2WorkflowInstance


async def retry_instance(call: Call) -> Answer:
    """`POST /v2/instances/{instanceID}/retry`."""
    row = await retries.retry_instance(call.services, call.params["instanceID"], call.idempotency_key, call.author)
    return json_answer(201, Data(render(row)))


OPERATIONS: Final = (
    Operation(
        id="v2RetryInstance",
        method="POST",
        path="/v2/instances/{instanceID}/retry",
        handler=retry_instance,
        summary="Run an instance that has failed or was aborted once more, from the stage that did not succeed",
        status=201,
        answer=Data[V2WorkflowInstance],
        parameters=(INSTANCE_ID, IDEMPOTENCY_KEY, REASON),
        errors=(400, 404, 409, 413),
        not_found_code="NOT_FOUND",
    ),
)
