"""Prometheus' configuration, the alerts and the dashboard: they name what the processes really show.

Where `promtool` is on the PATH it also checks the files, and tests the alerts against made-up series.
"""

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from api.metrics import Metrics as ApiMetrics
from api.waiting import Admission
from deploy.workers.metrics import WORKER_UP
from engine.metrics import Metrics as EngineMetrics
from projections.bulk.metrics import Metrics as BulkMetrics
from projections.metrics import Metrics as ProjectionsMetrics
from projections.publisher.metrics import Metrics as PublisherMetrics
from schemas.settings import ApiSettings, EngineSettings, ProjectionsSettings

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))

SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
    "gauge": ("",),
}
FOREIGN = {
    "up": set(),
    "ALERTS": {"alertname", "alertstate", "severity"},
    # Of prometheus_client, on Linux.
    "process_cpu_seconds_total": set(),
    "process_start_time_seconds": set(),
    "process_resident_memory_bytes": set(),
}
OF_THE_SCRAPE = {"job", "instance", "worker"}
"""The last one is put in when several workers of the API answer as one."""
WORDS = {"and", "or", "unless", "offset", "bool", "on", "ignoring", "by", "without"}


def shown() -> dict[str, set[str]]:
    """All names of series that the processes show, with their labels."""
    engine, projections = CollectorRegistry(), CollectorRegistry()
    EngineMetrics(engine)
    ProjectionsMetrics(projections)
    PublisherMetrics(projections)
    BulkMetrics(projections)
    series: dict[str, set[str]] = {**FOREIGN, WORKER_UP: set()}
    for registry in (engine, projections, ApiMetrics(Admission(1), Admission(1)).registry):
        for collector in list(registry._collector_to_names):
            for family in collector.collect():
                labels = {*getattr(collector, "_labelnames", ())}
                for suffix in SUFFIXES.get(family.type, ()):
                    series[family.name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return series


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document


def rules() -> list[dict[str, Any]]:
    return [rule for group in read(PROMETHEUS / "alerts.yml")["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def recorded() -> dict[str, set[str]]:
    """The names that recording rules make, with the labels that they keep."""
    return {rule["record"]: labels_by(rule["expr"]) for rule in rules() if "record" in rule}


def labels_by(expression: str) -> set[str]:
    groups = re.findall(r"\bby\s*\(([^)]*)\)", expression)
    return {label.strip() for group in groups for label in group.split(",")}


def metrics_of(expression: str) -> Iterator[tuple[str, set[str]]]:
    """The metrics in an expression with the labels that are matched or grouped by."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    outside = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|without)\s*\([^)]*\)", " ", bare)
    names = set(re.findall(r"(?<![\w:.])[a-zA-Z_][\w:]*(?![\w:]*\s*\()", outside)) - WORDS
    for name in names:
        selectors = re.findall(rf"\b{name}\s*\{{([^}}]*)\}}", bare)
        yield name, {label for selector in selectors for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)}


def panels(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["panels"]
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression with the place where it stands."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for path in DASHBOARDS:
        for panel in panels(path):
            for target in panel.get("targets", ()):
                yield f"{path.name}: {panel['title']}", target["expr"]


def test_expressions_name_what_the_processes_show() -> None:
    known = shown() | recorded()
    wrong = []
    for place, expression in expressions():
        named = dict(metrics_of(expression))
        assert named, place
        wrong += [f"{place}: no metric {name}" for name in named if name not in known]
        wrong += [
            f"{place}: {name} has no label {label}"
            for name, labels in named.items()
            for label in labels - known.get(name, set()) - OF_THE_SCRAPE
        ]
        of_any = set().union(OF_THE_SCRAPE, *(known.get(name, set()) for name in named))
        wrong += [f"{place}: grouped by unknown {label}" for label in labels_by(expression) - of_any]
    assert wrong == []


def test_everything_of_ours_is_on_the_dashboard() -> None:
    """By families, so that a new metric is not forgotten."""
    text = "\n".join(path.read_text() for path in DASHBOARDS)
    stems = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in shown() if name.startswith("orchestration_")}
    assert {stem for stem in stems if stem not in text} == set()


def test_alerts_say_what_to_do() -> None:
    handbook = (ROOT / "docs" / "operations.md").read_text()
    tests = (PROMETHEUS / "alerts.test.yml").read_text()
    names = [alert["alert"] for alert in alerts()]
    assert len(set(names)) == len(names)
    for alert in alerts():
        assert alert["labels"]["severity"] in {"warning", "critical"}, alert
        assert alert["annotations"]["summary"], alert
        assert f"| `{alert['alert']}` |" in handbook
        assert alert["alert"] in tests
    assert set(re.findall(r"^\| `(Orchestration\w+)` \|", handbook, re.MULTILINE)) == set(names)


def test_all_processes_are_scraped() -> None:
    configuration = read(PROMETHEUS / "prometheus.yml")
    scraped = {
        job["job_name"]: (source["names"], source["port"])
        for job in configuration["scrape_configs"]
        for source in job.get("dns_sd_configs", ())
    }
    assert scraped == {
        "orchestration-api": (["api"], ApiSettings().port),
        "orchestration-engine": (["engine"], EngineSettings().engine_metrics_port),
        "orchestration-projections": (["projections"], ProjectionsSettings().projections_metrics_port),
    }
    for place, expression in expressions():
        for operator, job in re.findall(r'job(=~|=)"([^"]*)"', expression):
            assert any(re.fullmatch(job, name) if operator == "=~" else job == name for name in scraped), place


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_dashboard_is_sound(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    assert dashboard["uid"]
    assert [variable["type"] for variable in dashboard["templating"]["list"]] == ["datasource"]
    assert duplicates(panel["id"] for panel in panels(path)) == set()
    cells: list[tuple[int, int]] = []
    for panel in panels(path):
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells += [(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])]
        if panel["type"] == "row":
            continue
        source = {"type": "prometheus", "uid": "${datasource}"}
        assert panel["targets"], panel["title"]
        assert [part["datasource"] for part in (panel, *panel["targets"])] == [source] * (1 + len(panel["targets"]))
        assert duplicates(target["refId"] for target in panel["targets"]) == set()
        for target in panel["targets"]:
            kept = labels_by(target["expr"]) or OF_THE_SCRAPE
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept, panel["title"]
    assert duplicates(cells) == set(), "panels overlap"


def duplicates(values: Iterable[Any]) -> set[Any]:
    return {value for value, count in Counter(values).items() if count > 1}


def test_grafana_finds_dashboards_and_prometheus() -> None:
    compose = read(ROOT / "deploy" / "compose" / "compose.yaml")["services"]
    (source,) = read(GRAFANA / "provisioning" / "datasources" / "prometheus.yaml")["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in compose
    (provider,) = read(GRAFANA / "provisioning" / "dashboards" / "orchestration.yaml")["providers"]
    folder = provider["options"]["path"]
    assert f"../grafana/dashboards:{folder}:ro" in compose["grafana"]["volumes"]
    assert "../grafana/provisioning:/etc/grafana/provisioning:ro" in compose["grafana"]["volumes"]
    home = Path(compose["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (str(home.parent), GRAFANA / "dashboards" / home.name) == (folder, DASHBOARDS[0])


@pytest.mark.parametrize(
    "arguments",
    [["check", "config", "prometheus.yml"], ["test", "rules", "alerts.test.yml"]],
    ids=["configuration", "alerts"],
)
def test_promtool_agrees(arguments: list[str]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool, which comes with Prometheus, is not on the PATH")
    command = [promtool, *arguments]
    done = subprocess.run(command, cwd=PROMETHEUS, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
