"""How deep a JSON text is, and how many lists and objects it has (`schemas.nesting`)."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.nesting import is_deeper, is_wider

VALUES = st.recursive(
    st.none() | st.integers() | st.text(st.sampled_from('[]{}"\\a')),
    lambda values: st.lists(values) | st.dictionaries(st.text(st.sampled_from('[]{}"\\')), values),
    max_leaves=40,
)


def depth(value: Any) -> int:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if below is None else 1 + max(map(depth, below), default=0)


def compounds(value: Any) -> int:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if below is None else 1 + sum(map(compounds, below))


@given(VALUES)
def test_lists_and_objects_are_counted_and_brackets_in_texts_are_not(value: Any) -> None:
    text = msgspec.json.encode(value)
    assert not is_wider(text, compounds(value))
    assert compounds(value) == 0 or is_wider(text, compounds(value) - 1)


@given(VALUES)
def test_levels_are_counted_and_brackets_in_texts_are_not(value: Any) -> None:
    text = msgspec.json.encode(value)
    assert not is_deeper(text, depth(value))
    assert depth(value) == 0 or is_deeper(text, depth(value) - 1)


@pytest.mark.parametrize("levels", [100, 101, 30_000])
def test_what_no_decoder_could_decode_is_measured(levels: int) -> None:
    text = b'{"a":[' * (levels // 2) + b'["]"]' * (levels % 2) + b"]}" * (levels // 2)
    assert is_deeper(text, 100) == (levels > 100)
