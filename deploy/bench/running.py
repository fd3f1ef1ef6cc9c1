"""The rounds, one after the other, and what they have found."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from deploy.bench.figures import Figures
from deploy.bench.load import LoadClient
from deploy.bench.machine import this_machine, this_program
from deploy.bench.preparing import prepared
from deploy.bench.report import Report, Server, Settings, measured
from deploy.bench.scenarios import Case, Requests
from deploy.bench.server_cpu import ServerCpu, between
from deploy.client.connection import Api
from deploy.progress import SHOW_SECONDS, Progress
from schemas.redaction import without_credentials

LEAST_WARM_UP_SECONDS: Final = 0.2
"""Of each case. With less, no request may have been answered in it."""


class Bench:
    """A run.

    Args:
        api: what is measured.
        settings: how.
        progress: shows how far it is.
    """

    def __init__(self, api: Api, settings: Settings, progress: Progress):
        self._api, self._settings, self._progress = api, settings, progress
        self._done = 0.0
        self._total = 0.0

    async def run(self, cases: Sequence[Case]) -> Report:
        """Measure, each case once a round: what changes on the machine meanwhile changes all of them.

        Raises:
            Refused: the API refuses what has to be there before, such as workflows.
            Unavailable: it can't be reached.
        """
        started_at, settings = datetime.now(UTC), self._settings
        async with prepared(self._api, cases) as ready, ServerCpu(self._api.url) as server:
            there = [case for case in cases if case.scenario in ready]
            warm_up = max(settings.warm_up_seconds / max(len(there), 1), LEAST_WARM_UP_SECONDS)
            warm_up = warm_up if settings.warm_up_seconds else 0.0
            self._total = len(there) * (warm_up + settings.seconds * settings.rounds)
            for case in there if warm_up else ():
                await self._round(case, ready[case.scenario], warm_up, server)
            version = await self._version()
            rounds = [
                [await self._round(case, ready[case.scenario], settings.seconds, server) for case in there]
                for _ in range(settings.rounds)
            ]
        return Report(
            started_at=started_at,
            machine=this_machine(),
            program=this_program(),
            server=Server(without_credentials(self._api.url), version),
            settings=settings,
            scenarios=[measured(case, of_case) for case, of_case in zip(there, zip(*rounds, strict=True), strict=True)],
            left_out=ready.left_out,
        )

    async def _round(
        self, case: Case, requests: Requests, seconds: float, server: ServerCpu
    ) -> tuple[Figures, float | None]:
        """The figures of a round, and the server's CPU seconds in it."""
        headers = await self._api.credentials()
        async with (
            LoadClient(self._api.url, case.clients, headers=headers, tolerant=True) as load,
            self._shown(case.title, seconds),
        ):
            before = await server.read()
            figures = await load.measure(case.title, seconds, requests.method, requests.paths, judge=requests.judge)
            return figures, between(before, await server.read())

    async def _version(self) -> str:
        """Of the server; `""` if it does not tell."""
        async with LoadClient(self._api.url, 1, tolerant=True) as load:
            try:
                _, body = await load.request("GET", "/_info")
                return str(msgspec.json.decode(body)["version"])
            except (OSError, msgspec.DecodeError, LookupError, TypeError):
                return ""

    @contextlib.asynccontextmanager
    async def _shown(self, title: str, seconds: float) -> AsyncIterator[None]:
        """Show how far it is, while a round takes these seconds."""
        clock = asyncio.get_running_loop().time
        began = clock()

        async def show() -> None:
            while True:
                done = self._done + min(clock() - began, seconds)
                self._progress.show(round(done), round(self._total), note=title)
                await asyncio.sleep(SHOW_SECONDS)

        showing = asyncio.create_task(show())
        try:
            yield
        finally:
            showing.cancel()
            self._done += seconds
