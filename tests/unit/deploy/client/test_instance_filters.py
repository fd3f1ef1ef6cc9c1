"""Filters of instances on the command line, as the API gets them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from click.testing import CliRunner

from deploy.cli import main
from deploy.client.connection import Api
from deploy.client.instance_filters import STATES
from projections.states import STATES as KNOWN
from schemas.settings import variable

WORKFLOWS = ("6e0c0000-0000-0000-0000-000000000001", "6e0c0000-0000-0000-0000-000000000002")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The queries of lists of instances. All lists are empty."""
    queries: list[dict[str, Any]] = []

    async def pages(self: Api, *path: str, limit: int = 0, **query: Any) -> AsyncIterator[Any]:
        assert path == ("instances",)
        queries.append({name: value for name, value in query.items() if value is not None})
        nothing: list[Any] = []
        for item in nothing:
            yield item

    monkeypatch.setattr(Api, "pages", pages)
    return queries


def run(*words: str) -> str:
    runner = CliRunner(env={variable("client_url"): "http://orchestration.test"})
    result = runner.invoke(main, ["instances", *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_all_filters(asked: list[dict[str, Any]]) -> None:
    assert "no instances" in run(
        *("list", "--workflow", WORKFLOWS[0], "--workflow", WORKFLOWS[1], "--running"),
        *("--state", "paused", "--state", "failed", "--key", "A-1", "--error", "no funds"),
        *("--created-after", "2026-03-01", "--created-before", "2026-03-02"),
        *("--terminated-after", "2026-03-03", "--terminated-before", "2026-03-04"),
    )
    run("ls")
    run("find", "A-1")
    assert asked == [
        {
            "workflowID": list(WORKFLOWS),
            "running": "true",
            "state": ["paused", "failed"],
            "key": "A-1",
            "error": "no funds",
            "createdAfter": "2026-03-01",
            "createdBefore": "2026-03-02",
            "terminatedAfter": "2026-03-03",
            "terminatedBefore": "2026-03-04",
        },
        {},
        {"key": "A-1"},
    ]


def test_the_states_are_those_of_the_api() -> None:
    assert STATES == KNOWN
