"""What was released keeps its layout."""

import copy
from collections.abc import Callable

import pytest

from tests.histories.layouts import Layouts, edits, merged, present, recorded


def test_no_recorded_layout_has_been_edited() -> None:
    assert list(edits(recorded(), present())) == []


def test_every_layout_is_recorded() -> None:
    assert merged(recorded(), present()) == recorded(), "Something is new: run `python -m tests.histories freeze`."


def _drop(layouts: Layouts) -> None:
    del layouts["StageEnded"]["1"]["number"]


def _retype(layouts: Layouts) -> None:
    layouts["StageEnded"]["1"]["number"] = "str"


def _default(layouts: Layouts) -> None:
    layouts["InstanceStarted"]["1"]["sequence"] = "int = 1"


def _require(layouts: Layouts) -> None:
    layouts["StageEnded"]["1"]["by"] = "str"


def _remove(layouts: Layouts) -> None:
    del layouts["StageEnded"]


def _retag(layouts: Layouts) -> None:
    layouts["Definition"]["1"]["CurrentTrigger"]["kind"] = "'t'"


def _forget(layouts: Layouts) -> None:
    layouts["ActivityStarted"] = {"1": layouts["ActivityStarted"]["2"]}


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (_drop, "schema version 1 of StageEnded .* `number` is gone.*schemas/upcasters.py"),
        (_retype, "`number` was `int` and is `str`"),
        (_default, "`sequence` was `int = 0` and is `int = 1`"),
        (_require, "`by` is new and has no default"),
        (_remove, "StageEnded was removed"),
        (_retag, "in CurrentTrigger, `kind` was `'trigger'`"),
        (_forget, "ActivityStarted has had schema version 2. Keep its upcasters"),
    ],
)
def test_an_edit_is_refused_with_what_to_do(edit: Callable[[Layouts], None], told: str) -> None:
    found = copy.deepcopy(present())
    edit(found)
    (text,) = edits(recorded(), found)
    assert pytest.importorskip("re").search(told, text)


def test_new_messages_fields_with_defaults_and_versions_are_welcome() -> None:
    found = copy.deepcopy(present())
    found["StageEnded"]["1"]["by"] = "str | None = null"
    found["InstancePaused"] = {"1": {"at": "datetime"}}
    found["StageStarted"] = {"2": {"at": "int"}}
    assert list(edits(recorded(), found)) == []
    grown = merged(recorded(), found)
    assert grown["StageStarted"].keys() == {"1", "2"}
    assert grown["StageEnded"]["1"]["by"] == "str | None = null"
