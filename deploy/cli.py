"""The command line: `orchestration <command>`.

Every command reads its settings from the environment (docs/settings.md). What can be expected to go wrong is one line
on standard error and exit status 1; a traceback means a bug.
"""

import asyncio
import contextlib
import logging
import os
import select
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import click

from deploy.client.groups import Aliased
from deploy.errors import DeployError, Stopped
from schemas.redaction import on_one_line, without_credentials
from schemas.settings import (
    ApiSettings,
    EngineSettings,
    OperatorSettings,
    ProjectionsSettings,
    SandboxSettings,
    SettingsError,
    load,
)

WRONG_STATUS: Final = 3
"""Exit status of a repair that has found something wrong and was not told to change anything."""

UNREAD_STATUS: Final = 141
"""Exit status when whoever reads the output has gone, such as `head`: as shells have it after SIGPIPE."""

STOPPED_STATUS: Final = 130
"""Exit status after Ctrl-C, and after SIGTERM during a start, as shells have it."""

DIFFERENT_STATUS: Final = 1
COULD_NOT_LOOK_STATUS: Final = 2
"""Exit status of commands that look for something wrong: they have found it; they could not look."""

DATA_DIR: Final = click.Path(file_okay=False, path_type=Path)
PORT: Final = click.IntRange(0, 65535)
MAX_WORKERS: Final = 256
"""More than any machine has cores for. Without it, a number with a zero too many would take all its processes."""


class CouldNotLook(click.ClickException):
    """An expected error of a command that tells by its status what it has found."""

    exit_code = COULD_NOT_LOOK_STATUS


class Commands(Aliased):
    """A group whose commands' expected errors become one line, and whose colours can be turned off."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the command line; `--help` is written here."""
        with _told():
            return super().make_context(info_name, args, parent, **{"color": _colours(os.environ), **extra})

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _told():
            return super().invoke(ctx)


def _colours(environment: Mapping[str, str]) -> bool | None:
    """False if the user wants no colours (https://no-color.org) or has a terminal without; None if click decides."""
    return False if environment.get("NO_COLOR") or environment.get("TERM") == "dumb" else None


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn what can be expected into a line or a status."""
    try:
        yield
    except (Stopped, KeyboardInterrupt):
        raise click.exceptions.Exit(STOPPED_STATUS) from None
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _is_output_unread():
            raise click.exceptions.Exit(UNREAD_STATUS) from None
        if not isinstance(error, _expected()):
            raise
        raise click.ClickException(_message(error)) from None


def _is_output_unread() -> bool:
    """Whether nobody reads standard output any more. If so, what Python writes at its end goes nowhere."""
    output = sys.stdout.fileno()
    polled = select.poll()
    polled.register(output, 0)
    if not polled.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


def _message(error: Exception) -> str:
    """What a user is told, in one line."""
    from schemas.kafka import KafkaFault

    # Most faults of Kafka only wrap what the client library says.
    told = error.__cause__ if isinstance(error, KafkaFault) and error.__cause__ is not None else error
    text = " ".join(str(told).split()).removeprefix(f"{type(told).__name__}: ")
    return on_one_line(without_credentials(text)) or type(told).__name__


def _expected() -> tuple[type[Exception], ...]:
    """Imported only when something went wrong, so that `--help` stays quick."""
    import psycopg

    from engine.errors import EngineError
    from projections.errors import ProjectionsError
    from schemas.encryption_marks import KeyMissing
    from schemas.kafka import KafkaFault
    from schemas.log_integrity import LogFault

    ours = (SettingsError, DeployError, EngineError, ProjectionsError, KafkaFault, LogFault, KeyMissing)
    return (*ours, OSError, psycopg.Error)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("orchestration"), prog_name="orchestration")
def main() -> None:
    """Durable payment workflows over Kafka.

    To try it: `orchestration demo`, then `orchestration dev --sandbox`. In production run `topics create` and `migrate`
    once, then `api`, `engine` and `projections`. Settings are environment variables: see docs/settings.md.
    """


@main.command(short_help="Run the HTTP API.")
@click.option(
    "--workers",
    type=click.IntRange(1, MAX_WORKERS),
    default=1,
    show_default=True,
    help="Processes that share the port. One uses one core. More than 1 need Linux.",
)
@click.option("--worker", type=(int, int, int, int, click.Path(path_type=Path)), hidden=True)
def api(workers: int, worker: tuple[int, int, int, int, Path] | None) -> None:
    """Run the HTTP API: checks requests, appends commands to Kafka, answers from Postgres."""
    settings = load(ApiSettings)
    if workers > 1:
        from deploy.workers.parent import run_workers

        run_workers(settings, workers)
        return
    from deploy.roles import run_api
    from deploy.workers.place import Place

    run_api(settings, None if worker is None else Place(*worker))


@main.command(short_help="Run an engine.")
def engine() -> None:
    """Run an engine: decides commands, runs instances, calls ledger, wallets and payments, listens for triggers."""
    from deploy.roles import run_engine

    run_engine(load(EngineSettings))


@main.command(short_help="Run the projections.")
def projections() -> None:
    """Run the projections: write what happened into Postgres and publish public events."""
    from deploy.roles import run_projections

    run_projections(load(ProjectionsSettings))


@main.command(short_help="Migrate the database to the newest schema.")
def migrate() -> None:
    """Migrate the database to the newest schema. Does nothing if it is there already."""
    from projections.migrate import migrate as run

    applied = run(load(OperatorSettings))
    click.echo("\n".join(f"applied {name}" for name in applied) or "the schema is up to date")


@main.group()
def topics() -> None:
    """Manage the topics in Kafka."""


@topics.command("create", short_help="Create the topics that don't exist yet.")
def create() -> None:
    """Create the topics that don't exist yet. Existing topics stay as they are."""
    from deploy.topics import create_topics

    _silence_kafka()
    made = asyncio.run(create_topics(load(OperatorSettings)))
    click.echo("\n".join(f"created {name}" for name in made) or "all topics exist")


