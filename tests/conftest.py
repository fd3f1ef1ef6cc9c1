"""Kafka, Postgres and an installation on them, shared by all tests of a session that need them.

A test fails when asyncio complains while it runs, see `tests.complaints`.
"""

import functools
import gc
import logging
import os
import re
import signal
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests.complaints import ComplaintsHandler
from tests.integration.installation import RUNNING, Installation
from tests.servers import database_schema, database_url, kafka_bootstrap_servers, topic_prefix

# The same cases in every run, so there is no gain in very many of them. How long one takes, or takes to be made, says
# nothing on a busy machine.
hypothesis.settings.register_profile(
    "suite",
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")

# Without it, an assertion of theirs that fails does not tell what it has found.
CONTRACTS = ("kafka_contract", "read_model_contract", "retention_contract", "search_contract", "store_contract")
pytest.register_assert_rewrite(*(f"tests.{name}" for name in CONTRACTS))

# Kafka lives for minutes at most here. For so little its optimizing compiler costs more than it saves: a fifth of all.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")

# Whoever runs the tests in the background of a script ignores Ctrl-C, and so would all processes that tests send it to.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LONGEST = "tests/simulation/test_seeds.py"
"""It only computes, for minutes. It comes first: its processes fill the time in which others wait."""
UNIT = "tests/unit/"
"""They need no service, and tell soonest what is broken."""
KAFKA = "kafka_bootstrap_servers"
INSTALLATION = "installation"
NEEDS = re.compile(rf"\b({KAFKA}|{INSTALLATION}): |getfixturevalue\(\"({KAFKA})\"\)")
"""What a file says that has a test with one of these fixtures."""
ORDER = (INSTALLATION, KAFKA, None)
"""By what files need. The first takes longest, since its tests wait for processes."""

__all__ = ["database_schema", "database_url", "kafka_bootstrap_servers", "topic_prefix"]


@functools.cache
def need_of(path: Path) -> str | None:
    """What tests of this file need: the session's installation, its Kafka, or neither."""
    found = {name for names in NEEDS.findall(path.read_text()) for name in names if name}
    return next(need for need in ORDER if need in found or need is None)


@pytest.fixture(scope="session", autouse=True)
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Processes lock their names in a folder of this session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        yield


@pytest.fixture(scope="session")
async def installation(
    kafka_bootstrap_servers: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Installation]:
    """An installation with a sandbox, for tests that leave its processes alone."""
    folder = tmp_path_factory.mktemp("installation")
    async with Installation(kafka_bootstrap_servers, database_url, folder, sandbox=True) as installation:
        yield installation


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """What a test runs in this process may quieten loggers, and later tests look at what is logged."""
    known = list(logging.root.manager.loggerDict.items())
    # What is not a logger stands for one that may come. The others are not asked for by name: that takes a lock each.
    made = (logger if isinstance(logger, logging.Logger) else logging.getLogger(name) for name, logger in known)
    levels = [(logger, logger.level) for logger in (logging.root, *made)]
    yield
    for logger, level in levels:
        if logger.level != level:  # to set one goes through all loggers there are
            logger.setLevel(level)


@pytest.fixture(autouse=True)
def no_complaints() -> Iterator[None]:
    """Nothing of this process may be forgotten."""
    handler = ComplaintsHandler()
    logging.getLogger("asyncio").addHandler(handler)
    yield
    logging.getLogger("asyncio").removeHandler(handler)
    assert handler.heard == []


def pytest_configure() -> None:
    """Have Python look for cycles only once all tests are there: what is loaded until then stays."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Let it look from here on, but never through all that. That was a sixth of what unit tests cost."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give the file that takes longest to the first worker, all that need an installation to the second, then Kafka.

    A worker alone runs these last: a Kafka and an installation that nobody uses take a tenth of a core.
    """
    is_alone = not hasattr(config, "workerinput")
    ranks = {path: ORDER.index(need_of(path)) for path in {item.path for item in items}}
    for item in items:
        if isinstance(item, pytest.Function) and KAFKA in item.fixturenames and need_of(item.path) is None:
            raise pytest.UsageError(f"{item.nodeid} needs Kafka, and nothing in its file says so: see {__name__}")
    items.sort(
        key=lambda item: (
            not item.nodeid.startswith(LONGEST),
            -ranks[item.path] if is_alone else ranks[item.path],
            not item.nodeid.startswith(UNIT),
        )
    )


class ByService(LoadFileScheduling):  # type: ignore[misc]
    """Tests of a file run in one worker, and so do all files that need the installation, or Kafka alone.

    So there are two Kafkas and one installation. With one Kafka, all would wait for its worker in the end.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return need_of(self.config.rootpath / file) or file


@pytest.hookimpl(optionalhook=True)  # without xdist there is no such hook
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByService | None:
    """Whoever has the tests of a file run in one worker saves a Kafka, too."""
    return ByService(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
    """Show what the processes wrote when a test fails."""
    report = yield
    if report.failed:
        for installation in RUNNING:
            report.sections.extend(installation.logs())
    return report
