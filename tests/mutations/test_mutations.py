"""The mutations fit the sources, and a run of one finds it."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.mutations.catalogue import MUTATIONS
from tests.mutations.finders import Finders
from tests.mutations.mutation import DoesNotApply, Mutation
from tests.mutations.runner import ROOT, Broken, run_one

QUICK = "proof off"
"""The first seeds find it."""


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_applies(mutation: Mutation) -> None:
    mutated = mutation.mutated(ROOT)
    compile(mutated, mutation.path, "exec")
    assert mutated != (ROOT / mutation.path).read_text()


def test_names_are_unique() -> None:
    assert [name for name, count in Counter(mutation.name for mutation in MUTATIONS).items() if count > 1] == []


@pytest.mark.parametrize("text", ["a = 2\n", "a = 1\na = 1\n"])
def test_does_not_apply_when_the_old_text_is_not_there_once(text: str, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(text)
    mutation = Mutation("name", "module.py", "a = 1\n", "a = 3\n", "harm")
    with pytest.raises(DoesNotApply, match=r"name: the text to replace is . times in module\.py"):
        mutation.mutated(tmp_path)


def test_finds_a_mutation_and_leaves_the_sources_alone() -> None:
    mutation = next(mutation for mutation in MUTATIONS if mutation.name == QUICK)
    before = (ROOT / mutation.path).read_text()
    result = asyncio.run(run_one(mutation, range(1, 11)))
    assert result.seed is not None
    assert "(tests/simulation/" in result.error
    assert (ROOT / mutation.path).read_text() == before


def test_misses_what_changes_nothing() -> None:
    nothing = Mutation("nothing", "engine/partition.py", "import math\n", "import math  # as before\n", "none")
    result = asyncio.run(run_one(nothing, [1]))
    assert (result.seed, result.error) == (None, "")


def test_a_copy_that_does_not_even_start_is_not_found() -> None:
    broken = Mutation("broken", "engine/partition.py", "import math\n", "import nowhere\n", "everything")
    with pytest.raises(Broken, match="No module named 'nowhere'"):
        asyncio.run(run_one(broken, [1]))


def test_those_that_have_found_come_first(tmp_path: Path) -> None:
    path = tmp_path / "found_by.json"
    finders = Finders.read(path)
    assert finders.order("a", 3) == [1, 2, 3]
    for name, seed in (("d", 2), ("c", 4), ("b", 4), ("a", 5)):
        finders.note(name, seed)
    kept = Finders.read(path)
    assert kept.found_by == {"a": 5, "b": 4, "c": 4, "d": 2}
    assert [kept.order(name, 5) for name in ("a", "d", "new")] == [[5, 4, 2, 1, 3], [2, 4, 5, 1, 3], [4, 2, 5, 1, 3]]
    assert kept.order("a", 3) == [2, 1, 3], "not one that is not asked for"


def test_who_has_found_is_kept_of_mutations_that_are_there() -> None:
    assert Finders.read().found_by.keys() <= {mutation.name for mutation in MUTATIONS}


def test_the_command_ends_with_the_count() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutations", "--only", QUICK, "--seeds", "10"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "found 1 of 1"
    assert done.returncode == 0


def test_a_trial_tells_each_seed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.mutations.trial", "2", "1"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"seed": 2}, {"seed": 1}]
