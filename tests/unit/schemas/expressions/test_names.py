"""Names in expressions that stand for nothing."""

import pytest

from schemas.expressions import ExpressionSyntaxError
from schemas.expressions.names import unknown_names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("event.a.b == 1 and len(event.list) > 2", []),
        ("status == 1 and amount > 2 or status == 3", ["status", "amount"]),
        ("let x = y; x + z", ["y", "z"]),
        ("(let x = 1; x) + x", ["x"]),
        ("all(event.list, {#.a > limit and .b})", ["limit"]),
        ("{key: value, (name): [item]}", ["value", "name", "item"]),
        ('link(payload, "x")', ["payload"]),
        ("nil", []),
    ],
)
def test_names_that_are_always_nil(text: str, names: list[str]) -> None:
    assert unknown_names(text) == names


def test_a_text_that_is_no_expression() -> None:
    with pytest.raises(ExpressionSyntaxError):
        unknown_names("a = 1")
