"""`orchestration test`: which scenarios run, and where their results go."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.scenarios.files import find_files, read_cases
from deploy.scenarios.junit import as_junit
from deploy.scenarios.problems import Problem, Unusable
from deploy.scenarios.report import as_json, lines_of, summary
from deploy.scenarios.running import Result, run
from schemas.redaction import in_json


def test(
    paths: Sequence[Path], *, name: str | None, junit: Path | None, json: bool, say: Callable[[str], None]
) -> bool:
    """Run scenarios. All files are read before the first one runs.

    Args:
        paths: files and folders.
        name: a part of the names of those to run, in any case; all of them if not given.
        junit: takes the results as JUnit's XML.
        json: say the results as one JSON object, and nothing else.
        say: takes what a person or a program reads.

    Returns:
        Whether all passed.

    Raises:
        Unusable: a file can't be used, or there is no scenario to run.
    """
    begin = time.perf_counter()
    cases = [case for file in find_files(paths) for case in read_cases(file)]
    if name is not None:
        cases = [case for case in cases if name.casefold() in case.name.casefold()]
        if not cases:
            raise Unusable(paths[0], [Problem(f"no scenario has {name!r} in its name")])
    results: list[Result] = []
    file = None
    for case in cases:
        if case.file != file and not json:
            say(f"{case.file}")
        file = case.file
        results.append(run(case))
        if not json:
            say("\n".join(lines_of(results[-1])))
    if junit is not None:
        junit.write_bytes(as_junit(results))
    say(in_json(as_json(results).decode()) if json else summary(results, time.perf_counter() - begin))
    return all(result.passed for result in results)
