"""`requirements.lock` and the part of it that is installed (`deploy.bootstrap`)."""

import importlib.metadata
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.bootstrap import requirements

LOCK = (Path(__file__).parents[3] / "requirements.lock").read_text()


def names(lock: str) -> set[str]:
    return {canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}


def test_every_version_is_pinned_by_hashes_and_no_server_is_named() -> None:
    entries = re.findall(r"^(?=\w).*(?:\n[ ]+.*)*", LOCK, re.MULTILINE)
    assert len(entries) > 90
    for entry in entries:
        assert re.match(r"[\w.-]+==[\w.]+( ;.*)? \\\n( {4}--hash=sha256:[0-9a-f]{64}( \\)?\n)+ {4}# via", entry), entry
    assert "//" not in LOCK


def test_all_extras_together_need_all_of_it() -> None:
    assert names(requirements({"build", "local", "test"})) == names(LOCK)


def test_a_part_has_what_it_needs_and_no_more() -> None:
    plain, local, build = requirements(set()), requirements({"local"}), requirements({"build"}, only=True)
    assert {"aiokafka", "starlette", "async-timeout", "h11", "cramjam"} <= names(plain)
    assert not names(plain) & {"pytest", "jgo", "hatchling", "psutil"}
    assert names(local) - names(plain) >= {"jgo", "cjdk", "platformdirs", "psutil"}
    assert {"hatchling", "editables", "pathspec", "trove-classifiers"} <= names(build)
    assert "aiokafka" not in names(build)


@pytest.mark.parametrize("extra", ["local", "test"])
def test_a_part_is_complete(extra: str) -> None:
    part = names(requirements({extra}))
    for name in part:
        try:
            needed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of another platform
        for line in map(Requirement, needed):
            if line.marker is None or line.marker.evaluate({"extra": ""}):
                assert canonicalize_name(line.name) in part, f"{name} needs {line.name}"
