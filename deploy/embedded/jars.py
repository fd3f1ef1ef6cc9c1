"""Kafka's jars: downloaded once from Maven Central into the user's cache, then used without any network.

`jars.sha256` beside this file names the jars of the class path, in its order, and their SHA-256. Only these run,
whatever a server or mirror says: what it sends for them comes with checksums that it has made itself.

<cache>/orchestration/kafka-4.3.1/
    verified       digest of the `jars.sha256` that all jars were compared with
    repository/    the jars and their descriptions, as Maven lays them out
    environments/  jgo's own bookkeeping
    aot-…          see `aot`
    lock           held while something here is made, so that two processes don't do it at once
"""

import contextlib
import fcntl
import hashlib
import shutil
import zipfile
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Final

import jgo.env
import jgo.maven
import platformdirs
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from deploy.embedded.errors import DownloadFailed

KAFKA_VERSION: Final = "4.3.1"
COORDINATES: Final = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    # Kafka's dependencies hold no logging back end. Resolved by itself: asked for together, an older client wins.
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4",
)
PINS: Final = Path(__file__).with_name("jars.sha256")
TIMEOUT_SECONDS: Final = 30
"""Deadline for each step of a connection. Without it a dead mirror would hang the start."""


def kafka_cache(cache: Path | None = None) -> Path:
    """The folder of everything that is kept for this version of Kafka.

    Args:
        cache: folder to use instead of the user's cache folder.
    """
    return (cache or platformdirs.user_cache_path("orchestration")) / f"kafka-{KAFKA_VERSION}"


def kafka_jars(cache: Path | None = None) -> list[Path]:
    """The class path that runs Kafka, downloaded first if it isn't in the cache yet.

    Args:
        cache: folder to use instead of the user's cache folder.

    Raises:
        DownloadFailed: no network, no such file, no space. What did arrive is kept for the next try. Or a jar is not
            the one that this build knows; then it is deleted.
    """
    folder = kafka_cache(cache)
    jars = [folder / "repository" / path for path in _pinned()]
    if _verified(folder, jars):
        return jars
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / "lock"):
            # Another process may have finished while we waited for the lock.
            if not _verified(folder, jars):
                if not all(jar.is_file() for jar in jars):
                    _download(folder)
                _verify(folder)
            return jars
    except DownloadFailed:
        raise
    except Exception as error:
        # jgo raises what its HTTP client, its XML parser and itself raise, with no base class of its own.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DownloadFailed(f"downloading Kafka {KAFKA_VERSION} to {folder} failed: {reason[:300]}") from error


def _pinned() -> dict[str, str]:
    """The SHA-256 of every jar, by its path in the repository."""
    lines = (line.split() for line in PINS.read_text().splitlines())
    return {path: digest for digest, path in lines}


def _verified(folder: Path, jars: Sequence[Path]) -> bool:
    try:
        return (folder / "verified").read_text() == _digest(PINS) and all(jar.is_file() for jar in jars)
    except OSError:
        return False


def _verify(folder: Path) -> None:
    """Compare every jar.

    Raises:
        DownloadFailed: one is missing, or is another one.
    """
    for path, wanted in _pinned().items():
        jar = folder / "repository" / path
        if not jar.is_file():
            raise DownloadFailed(f"Kafka {KAFKA_VERSION} came without {path}; check your Maven repository")
        found = _digest(jar)
        if found != wanted:
            jar.unlink()
            raise DownloadFailed(
                f"{path} is not the file that this build knows: its SHA-256 is {found}, not {wanted}. The file was "
                "deleted. If this happens again, do not use the Maven repository, mirror or proxy that sends it"
            )
    (folder / "verified").write_text(_digest(PINS))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(folder: Path) -> None:
    repository = folder / "repository"
    _remove_partial_files(repository)
    # jgo takes an environment that it has once begun for complete, and would never bring what is missing.
    shutil.rmtree(folder / "environments", ignore_errors=True)
    with _progress() as callback:
        context = jgo.maven.MavenContext(
            resolver=jgo.maven.PythonResolver(progress_callback=callback),
            repo_cache=repository,
            timeout=TIMEOUT_SECONDS,
        )
        builder = jgo.env.EnvironmentBuilder(
            context=context, cache_dir=folder / "environments", link_strategy=jgo.env.LinkStrategy.SOFT
        )
        for endpoint in COORDINATES:
            builder.from_endpoint(endpoint)


def _remove_partial_files(repository: Path) -> None:
    """Delete what an interrupted download cut off: jgo takes every file that exists for a whole one."""
    for path in repository.rglob("*"):
        whole = path.is_dir() or (
            zipfile.is_zipfile(path)
            if path.suffix == ".jar"
            else path.suffix != ".pom" or b"</project>" in path.read_bytes()
        )
        if not whole:
            path.unlink()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, so that two processes don't do the same at once."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


Callback = Callable[[str, int], contextlib.AbstractContextManager[Callable[[int], None]]]


@contextlib.contextmanager
def _progress() -> Iterator[Callback]:
    """A bar on standard error: the file at work and the bytes so far. Without a terminal, a plain line."""
    console = Console(stderr=True)
    if not console.is_terminal:
        console.print(f"downloading Kafka {KAFKA_VERSION} (once)", highlight=False)
    columns = (
        SpinnerColumn(),
        TextColumn(f"Kafka {KAFKA_VERSION}"),
        DownloadColumn(),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("{task.fields[file]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        # How much there is to come isn't known until everything is resolved: the bar grows with each file found.
        task = progress.add_task("", total=None, file="resolving")
        expected = 0

        @contextlib.contextmanager
        def callback(name: str, size_bytes: int) -> Generator[Callable[[int], None], None, None]:
            nonlocal expected
            expected += size_bytes
            progress.update(task, total=expected, file=name)
            yield lambda count: progress.advance(task, count)

        yield callback
