"""Kafka's jars: downloaded once from Maven Central into the user's cache, then used without any network.

<cache>/orchestration/kafka-4.3.1/
    classpath      one jar per line, relative; written last, so it marks a complete download
    repository/    the jars and their descriptions, as Maven lays them out
    environments/  jgo's own bookkeeping
    aot-…          see `aot`
    lock           held while something here is made, so that two processes don't do it at once
"""

import contextlib
import fcntl
import zipfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import jgo.env
import jgo.maven
import platformdirs
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from deploy.embedded.errors import DownloadFailed

KAFKA_VERSION = "4.3.1"
COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    # Kafka's dependencies hold no logging back end. Resolved by itself: asked for together, an older client wins.
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4",
)
TIMEOUT_SECONDS = 30
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
        DownloadFailed: no network, no such file, no space. What did arrive is kept for the next try.
    """
    folder = kafka_cache(cache)
    ready = _read(folder)
    if ready:
        return ready
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / "lock"):
            # Another process may have finished while we waited for the lock.
            return _read(folder) or _download(folder)
    except Exception as error:
        # jgo raises what its HTTP client, its XML parser and itself raise, with no base class of its own.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DownloadFailed(f"downloading Kafka {KAFKA_VERSION} to {folder} failed: {reason[:300]}") from error


def _read(folder: Path) -> list[Path] | None:
    try:
        jars = [folder / line for line in (folder / "classpath").read_text().splitlines()]
    except OSError:
        return None
    return jars if jars and all(jar.is_file() for jar in jars) else None


def _download(folder: Path) -> list[Path]:
    repository = folder / "repository"
    _remove_partial_files(repository)
    with _progress() as callback:
        context = jgo.maven.MavenContext(
            resolver=jgo.maven.PythonResolver(progress_callback=callback),
            repo_cache=repository,
            timeout=TIMEOUT_SECONDS,
        )
        builder = jgo.env.EnvironmentBuilder(
            context=context, cache_dir=folder / "environments", link_strategy=jgo.env.LinkStrategy.SOFT
        )
        environments = [builder.from_endpoint(endpoint) for endpoint in COORDINATES]
    # By name, so that a library both bring (slf4j) is on the class path once.
    jars = {jar.name: jar.resolve() for environment in environments for jar in environment.all_jars}
    lines = "".join(f"{jar.relative_to(folder.resolve())}\n" for jar in jars.values())
    new = folder / "classpath.new"
    new.write_text(lines)
    new.replace(folder / "classpath")
    return [folder / line for line in lines.splitlines()]


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
    """A bar on standard error: the file at work and the bytes so far. A plain line where there is no terminal."""
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
