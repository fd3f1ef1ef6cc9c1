"""Texts that hold variables."""

import re
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.definition.text import (
    has_reference,
    is_one_reference,
    is_only_references,
    references,
    replace_references,
)

PLAIN = re.compile(r"\$\{([^}]+)\}")
"""What a reference is. To search for it as it is takes time that grows with the square of the text."""


@given(st.text("${}ab", max_size=20))
def test_references_are_found_as_by_their_definition(text: str) -> None:
    assert has_reference(text) is (PLAIN.search(text) is not None)
    assert is_only_references(text) is (bool(PLAIN.search(text)) and not PLAIN.sub("", text))
    assert is_one_reference(text) is (PLAIN.fullmatch(text) is not None)
    assert references(text) == Counter(PLAIN.findall(text))
    assert replace_references(text, {"a": "x", "b": "${a}"}, optional=True) == PLAIN.sub(
        lambda match: {"a": "x", "b": "${a}"}.get(match[1], ""), text
    )


@pytest.mark.parametrize("text", ["${" * 50_000, "a}" + "${" * 50_000, "${}" * 50_000, "${" * 50_000 + "}"])
def test_texts_of_unclosed_references_take_no_time(text: str) -> None:
    began_at = time.process_time()
    for look in (has_reference, is_only_references, is_one_reference, references):
        look(text)
    replace_references(text, {}, optional=True)
    assert time.process_time() - began_at < 1.0
