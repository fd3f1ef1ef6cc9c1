"""Variables on the command line."""

import click
import pytest

from deploy.client.parsing import variables


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ((), {}),
        (("a=1",), {"a": "1"}),
        (("a=1", "b=2"), {"a": "1", "b": "2"}),
        (("a=1,b=2", "c=3"), {"a": "1", "b": "2", "c": "3"}),  # as fctl takes it
        (("a=1, b=2",), {"a": "1", "b": "2"}),
        (("a=x,y",), {"a": "x,y"}),
        (("a=",), {"a": ""}),
        (("a=b=c",), {"a": "b=c"}),
        (('a=split(event.x, ",")[0]',), {"a": 'split(event.x, ",")[0]'}),
        (("a=f(event.x, event.y == 1),b=2",), {"a": "f(event.x, event.y == 1)", "b": "2"}),
        (("a=1", "a=2"), {"a": "2"}),
        (("note=x,a=1", "a=2"), {"note": "x", "a": "2"}),
    ],
)
def test_variables(texts: tuple[str, ...], found: dict[str, str]) -> None:
    assert variables(texts) == found


@pytest.mark.parametrize("text", ["a", "", "=1", " =1", ",a=1"])
def test_what_is_not_a_variable(text: str) -> None:
    with pytest.raises(click.UsageError, match="is not key=value"):
        variables((text,))


@pytest.mark.parametrize("texts", [("a=1", "note=thanks,a=999"), ("a=1,a=2",), ("a=1", "note=x, a=1")])
def test_a_value_with_commas_replaces_no_variable(texts: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError, match="'a' is given before"):
        variables(texts)
