"""Scenarios written in tests, and what comes of them."""

from pathlib import Path
from textwrap import dedent

from deploy.scenarios.files import Case, read_cases
from deploy.scenarios.play import Played, play
from deploy.scenarios.problems import Unusable
from deploy.scenarios.running import Result, run
from deploy.scenarios.timeline import timeline
from deploy.scenarios.times import shown


def cases(folder: Path, text: str) -> list[Case]:
    file = folder / "told.scenarios.yaml"
    file.write_text(dedent(text))
    return list(read_cases(file))


def problems(folder: Path, text: str) -> list[str]:
    """What is wrong with a file, `line:column: message` each."""
    try:
        cases(folder, text)
    except Unusable as unusable:
        return [f"{problem.line}:{problem.column}: {problem.message}" for problem in unusable.problems]
    return []


def played(folder: Path, text: str) -> Played:
    """What comes of the one scenario of a file."""
    (case,) = cases(folder, text)
    return play(case)


def result(folder: Path, text: str) -> Result:
    """What comes of the one scenario of a file, compared."""
    (case,) = cases(folder, text)
    return run(case)


def stages(played: Played) -> list[tuple[str, str, str | None]]:
    """Name, status and duration of each stage."""
    return [
        (stage.name, stage.status, None if stage.ended is None else shown(stage.ended - stage.started))
        for stage in played.story.stages
    ]


def told(played: Played) -> list[str]:
    """The timeline, without the blanks in front of the times."""
    return [line.strip() for line in timeline(played.story)]
