"""What the model's types can't say of a scenario: which fields exclude each other, what is named twice."""

from collections import Counter
from datetime import datetime

from deploy.sandbox.faults import MAX_DELAY_SECONDS
from deploy.scenarios.model import Event, Fault, Scenario, ScenarioFile, Setup
from deploy.scenarios.reading import Complain, quoted
from deploy.scenarios.times import read_duration, read_instant, read_moment
from schemas.definition import Path

DEFAULT_START = "2026-01-01T00:00:00Z"
"""The same in every run, so that timelines are."""


def start_of(setup: Setup, defaults: Setup) -> datetime:
    """When the instance of a scenario starts."""
    return read_instant(setup.starts or defaults.starts or DEFAULT_START)


def check_file(file: ScenarioFile, complain: Complain) -> None:
    """Complain about what is wrong with a file as a whole."""
    counts = Counter(scenario.name for scenario in file.scenarios)
    _check_setup(file.defaults, start_of(file.defaults, file.defaults), ("defaults",), complain)
    for number, scenario in enumerate(file.scenarios):
        path = ("scenarios", number)
        if counts[scenario.name] > 1:
            complain((*path, "name"), f"{counts[scenario.name]} scenarios are named {quoted(scenario.name)}")
        start = start_of(scenario, file.defaults)
        _check_setup(scenario, start, path, complain)
        if scenario.starts is not None:
            _check_setup(file.defaults, start, ("defaults",), complain)
        _check_expect(scenario, path, complain)


def _check_setup(setup: Setup, start: datetime, path: Path, complain: Complain) -> None:
    moments = [((*path, "abort"), setup.abort), ((*path, "until"), setup.until)]
    moments += [((*path, "arrivals", number, "at"), one.at) for number, one in enumerate(setup.arrivals or ())]
    for number, event in enumerate(setup.events or ()):
        if isinstance(event, Event):
            moments.append(((*path, "events", number, "at"), event.at))
            if event.at is not None and event.after is not None:
                complain((*path, "events", number), "`at` and `after` exclude each other")
    for place, moment in moments:
        try:
            if moment is not None:
                read_moment(moment, start)
        except ValueError as error:
            complain(place, str(error))
    for number, fault in enumerate(setup.faults or ()):
        _check_fault(fault, (*path, "faults", number), complain)


def _check_fault(fault: Fault, path: Path, complain: Complain) -> None:
    of_errors = {"status": fault.status, "code": fault.code, "message": fault.message}
    for name, value in of_errors.items():
        if value is not None and fault.kind != "error":
            complain((*path, name), f"{quoted(name)} belongs to kind `error`, not to {quoted(fault.kind)}", at_key=True)
    if fault.kind == "slow":
        if fault.delay is None:
            complain(path, "kind `slow` needs a `delay`, such as 70s")
        elif read_duration(fault.delay).total_seconds() > MAX_DELAY_SECONDS:
            complain((*path, "delay"), f"a call can be slow for at most {MAX_DELAY_SECONDS} seconds")
        if fault.done is False:
            complain((*path, "done"), "what a slow call asks for is always done", at_key=True)
    elif fault.delay is not None:
        complain((*path, "delay"), f"`delay` belongs to kind `slow`, not to {quoted(fault.kind)}", at_key=True)


def _check_expect(scenario: Scenario, path: Path, complain: Complain) -> None:
    expect = scenario.expect
    if expect.error is not None and expect.outcome not in ("failed", "aborted"):
        complain((*path, "expect", "error"), "an `error` needs `outcome: failed` or `outcome: aborted`", at_key=True)
    if expect.waits_for is not None and expect.outcome != "waiting":
        complain((*path, "expect", "waitsFor"), "`waitsFor` needs `outcome: waiting`", at_key=True)
    if expect.duration is not None and expect.outcome not in ("succeeded", "failed", "aborted"):
        complain(
            (*path, "expect", "duration"), f"an instance that is {expect.outcome} has no duration yet", at_key=True
        )
