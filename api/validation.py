"""The text of a definition, checked: what `POST /v2/workflows/validate` answers, and what the command line shows.

It accepts exactly what creation accepts, since it decodes and checks by the same code.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from msgspec import UNSET, UnsetType

from api.bodies.json_body import YAML_HINT, decode_json_not_yaml
from api.bodies.places import Place, Spot, YamlPlaces, json_spots, place_of, prefixes
from api.bodies.yaml_body import decode_yaml
from api.errors import MalformedBody
from schemas.definition import Path, Report, Use, check_definition, shown_path
from schemas.error_texts import cut_error
from schemas.resources import Validation, ValidationFinding, VariableUse, WorkflowVariable

MAX_PATH_BYTES: Final = 512
"""A key of a metadata map may be as long as the body; a thousand findings must not repeat it."""


def validate(body: bytes, *, is_yaml: bool, max_bytes: int, now: datetime, yaml_hint: str = YAML_HINT) -> Validation:
    """Check the text of a definition.

    Args:
        body: the text; not empty.
        is_yaml: whether it is YAML; else it is JSON.
        max_bytes: largest body that creation takes.
        now: with an offset.
        yaml_hint: what to do if it is YAML and was taken for JSON.
    """
    places = YamlPlaces() if is_yaml else None
    try:
        value = decode_yaml(body, max_bytes, places) if is_yaml else decode_json_not_yaml(body, yaml_hint)
    except MalformedBody as error:
        return _malformed(error, len(body), max_bytes)
    report = check_definition(value, now)
    wanted = prefixes([finding.path for finding in report.findings] + [use.path for use in report.uses])
    spots = json_spots(body.decode(), wanted) if places is None else places.spots(value, wanted)
    stages = value.get("stages") if isinstance(value, dict) else None
    return Validation(
        valid=not report.errors,
        findings=_findings(report, spots),
        omitted=report.omitted or UNSET,
        variables=_variables(report.uses, spots),
        omitted_uses=report.omitted_uses or UNSET,
        stages=len(stages) if isinstance(stages, list) else 0,
        size=len(body),
        max_size=max_bytes,
    )


def _malformed(error: MalformedBody, size: int, max_bytes: int) -> Validation:
    found = ValidationFinding(
        severity="error",
        path="",
        line=error.line or UNSET,
        column=error.column or UNSET,
        message=error.problem,
    )
    return Validation(valid=False, findings=[found], variables=[], stages=0, size=size, max_size=max_bytes)


def _findings(report: Report, spots: Mapping[Path, Spot]) -> list[ValidationFinding]:
    placed = [(place_of(finding.path, spots, at_key=finding.at_key), finding) for finding in report.findings]
    placed.sort(key=lambda item: item[0] or Place(0, 0))
    return [
        ValidationFinding(
            severity=finding.severity,
            path=_shown(finding.path),
            line=_line(place),
            column=_column(place),
            message=finding.message,
            suggestion=finding.suggestion or UNSET,
        )
        for place, finding in placed
    ]


def _variables(uses: list[Use], spots: Mapping[Path, Spot]) -> list[WorkflowVariable]:
    by_name: dict[str, list[Use]] = {}
    for use in uses:
        by_name.setdefault(use.variable, []).append(use)
    return [
        WorkflowVariable(
            name=name, required=any(use.required for use in named), uses=[_use(use, spots) for use in named]
        )
        for name, named in by_name.items()
    ]


def _use(use: Use, spots: Mapping[Path, Spot]) -> VariableUse:
    place = place_of(use.path, spots)
    return VariableUse(
        path=_shown(use.path),
        line=_line(place),
        column=_column(place),
        field=cut_error(str(use.path[-1]), MAX_PATH_BYTES),
        read_as=use.read_as,
    )


def _shown(path: Path) -> str:
    return cut_error(shown_path(path), MAX_PATH_BYTES)


def _line(place: Place | None) -> int | UnsetType:
    return UNSET if place is None else place.line


def _column(place: Place | None) -> int | UnsetType:
    return UNSET if place is None else place.column
