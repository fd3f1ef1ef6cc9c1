"""Java's ahead-of-time cache of the embedded Kafka: made once, used if it is there, and done without if it can't be."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from deploy.embedded import aot
from deploy.embedded.aot import MAX_CACHES, WITH_OPTIMIZER, WITHOUT_CACHE, aot_options
from deploy.embedded.errors import StartFailed


class Brokers:
    """Kafkas that are trained; each writes its cache when it is stopped, as Java does."""

    def __init__(self, written: str | None) -> None:
        self.written = written
        self.started = 0

    @contextlib.contextmanager
    def __call__(self, folder: Path, options: Sequence[str]) -> Iterator[str]:
        assert folder.is_dir()
        self.started += 1
        yield "bootstrap:1"
        optimizing, option = options
        assert optimizing == WITH_OPTIMIZER
        name, _, path = option.partition("=")
        assert name == "-XX:AOTCacheOutput"
        if self.written is not None:
            Path(path).write_text(self.written)


def broken(folder: Path, options: Sequence[str]) -> contextlib.AbstractContextManager[str]:
    raise StartFailed("no")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Bootstrap servers that the training was run against; Java knows caches."""
    servers: list[str] = []

    def pretend(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        if "deploy.embedded.training" in command:
            servers.append(command[-1])
        return subprocess.CompletedProcess(command, 0, stdout="   ccstr AOTCacheOutput  =  {product}")

    monkeypatch.setattr("deploy.embedded.aot.subprocess.run", pretend)
    return servers


@pytest.fixture
def options(tmp_path: Path) -> Callable[..., tuple[str, ...]]:
    def options(broker: aot.Broker | None, *jars: str) -> tuple[str, ...]:
        return aot_options(tmp_path / "bin" / "java", [Path(jar) for jar in jars], tmp_path, broker)

    return options


def test_a_cache_is_made_once(options: Callable[..., tuple[str, ...]], trained: list[str]) -> None:
    brokers = Brokers("cache")
    (option,) = options(brokers, "a.jar")
    name, _, path = option.partition("=")
    assert (name, Path(path).read_text()) == ("-XX:AOTCache", "cache")
    assert options(brokers, "a.jar") == (option,)
    assert (brokers.started, trained) == (1, ["bootstrap:1"])


def test_another_class_path_has_another_cache(options: Callable[..., tuple[str, ...]], trained: list[str]) -> None:
    brokers = Brokers("cache")
    assert options(brokers, "a.jar") != options(brokers, "b.jar")
    assert brokers.started == 2


def test_old_caches_are_deleted(options: Callable[..., tuple[str, ...]], trained: list[str], tmp_path: Path) -> None:
    for n in range(MAX_CACHES + 2):
        (option,) = options(Brokers(str(n)), f"{n}.jar")
        path = Path(option.partition("=")[2])
        os.utime(path, (n, n))
    assert sorted(cache.read_text() for cache in tmp_path.glob("aot-*")) == ["2", "3", "4", "5"]


def test_a_cache_is_not_made_when_it_does_not_pay_off(
    options: Callable[..., tuple[str, ...]], trained: list[str], tmp_path: Path
) -> None:
    assert options(None, "a.jar") == WITHOUT_CACHE
    assert list(tmp_path.iterdir()) == []
    made = options(Brokers("cache"), "a.jar")
    assert options(None, "a.jar") == made


@pytest.mark.parametrize("broker", [Brokers(None), broken])
def test_a_training_that_failed_is_not_repeated(
    options: Callable[..., tuple[str, ...]], trained: list[str], broker: aot.Broker, caplog: pytest.LogCaptureFixture
) -> None:
    assert options(broker, "a.jar") == WITHOUT_CACHE
    assert options(Brokers("cache"), "a.jar") == WITHOUT_CACHE
    assert ("could not be prepared" in caplog.text) == (broker is broken)


def test_a_java_without_such_caches_is_not_trained(
    options: Callable[..., tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        "deploy.embedded.aot.subprocess.run", lambda command, **_: subprocess.CompletedProcess(command, 1, stdout="")
    )
    assert options(broken, "a.jar") == WITHOUT_CACHE
    assert list(tmp_path.iterdir()) == []
