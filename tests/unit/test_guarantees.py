"""`docs/guarantees.md` names proofs that exist."""

import ast
import re
from pathlib import Path

import pytest

from tests.chaos.faults import FAULTS
from tests.mutations.catalogue import MUTATIONS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/guarantees.md").read_text()
PROOFS = re.findall(r"\*\*Proved by\*\*(.*?)(?=\n\n|\Z)", TEXT, re.DOTALL)


def named(label: str) -> list[str]:
    """What stands in backticks behind a label, up to the end of its sentence."""
    found = []
    for proof in PROOFS:
        for sentence in re.findall(label + r"(?:(?!Tests)[^`])*((?:`[^`]+`(?:,\s+|\s+and\s+)?)+)", proof):
            found += re.findall(r"`([^`]+)`", sentence)
    return [" ".join(name.split()) for name in found]


def test_each_promise_names_its_proof() -> None:
    assert len(PROOFS) == len(re.findall(r"^## \d+\. ", TEXT, re.MULTILINE))
    assert all("`" in proof for proof in PROOFS)


@pytest.mark.parametrize("name", named("planted bugs:"))
def test_planted_bugs_exist(name: str) -> None:
    assert name in {mutation.name for mutation in MUTATIONS if not mutation.without_effect}


@pytest.mark.parametrize("name", named("Cluster:"))
def test_faults_exist(name: str) -> None:
    assert name in FAULTS


@pytest.mark.parametrize("place", sorted(set(re.findall(r"`(tests/[^`\s]+)`", TEXT))))
def test_tests_exist(place: str) -> None:
    path, _, name = place.partition("::")
    names = {
        node.name
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name in names if name else any(name.startswith("test_") for name in names)
