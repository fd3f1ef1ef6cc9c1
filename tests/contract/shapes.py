"""The contract's shapes that surfaces share, and how a value is compared with one (contract: `http-api`, Resources)."""

from datetime import datetime
from typing import Any
from uuid import UUID

WORKFLOW = {"id": UUID, "config": {"name": str, "stages": list}, "createdAt": datetime, "updatedAt": datetime}
DELETED_WORKFLOW = {**WORKFLOW, "deletedAt": datetime}
STATUS = {"stage": int, "instanceID": UUID, "startedAt": datetime}
ENDED_STATUS = {**STATUS, "terminatedAt": datetime}
FAILED_STATUS = {**ENDED_STATUS, "error": str}
STAGE = {"name": str, "input": dict, "startedAt": datetime, "terminated": bool}
ENDED_STAGE = {**STAGE, "terminatedAt": datetime}
FAILED_STAGE = {**ENDED_STAGE, "error": str}
ACTIVITY = {
    "name": str,
    "input": {"CreateTransaction": dict},
    "startedAt": datetime,
    "terminated": bool,
    "attempt": int,
}
RUNNING_ACTIVITY = {**ACTIVITY, "nextExecution": datetime}
RETRIED_ACTIVITY = {**RUNNING_ACTIVITY, "lastFailure": str}
ENDED_ACTIVITY = {**ACTIVITY, "terminatedAt": datetime, "output": {"CreateTransaction": dict}}
FAILED_ACTIVITY = {**ACTIVITY, "terminatedAt": datetime, "error": str, "lastFailure": str}


def assert_shape(value: Any, shape: Any) -> None:
    """Assert that a value has exactly this shape: a type, an object with all its keys, or a list of items in order."""
    if isinstance(shape, dict):
        assert set(value) == set(shape)
        for key, below in shape.items():
            assert_shape(value[key], below)
    elif isinstance(shape, list):
        assert len(value) == len(shape)
        for item, below in zip(value, shape, strict=True):
            assert_shape(item, below)
    elif shape is UUID:
        assert str(UUID(value)) == value
    elif shape is datetime:
        assert value.endswith("Z")
        datetime.fromisoformat(value)
    else:
        assert type(value) is shape
