"""The command; see the package."""

import asyncio
import sys

import click

from tests.histories import layouts
from tests.histories.lines import generations, read, recorded, write
from tests.histories.recorder import Recorder
from tests.histories.states import state_of_history, write_state
from tests.histories.stories import STORIES


@click.group()
def main() -> None:
    """Records histories and layouts."""


@main.command()
@click.argument("generation", type=click.IntRange(min=1))
def record(generation: int) -> None:
    """Record all stories as the next generation."""
    if str(generation) in generations():
        raise click.ClickException(f"generation {generation} was recorded. It is never written again; take the next.")
    for name, story in STORIES.items():
        recorder = Recorder()
        story(recorder)
        write(str(generation), name, recorder.lines)
    asyncio.run(_restate())


@main.command()
def restate() -> None:
    """Write down what this build makes of all histories."""
    asyncio.run(_restate())


async def _restate() -> None:
    for generation, story in recorded():
        write_state(generation, story, await state_of_history(read(generation, story)))


@main.command()
def freeze() -> None:
    """Write down the layouts of new messages, new fields and new schema versions."""
    refused = layouts.freeze()
    for edit in refused:
        click.echo(edit, err=True)
    sys.exit(1 if refused else 0)


if __name__ == "__main__":
    main()
