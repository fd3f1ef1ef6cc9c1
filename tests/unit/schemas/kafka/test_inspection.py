"""What a cluster is asked about itself, by an admin client that a test plays."""

from types import SimpleNamespace
from typing import Any, Self

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, GroupLoadInProgressError, NotCoordinatorForGroupError

from schemas.kafka import inspection
from schemas.settings import KafkaSettings


class FakeAdmin:
    """A cluster without brokers and topics, whose coordinator answers about a group what it is told to, in order."""

    def __init__(self, codes: list[int]):
        self._codes = codes
        self._client = self

    def __call__(self, settings: KafkaSettings) -> Self:
        return self

    async def start(self) -> None:
        """There is nothing to start."""

    async def close(self) -> None:
        """There is nothing to close."""

    def get_random_node(self) -> int:
        """A broker."""
        return 1

    async def send(self, node: int, request: Any) -> Any:
        """Which brokers and topics there are."""
        return SimpleNamespace(brokers=[], topics=[])

    async def find_coordinator(self, name: str, kind: int) -> int:
        """Who looks after a group."""
        return 1

    async def describe_consumer_groups(self, names: list[str], node: int) -> list[Any]:
        """A group with one member, or an error."""
        return [SimpleNamespace(groups=[(self._codes.pop(0), names[0], "Stable", "consumer", "range", ["member"])])]

    async def list_consumer_group_offsets(self, name: str, node: int) -> dict[Any, Any]:
        """Nothing was committed."""
        return {}


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([NotCoordinatorForGroupError, GroupLoadInProgressError], inspection.GroupFacts(None, "Stable", 1)),
        ([GroupAuthorizationFailedError], inspection.GroupFacts("GroupAuthorizationFailed")),
    ],
)
async def test_a_new_cluster_is_asked_again_until_it_knows_its_groups(
    errors: list[Any], expected: inspection.GroupFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "RETRY_SECONDS", 0)
    monkeypatch.setattr(inspection, "AdminClient", FakeAdmin([*(error.errno for error in errors), 0]))
    found = await inspection.inspect(KafkaSettings(), [], ["engines"], [])
    assert found.groups == {"engines": expected}
