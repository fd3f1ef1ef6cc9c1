"""Everything that can be said of a definition before it is created.

Creation (`parse_definition`) stops at the first error; this goes on, by the same `read` of each stage. So creation
refuses a definition if, and only if, there are errors here, and says what the first one says.
"""

from datetime import datetime

from schemas.definition.advice import Advice
from schemas.definition.checking import CheckedFields
from schemas.definition.definition import Definition, definition_object
from schemas.definition.errors import InvalidField, Path
from schemas.definition.findings import Report
from schemas.definition.reading import read_object
from schemas.definition.stages import STAGES, stage_parts
from schemas.definition.suggestions import as_object, did_you_mean


def check_definition(value: object, now: datetime) -> Report:
    """Check a definition that may be created.

    Args:
        value: The decoded JSON or YAML, as for `parse_definition`.
        now: With an offset; what is before it is past.
    """
    report = Report()
    try:
        values = definition_object(value)
    except InvalidField as error:
        report.error(error)
        return report
    definition = CheckedFields((), values, report, replaced=False).read_as(Definition)
    if values.get("stages") == []:
        report.warn(("stages",), "there are no stages, so an instance succeeds at once")
    advice = Advice(report, now)
    for number, stage in enumerate(definition.stages):
        _check_stage(("stages", number), stage, report, advice)
    return report


def _check_stage(place: Path, stage: object, report: Report, advice: Advice) -> None:
    errors = report.errors
    try:
        name, value, kind = stage_parts(stage)
        values = read_object(value, (name,))
    except InvalidField as error:
        report.error(
            InvalidField((*place, *error.path), error.reason), _suggestion(stage) if report.has_room("error") else ""
        )
        return
    read = CheckedFields((*place, name), values, report).read_as(kind)
    if report.errors == errors:
        advice.give((*place, name), values, read)


def _suggestion(stage: object) -> str:
    """What to do about something that is not a stage."""
    if not isinstance(stage, dict):
        return f"did you mean `{stage}: {{}}`?" if isinstance(stage, str) and stage in STAGES else ""
    names = [name for name in stage if name in STAGES]
    if len(stage) == 1:
        ((name, value),) = stage.items()
        if name in STAGES:
            return as_object(name, value)
        return did_you_mean(name, STAGES) or f"the stages are {', '.join(STAGES)}"
    if len(names) > 1:
        return "make each stage an item of its own"
    if names and stage[names[0]] is None:
        return f"move the other fields into `{names[0]}`: in YAML, indent them further"
    return f"the stages are {', '.join(STAGES)}"