def _silence_kafka() -> None:
    """Its clients' logs repeat what the error says."""
    from schemas.kafka import CLIENT_LOGGER

    for name in (CLIENT_LOGGER, "schemas.kafka"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@topics.command("repair", short_help="Repair topics that were cut or created again.")
@click.option("--yes", is_flag=True, help="Do it. Without it, nothing is changed.")
def repair(yes: bool) -> None:
    """Repair topics that were cut or created again.

    Compares every partition with what snapshots, claims, the read model and the publisher know of it. Says what is
    wrong, what is lost, and what would be done. Everything may go on running meanwhile.

    Exit status: 0 if nothing is wrong or it was repaired, 3 if something is wrong and --yes was not given.
    """
    from deploy.progress import Progress
    from deploy.repair.command import repair as run

    _silence_kafka()
    progress = Progress("records")

    def say(line: str) -> None:
        progress.clear()
        click.echo(line)

    wrong = asyncio.run(run(load(OperatorSettings), act=yes, say=say, progress=progress.show))
    progress.clear()
    if wrong and not yes:
        click.echo("run it again with --yes to do this")
        raise click.exceptions.Exit(WRONG_STATUS)
    click.echo("repaired" if wrong else "nothing is wrong")


@main.command(short_help="Rebuild the read models from the event log.")
def rebuild() -> None:
    """Rebuild the read models from the event log, beside the live ones, and swap the two while everything runs."""
    from deploy import logs
    from deploy.garbage import collect_seldom
    from deploy.progress import Progress
    from projections.rebuild import rebuild as run

    settings = load(ProjectionsSettings)
    logs.configure(settings)
    progress = Progress("records")
    for handler in logging.getLogger().handlers:
        handler.addFilter(progress.make_room)
    collect_seldom()
    try:
        asyncio.run(run(settings, progress.show))
    finally:
        progress.clear()
    click.echo("rebuilt")


@main.command(short_help="Compare the read models with the event log.")
@click.option("--limit", "-n", type=click.IntRange(1), default=20, show_default=True, help="Differences to show.")
def verify(limit: int) -> None:
    """Fold the event log and compare the outcome with Postgres row by row, while everything runs. Changes nothing.

    Exit status: 0 if they are equal, 1 if they differ, 2 if they can't be compared.
    """
    from deploy.garbage import collect_seldom
    from deploy.progress import Progress
    from projections.verification import verify as run

    _silence_kafka()
    collect_seldom()
    progress = Progress("records")
    with _could_not_look():
        report = asyncio.run(run(load(ProjectionsSettings), limit=limit, progress=progress.show))
    progress.end(f"it took {progress.seconds:.1f} s")
    click.echo("\n".join(report.lines()))
    if not report.equal:
        raise click.exceptions.Exit(DIFFERENT_STATUS)


@contextlib.contextmanager
def _could_not_look() -> Iterator[None]:
    """Give expected errors a status of their own."""
    try:
        yield
    except BrokenPipeError:  # nobody reads the output, or else one line with status 1
        raise
    except _expected() as error:
        raise CouldNotLook(_message(error)) from None


@main.command("log", short_help="Show an aggregate's records, or those of a partition.")
@click.argument("id", required=False)
@click.option("--partition", "-p", type=click.IntRange(0), help="Show all records of this partition instead.")
@click.option("--from", "start", type=int, help="Begin at this offset; below 0 it is counted from the end.")
@click.option("--limit", "-n", type=click.IntRange(1), help="Show so many records at most.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option("--json", is_flag=True, help="One JSON object a line, with whole values.")
def log(id: str | None, partition: int | None, start: int | None, limit: int | None, follow: bool, json: bool) -> None:
    """Show the records of topic `events`, in order: of the instance, workflow or trigger ID, or of a partition.

    Each with its offset, time, type, version, cause (the offset of its command), and its claim with who made it.
    Records that do not count are marked with ✗ and the reason.
    """
    from deploy.event_log.command import show
    from deploy.event_log.reading import Query

    if (id is None) == (partition is None):
        raise click.UsageError("give either an ID or --partition")
    _silence_kafka()
    query = Query(id=_id(id), partition=partition, start=start, limit=limit, follow=follow)
    show(load(OperatorSettings), query, json=json)


def _id(text: str | None) -> str | None:
    """The id as records have it, also if it was given in capitals."""
    try:
        return None if text is None else str(UUID(text))
    except ValueError:
        raise click.UsageError(f"{text!r} is not an id: a UUID such as {UUID(int=7 << 76)} is one") from None


@main.command(short_help="Say what is wrong with an installation, and what to do.")
def doctor() -> None:
    """Look at Kafka, its topics, rights and groups, at Postgres and at the settings. Changes nothing.

    Each line says ok, warning or wrong, and what to do about it. Give it the environment of your processes.

    Exit status: 0 if all is well, 1 if there are warnings, 2 if something is wrong.
    """
    from deploy.doctor.examination import examine
    from deploy.doctor.findings import ORDER, Finding, worst
    from deploy.doctor.fitting import AllSettings

    async def look(given: AllSettings) -> list[Finding]:
        findings = []
        async for finding in examine(given):
            findings.append(finding)
            click.echo(finding.line())
        return findings

    _silence_kafka()
    with _could_not_look():
        given = AllSettings(load(ApiSettings), load(EngineSettings), load(ProjectionsSettings))
        findings = asyncio.run(look(given))
    counts = {level: sum(finding.level == level for finding in findings) for level in ORDER}
    click.echo(f"{counts['ok']} ok, {counts['warning']} warnings, {counts['wrong']} wrong")
    raise click.exceptions.Exit(ORDER.index(worst(findings)))


@main.command("test", short_help="Run scenarios of workflows.")
@click.argument("paths", metavar="FILE|FOLDER…", nargs=-1, type=click.Path(path_type=Path))
@click.option("-k", "name", help="Run only scenarios with this text in their names.")
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write the results as JUnit's XML, too.")
@click.option("--json", is_flag=True, help="Print the results as one JSON object.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of scenario files, for editors, and run nothing.")
def test(paths: tuple[Path, ...], name: str | None, junit: Path | None, json: bool, schema: bool) -> None:
    """Run the scenarios in files, and in the files of folders that end with .scenarios.yaml.

    A scenario runs a workflow by the engine's own code, against stand-ins for ledger, wallets and payments, on a clock
    whose time jumps: without Kafka and Postgres, and a delay of a month takes no time. See docs/scenarios.md.

    Exit status: 0 if all passed, 1 if one failed, 2 if a file can't be used.
    """
    from deploy.scenarios.command import test as run
    from deploy.scenarios.problems import Unusable
    from deploy.scenarios.schema import as_file

    if schema:
        click.echo(as_file(), nl=False)
        return
    if not paths:
        raise click.UsageError("give files or folders with scenarios")
    with _could_not_look():
        try:
            passed = run(paths, name=name, junit=junit, json=json, say=click.echo)
        except Unusable as unusable:
            click.echo("\n".join(unusable.lines()), err=True)
            raise click.exceptions.Exit(COULD_NOT_LOOK_STATUS) from None
    if not passed:
        raise click.exceptions.Exit(DIFFERENT_STATUS)


@main.command(short_help="Run a stand-in for ledger, wallets and payments.")
def sandbox() -> None:
    """Run a stand-in for the services that activities call: ledger, wallets and payments in memory."""
    from deploy.http.server import bind
    from deploy.sandbox.server import serve

    settings = load(SandboxSettings)
    bind(settings.sandbox_host, settings.sandbox_port).close()  # For the one-line error.
    serve(settings.sandbox_host, settings.sandbox_port)


@main.command(short_help="Run everything on an embedded Kafka and Postgres.")
@click.option("--port", type=PORT, default=8080, show_default=True, help="Port of the API; 0 takes a free one.")
@click.option("--data-dir", type=DATA_DIR, default=".orchestration", show_default=True, help="Where all data is kept.")
@click.option("--sandbox", is_flag=True, help="Also run the sandbox, and let activities call it.")
def dev(port: int, data_dir: Path, sandbox: bool) -> None:
    """Run everything on this machine, on an embedded Kafka and Postgres, until Ctrl-C.

    A later start with the same data folder goes on where this one ended.
    """
    from deploy.dev import run
    from deploy.installation import Options

    run(Options(port=port, data_dir=data_dir, sandbox=sandbox))


@main.command(short_help="Start everything, run an example, show what happened.")
@click.option("--keep", is_flag=True, help="Leave everything running afterwards, until Ctrl-C.")
@click.option("--port", type=PORT, default=0, help="Port of the API; a free one when not given.")
@click.option("--data-dir", type=DATA_DIR, help="Where all data is kept; a temporary folder when not given.")
@click.option(
    "--scenario",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Scenarios; the first one is played instead of the example.",
)
def demo(keep: bool, port: int, data_dir: Path | None, scenario: Path | None) -> None:
    """Start everything, run a workflow that waits for an approval, and show what happened."""
    from deploy.demo import run

    run(keep=keep, port=port, data_dir=data_dir, scenario=scenario)


@main.command(short_help="Print what makes a shell complete commands and names.")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    """Print what makes a shell complete commands, options, and names of workflows and triggers.

    bash: orchestration completion bash > ~/.local/share/bash-completion/completions/orchestration
    """
    from click.shell_completion import get_completion_class

    from deploy.client.completion import COMPLETION

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"{shell} can't be completed")
    click.echo(made(main, {}, "orchestration", COMPLETION).source())


main.add_later("workflows", "deploy.client.workflows", aliases=("work", "w"))
main.add_later("instances", "deploy.client.instances", aliases=("ins", "i"))
main.add_later("triggers", "deploy.client.triggers", aliases=("trig", "t"))
main.add_later("stats", "deploy.client.stats")
main.add_later("bench", "deploy.bench.command")


if __name__ == "__main__":
    main()
