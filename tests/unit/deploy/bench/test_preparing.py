"""What a run makes before it measures, and that it deletes that again."""

import asyncio
from typing import Any

import pytest

from deploy.bench import preparing
from deploy.bench.preparing import prepared
from deploy.bench.scenarios import Case
from deploy.client.connection import Api
from deploy.client.errors import Unavailable


class FakeApi:
    """An API whose instances end as told.

    Args:
        ending: what an instance is when it is looked at.
    """

    url = "http://127.0.0.1:1/api"

    def __init__(self, ending: dict[str, Any]):
        self.ending = ending
        self.workflows: list[str] = []
        self.made_names: list[str] = []
        self.calls: list[tuple[str, ...]] = []
        self.making = asyncio.Event()
        self.made = asyncio.Event()
        self.made.set()

    async def post(self, *path: str, body: Any = None) -> Any:
        self.calls.append(("POST", *path))
        if len(path) == 3:
            return {"id": "i-1", "terminated": False}
        self.making.set()
        await self.made.wait()
        self.workflows.append(body["name"])
        self.made_names.append(body["name"])
        return {"id": body["name"]}

    async def get(self, *path: str) -> Any:
        return {"id": "i-1", **self.ending}

    async def put(self, *path: str) -> None:
        self.calls.append(("PUT", *path))

    async def delete(self, *path: str) -> None:
        self.workflows.remove(path[1])

    @property
    def api(self) -> Api:
        api: Any = self
        return api  # type: ignore[no-any-return]


ENDED = {"terminated": True}


async def test_workflows_are_there_as_long_as_they_are_needed() -> None:
    fake = FakeApi(ENDED)
    async with prepared(fake.api, [Case("noop", 1), Case("noop", 4), Case("send", 1)]) as ready:
        assert fake.workflows == ["orchestration bench: noop", "orchestration bench: send"]
        assert list(ready) == ["noop", "send"]
    assert fake.workflows == []


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        ({"terminated": True, "error": "refused"}, "the send failed: refused"),
        ({"terminated": False}, "the stack did not answer within 0.01 s"),
    ],
)
async def test_sends_are_left_out_where_the_stack_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, ending: dict[str, Any], reason: str
) -> None:
    monkeypatch.setattr(preparing, "SEND_SECONDS", 0.01)
    monkeypatch.setattr(preparing, "POLL_SECONDS", 0.0)
    fake = FakeApi(ending)
    async with prepared(fake.api, [Case("send", 1)]) as ready:
        assert dict(ready) == {}
        assert ready.left_out == {"send": reason}
    assert fake.workflows == []
    assert (("PUT", "instances", "i-1", "abort") in fake.calls) is not ending["terminated"]


async def test_a_workflow_that_was_being_made_at_ctrl_c_is_deleted_too() -> None:
    fake = FakeApi(ENDED)
    fake.made.clear()

    async def run() -> None:
        async with prepared(fake.api, [Case("noop", 1)]):
            pytest.fail("it was stopped before")

    running = asyncio.create_task(run())
    await fake.making.wait()
    running.cancel()
    asyncio.get_running_loop().call_soon(fake.made.set)
    with pytest.raises(asyncio.CancelledError):
        await running
    for _ in range(10):  # what nobody waited for would go on
        await asyncio.sleep(0)
    assert fake.made_names == ["orchestration bench: noop"]
    assert fake.workflows == []


async def test_what_could_not_be_deleted_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = FakeApi(ENDED)

    async def away(*path: str) -> None:
        raise Unavailable("it is away")

    monkeypatch.setattr(fake, "delete", away)
    async with prepared(fake.api, [Case("noop", 1), Case("three-noops", 1)]):
        pass
    assert capsys.readouterr().err == (
        "these workflows could not be deleted: orchestration bench: noop orchestration bench: three-noops: it is away\n"
    )
