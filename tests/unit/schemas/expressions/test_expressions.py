"""The expression language of triggers: agreement with expr-lang, limits, links, and values as variables."""

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.error_texts import MAX_ERROR_BYTES
from schemas.expressions import (
    Allowance,
    EvaluationError,
    Expression,
    ExpressionSyntaxError,
    LinkAnswer,
    LinkNeeded,
    StepsNeeded,
    Variable,
    compile_expression,
    is_match,
    limits,
    to_variable,
)

_FOLDER = Path(__file__).parents[3] / "expressions"
_CASES = msgspec.json.decode((_FOLDER / "cases.json").read_bytes())
_EXPECTED = json.loads((_FOLDER / "expected.json").read_text())

_BIG = 12345678901234567890


def evaluate(text: str, payload: Any = None, links: dict[str, LinkAnswer] | None = None) -> Any:
    return compile_expression(text).evaluate(payload, links or {})


# --- agreement with expr-lang


def _is_same(ours: Any, expected: Any) -> bool:
    """Equal in value and in type; how `main.go` writes values is explained there."""
    if isinstance(expected, dict) and expected.keys() == {"$float"}:
        return type(ours) is float and repr(ours) == repr(float(expected["$float"]))
    if isinstance(expected, dict):
        return (
            isinstance(ours, dict)
            and {str(key) for key in ours} == expected.keys()
            and all(_is_same(value, expected[str(key)]) for key, value in ours.items())
        )
    if isinstance(expected, list):
        return (
            isinstance(ours, list)
            and len(ours) == len(expected)
            and all(_is_same(value, item) for value, item in zip(ours, expected, strict=True))
        )
    return type(ours) is type(expected) and bool(ours == expected)


def _outcome(text: str, payload: Any) -> tuple[str, Any]:
    try:
        expression = compile_expression(text)
    except ExpressionSyntaxError as error:
        return "compile_error", str(error)
    try:
        return "result", expression.evaluate(payload)
    except EvaluationError as error:
        return "run_error", str(error)


def test_the_table_of_expr_lang_belongs_to_the_cases() -> None:
    cases = [
        (expression, name)
        for group in _CASES["groups"]
        for expression in group["expressions"]
        for name in group["inputs"]
    ]
    assert [(row["expression"], row["input"]) for row in _EXPECTED] == cases
    assert len(cases) > 1000


@pytest.mark.parametrize("topic", [group["topic"] for group in _CASES["groups"]])
def test_agrees_with_expr_lang(topic: str) -> None:
    group = next(group for group in _CASES["groups"] if group["topic"] == topic)
    rows = [row for row in _EXPECTED if row["expression"] in group["expressions"] and row["input"] in group["inputs"]]
    assert rows
    differences = []
    for row in rows:
        kind, value = _outcome(row["expression"], _CASES["inputs"][row["input"]])
        if kind not in row or (kind == "result" and not _is_same(value, row["result"])):
            differences.append((row, kind, value))
    assert differences == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("event.who.name", "cannot fetch name from nil"),
        ("event.n.name", "cannot fetch name from int"),
        ("event.list[2]", "index out of range: 2 (array length is 1)"),
        ("event.n + event.s", "invalid operation: int + string"),
        ("event.n < event.s", "invalid operation: int < string"),
        ("unknown(1)", "invalid operation: cannot call nil"),
        ("event.n % 0", "integer divide by zero"),
        ('event.n in "x"', 'operator "in" not defined on string'),
    ],
)
def test_evaluation_errors_say_what_expr_lang_says(text: str, message: str) -> None:
    # `in` on a string literal compiles, since the left side is unknown.
    with pytest.raises(EvaluationError) as caught:
        evaluate(text, {"n": 1, "s": "x", "list": [1]})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unexpected end of expression"),
        ("event.a ==", "unexpected end of expression"),
        ("event.a = 1", "unexpected '=' (1:9)"),
        ("event.a\n  event.b", "unexpected 'event' (2:3)"),
        ('1 + "a"', "invalid operation: + (mismatched types int and string)"),
        ("upper()", "not enough arguments to call upper"),
        ('event.a matches "("', "error parsing regexp: missing ): ("),
        ('"\\q"', "invalid char escape: \\q"),
        ("event.a ?? 1 + 2", "operator (+) and coalesce expressions (??) cannot be mixed; wrap either by parentheses"),
        ("date(event.date)", "the function date is not supported"),
        ("event.date < now()", "the function now is not supported"),
    ],
)
def test_syntax_errors_say_what_is_wrong_and_where(text: str, message: str) -> None:
    with pytest.raises(ExpressionSyntaxError) as caught:
        compile_expression(text)
    assert str(caught.value) == message


# --- where we are better than expr-lang


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("event.big", _BIG),
        ("event.big + 1", _BIG + 1),
        ("event.big * event.big", _BIG**2),
        ("-event.big % 1000", -890),
        ("event.big > 12345678901234567889", True),
        ("event.big == 12345678901234567890", True),
        ("string(event.big)", str(_BIG)),
        ('int("12345678901234567890")', _BIG),
        ('fromJSON("[12345678901234567890]")[0]', _BIG),
        ("9223372036854775807 + 1", 2**63),
        ("9" * 400, 10**400 - 1),
        ("event.big / 10", float(_BIG) / 10),
        ("int(round(event.big * 100))", _BIG * 100),
        ("ceil(event.big)", _BIG),
        ("floor(-event.big)", -_BIG),
        ("round(event.big - event.big + 5)", 5.0),
    ],
)
def test_integers_are_exact_beyond_64_bits(text: str, value: Any) -> None:
    result = evaluate(text, {"big": _BIG})
    assert result == value
    assert type(result) is type(value)


def test_a_float_that_overflows_is_infinite() -> None:
    assert evaluate("event.big / 1", {"big": 10**400}) == float("inf")


# --- filters and variables


@pytest.mark.parametrize(
    ("value", "matches"), [(True, True), (False, False), (1, False), (None, False), ("true", False)]
)
def test_only_true_matches(value: Any, matches: bool) -> None:
    assert is_match(value) is matches


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('a "b"', 'a "b"'),
        ("", ""),
        (True, "true"),
        (False, "false"),
        (100, "100"),
        (_BIG, "12345678901234567890"),
        (-7, "-7"),
        (1.5, "1.5"),
        (100.0, "100"),
        (1e21, "1000000000000000000000"),
        (1.25e-7, "0.000000125"),
        (-0.0, "0"),
        (0.1 + 0.2, "0.30000000000000004"),
        (None, ""),
        ([1, "a", None, 1.0], '[1,"a",null,1]'),
        ({"x": 1, "a": {"é": [True]}}, '{"x":1,"a":{"é":[true]}}'),
        ([], "[]"),
        ({}, "{}"),
    ],
)
def test_a_variable_is_a_string(value: Any, text: str) -> None:
    assert to_variable(value) == text


@pytest.mark.parametrize("text", ["1 / 0", "[-1 / 0]", "0 / 0"])
def test_what_has_no_digits_is_no_variable(text: str) -> None:
    with pytest.raises(EvaluationError, match="has no JSON form"):
        to_variable(evaluate(text))


def test_a_variable_that_is_too_large_fails() -> None:
    # Forty small lists, each twice in the next: as text, more than memory holds.
    with pytest.raises(EvaluationError, match="steps"):
        to_variable(evaluate("reduce(1..40, [#acc, #acc], 1)"))
    with pytest.raises(EvaluationError, match="nested too deeply"):
        to_variable(_nested(3000))


def test_a_payload_is_not_changed() -> None:
    payload = {"list": [3, 1, 2]}
    assert evaluate("reverse(sort(event.list))", payload) == [3, 2, 1]
    assert payload == {"list": [3, 1, 2]}


# --- links

_LINKED = {"links": [{"name": "source", "uri": "/a"}, {"name": "twice", "uri": "/b"}, {"name": "twice", "uri": "/c"}]}


def test_a_link_is_asked_for_and_then_answered() -> None:
    expression = compile_expression('link(event, "source").id + "!"')
    with pytest.raises(LinkNeeded) as needed:
        expression.evaluate(_LINKED)
    assert needed.value.uri == "/a"
    assert expression.evaluate(_LINKED, {"/a": LinkAnswer(data={"id": "x"})}) == "x!"


def test_a_link_that_failed_fails_the_expression() -> None:
    with pytest.raises(EvaluationError, match=r"^unexpected status code 404$"):
        evaluate('link(event, "source").id', _LINKED, {"/a": LinkAnswer(error="unexpected status code 404")})


def test_a_link_of_what_a_link_gave() -> None:
    answers = {"/a": LinkAnswer(data={"links": [{"name": "next", "uri": "/n"}]})}
    with pytest.raises(LinkNeeded) as needed:
        evaluate('link(link(event, "source"), "next")', _LINKED, answers)
    assert needed.value.uri == "/n"


def test_a_link_that_is_not_reached_is_not_asked_for() -> None:
    assert evaluate('false and link(event, "source").ok', _LINKED) is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('link(event, "other")', "link 'other' not defined for object"),
        ('link(event, "twice")', "multiple link 'twice' found for object"),
        ('link(event.none, "source")', "link 'source' not defined for object"),
        ('link("text", "source")', "link takes an object, got string"),
        ("link(event, 1)", "second parameter must be a string"),
        ("link(event)", "expect two arguments, got 1"),
        ('link({links: [{name: "a"}]}, "a")', "link 'a' has no uri"),
    ],
)
def test_links_that_cannot_be_followed(text: str, message: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        evaluate(text, _LINKED)
    assert str(caught.value) == message


def test_the_number_of_links_is_bounded() -> None:
    uris = [f"/{number}" for number in range(limits.MAX_LINKS + 1)]
    payload = {"all": [{"links": [{"name": "x", "uri": uri}]} for uri in uris]}
    answers = {uri: LinkAnswer(data=1) for uri in uris}
    assert evaluate('sum(event.all[1:], link(#, "x"))', payload, answers) == limits.MAX_LINKS
    with pytest.raises(EvaluationError, match="follows more than 10 links"):
        evaluate('sum(event.all, link(#, "x"))', payload, answers)


def test_the_number_of_links_of_a_trigger_is_bounded() -> None:
    uris = [f"/{number}" for number in range(limits.MAX_TOTAL_LINKS + 1)]
    payload = {"all": [{"links": [{"name": "x", "uri": uri}]} for uri in uris]}
    answers = {uri: LinkAnswer(data=1) for uri in uris}
    allowance = Allowance()
    for number in range(0, limits.MAX_TOTAL_LINKS, 10):
        text = f'sum(event.all[{number}:{number + 10}], link(#, "x"))'
        for _ in range(2):
            assert Variable(text).evaluate(payload, answers, allowance) == "10"
    with pytest.raises(EvaluationError, match="the filter and the variables follow more than 50 links together"):
        Variable('link(event.all[50], "x")').evaluate(payload, answers, allowance)


# --- limits


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "text",
    [
        "1" + " " * limits.MAX_EXPRESSION_LENGTH,
        "[" * 300 + "]" * 300,
        "-" * 5000 + "1",
        "2" + " ** 2" * 1000,
        "1" + " + 1" * 1000,
        "event" + ".a" * 1000,
        "event" + "?.a" * 1000,
        "f(" * 300 + ")" * 300,
        "true" + " ? true : true" * 300,
        "event[1:" + "[" * 300 + "]" * 301,
        "9" * 3000,
        "1e999",
        f'event.a matches "{"a" * (limits.MAX_PATTERN_LENGTH + 1)}"',
        'event.a matches "((a{1000}){1000}){1000}"',
    ],
    ids=lambda text: text[:12],
)
def test_what_is_too_large_does_not_compile(text: str) -> None:
    with pytest.raises(ExpressionSyntaxError):
        compile_expression(text)


def test_what_is_just_large_enough_compiles() -> None:
    terms = limits.MAX_DEPTH - 2
    assert evaluate(" or ".join(['event.a == "x"'] * terms), {"a": "y"}) is False
    assert evaluate("(" * 4000 + "1" + ")" * 4000) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1..99999999999", "memory budget exceeded"),
        ('repeat("abc", 1000000)', "memory budget exceeded"),
        ('reduce(1..60, #acc + #acc, "a")', "memory budget exceeded"),
        ('reduce(1..60, replace(#acc, "a", "aaa"), "a")', "memory budget exceeded"),
        ("reduce(1..60, concat(#acc, #acc), [1])", "memory budget exceeded"),
        ("reduce(1..60, [#acc, #acc], 1) | flatten()", "budget exceeded|steps"),
        ("reduce(1..60, [#acc, #acc], 1) | string()", "budget exceeded|steps"),
        ("reduce(1..60, [#acc, #acc], 1) == reduce(1..60, [#acc, #acc], 1)", "steps"),
        ("reduce(1..60, #acc * #acc, 3)", "more than 8192 bits"),
        ("bitshl(1, 99999999)", "more than 8192 bits"),
        ("map(1..999, map(1..999, 1))", "steps"),
        ("map(1..1000, 1..1000)", "memory budget exceeded"),
        ("sum(map(1..50000, #), # * 1)", "steps"),
        ("uniq(1..50000)", "steps"),
        ("map(1..900, # in event.list)", "steps"),
        ('all(1..9000, event.text matches "x$")', "steps"),
        ('none(1..9000, event.text contains "xyz")', "steps"),
        ("sort(map(1..30000, # % 7))", "steps"),
        ("event.deep == event.deep", "nested too deeply"),
        ("flatten(event.deep)", "nested too deeply"),
        ("string(event.deep)", "nested too deeply"),
        ("max(event.deep)", "nested too deeply"),
        ('"a" matches event.text', "the pattern is longer than"),
        ('event.text matches "(x|xé){200}c"', "steps"),
    ],
)
def test_what_takes_too_much_fails(text: str, message: str) -> None:
    payload = {"list": list(range(1000)), "text": "x" * 100_000, "deep": _nested(3000)}
    with pytest.raises(EvaluationError, match=message):
        evaluate(text, payload)


_LARGE = 900_000
_HALF = 490_000
"""Two copies of a text with so many characters fit into an evaluation's memory."""


@pytest.mark.parametrize(
    "text",
    [
        # None of these fails if what it does is not counted; some would take minutes.
        r'count(1..480, "" matches ("\\pL{20}" + string(#))) < 0',
        r'count(1..480, "" matches ("[\\pL\\pN\\pS\\pP\\pM\\pC\\pZ]*" + string(#))) < 0',
        r'count(1..30, "" matches ("\\pL{20}" + string(#))) < 0',
        "count(1..20000, float(event.digits) > 0)",
        "count(1..3000, event.large < event.other)",
        'count(1..20000, link(event, "q1") == 1)',
        'count(1..20, event.large contains (repeat("x", 50) + "y" + repeat("x", 48)))',
        'lastIndexOf(event.large, "y" + repeat("x", 90000))',
        "trim(event.large, event.letters)",
        'count(1..2, upper(event.accents) == "") > 0',
        'count(1..2, toJSON(event.accents) == "") > 0',
        "flatten(event.deep)",
        "count(1..20000, event.object[event.key] == 1)",
        "count(1..20000, event.key in event.object)",
        "count(1..1000, event.object == event.equal) > 0",
        "count(1..5000, event.integer % event.divisor == 1) > 0",
        "count(1..5000, event.factor * event.factor == 1) > 0",
    ],
)
def test_all_that_takes_time_is_counted(text: str) -> None:
    deep: Any = list(range(80_000))
    for _ in range(90):
        deep = [deep]
    payload = {
        "large": "x" * _LARGE,
        "other": "x" * _LARGE + "y",
        "digits": "0." + "1" * _LARGE,
        "letters": "".join(map(chr, range(0x4E00, 0x4E00 + 20_000))) + "x",
        "accents": "é" * _HALF,
        "links": [{"name": f"q{number}", "uri": f"/{number}"} for number in range(30_000)],
        "deep": deep,
        "object": {"k" * _LARGE: 1},
        "equal": {"k" * _LARGE: 1},
        "key": "k" * _LARGE,
        "integer": 10**4290,
        "divisor": 10**2100 + 1,
        "factor": 10**1200,
    }
    with pytest.raises(EvaluationError, match=r"takes more than 100000 steps|more than 32 different patterns"):
        evaluate(text, payload, {"/1": LinkAnswer(data=1)})


@pytest.mark.parametrize(
    "text", ["1" * 100_000 + "x", "1" * 50_000 + "." + "1" * 50_000 + "e", "." + "1" * 100_000 + "e+"]
)
def test_a_text_that_is_not_a_number_is_refused_at_once(text: str) -> None:
    began_at = time.process_time()
    with pytest.raises(EvaluationError, match=r"float\([0-9.]+\)"):
        evaluate("float(event)", text)
    assert time.process_time() - began_at < 1.0


def test_what_is_usual_costs_little() -> None:
    allowance = Allowance()
    payload = {"s": "pay-1234567", "tags": ["a"] * 100}
    text = r'event.s matches "^pay-[0-9]+$" and count(event.tags, # matches "^(a|b)$") == 100 and upper(event.s) != ""'
    assert Expression(text).evaluate(payload, {}, allowance) is True
    assert limits.MAX_TOTAL_STEPS - allowance.steps < 2000


def test_a_pattern_is_paid_for_once() -> None:
    many = Allowance()
    assert Expression(r'count(1..1000, "a" matches "^\\pL$")').evaluate(None, {}, many) == 1000
    once = Allowance()
    assert Expression(r'"a" matches "^\\pL$"').evaluate(None, {}, once) is True
    compiling = limits.MAX_TOTAL_STEPS - once.steps
    assert limits.MAX_TOTAL_STEPS - many.steps < compiling + 1000 * 40


def test_the_number_of_patterns_is_bounded() -> None:
    built = 'count(1..{}, "" matches ("a" + string(#))) + 0'
    assert evaluate(built.format(limits.MAX_PATTERNS)) == 0
    with pytest.raises(EvaluationError, match=f"more than {limits.MAX_PATTERNS} different patterns"):
        evaluate(built.format(limits.MAX_PATTERNS + 1))
    written = [f'event matches "a{number}"' for number in range(limits.MAX_PATTERNS + 1)]
    compile_expression(" or ".join([*written[:-1], written[0]]))
    with pytest.raises(ExpressionSyntaxError, match=f"more than {limits.MAX_PATTERNS} different patterns"):
        compile_expression(" or ".join(written))


def test_the_size_of_patterns_is_bounded() -> None:
    written = [rf'event matches "\\pL{{20}}{number}"' for number in range(5)]
    with pytest.raises(ExpressionSyntaxError, match="the patterns of the expression are too large together"):
        compile_expression(" or ".join(written))


def test_expressions_of_a_trigger_share_an_allowance() -> None:
    text, allowance = "count(1..30000, # > 0)", Allowance()
    for _ in range(5):
        assert Variable(text).evaluate(None, {}, allowance) == "30000"
    for _ in range(2):
        with pytest.raises(EvaluationError, match="variables take more than 500000 steps together"):
            Variable(text).evaluate(None, {}, allowance)
    assert allowance.steps == 0
    assert evaluate(text) == 30000


def test_a_variable_is_text_within_the_same_limits() -> None:
    assert Variable("event.a").evaluate({"a": [1, "x"]}) == '[1,"x"]'
    assert Variable("event.b").evaluate({}) is None
    assert Variable('""').evaluate({}) == ""
    with pytest.raises(EvaluationError, match="takes more than 100000 steps"):
        Variable("[map(1..40000, #), map(1..40000, #)]").evaluate({})


def test_an_expression_is_compiled_when_it_is_needed() -> None:
    expression = Expression("event.")
    assert not expression.is_compiled
    for _ in range(2):
        with pytest.raises(EvaluationError, match=r"^unexpected end of expression$"):
            expression.evaluate({})
        with pytest.raises(ExpressionSyntaxError, match=r"^unexpected end of expression$"):
            expression.compile()
    assert expression.is_compiled


def test_few_steps_may_be_offered() -> None:
    with pytest.raises(StepsNeeded):
        Expression("count(1..1000, # > 0)").evaluate(None, {}, None, 100)
    assert Expression("1 + 1").evaluate(None, {}, None, 100) == 2
    # Compiling a pattern that is not at hand takes a while, so it needs all steps.
    text = '"a" matches ("b" + "{}")'.format("unique" * 9)
    with pytest.raises(StepsNeeded):
        Expression(text).evaluate(None, {}, None, 5000)
    assert Expression(text).evaluate(None) is False
    assert Expression(text).evaluate(None, {}, None, 5000) is False


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ('repeat("", 99999999999999999999)', "memory budget exceeded"),
        ('repeat("", event.f)', "memory budget exceeded"),
        ('fromBase64("é")', "illegal base64 data at input byte 0"),
        ('fromBase64("aGVsbG8")', "illegal base64 data at input byte 4"),
        ('split("a", ",", 99999999999999999999)', ["a"]),
        ('split("ab", "", 99999999999999999999)', ["a", "b"]),
        ('splitAfter("a,b", ",", event.f)', ["a,", "b"]),
        ('split("a,b", ",", -99999999999999999999)', ["a", "b"]),
        ('replace("aaa", "a", "b", 99999999999999999999)', "bbb"),
        ('replace("aaa", "a", "b", -99999999999999999999)', "bbb"),
        ('"abc"[99999999999999999999:]', ""),
        ("take([1], 99999999999999999999)", [1]),
        ("99999999999999999999..99999999999999999999", [99999999999999999999]),
        ("bitshr(1, 99999999999999999999)", 0),
        ('fromJSON(repeat("9", 5000))', "fromJSON: Integer value out of range"),
    ],
)
def test_extremes(text: str, result: Any) -> None:
    try:
        value = evaluate(text, {"f": 1e300})
    except EvaluationError as error:
        value = str(error)
    assert value == result


@pytest.mark.parametrize(
    "text",
    [
        'link(event, repeat("\\x01", 999900))',
        'int(repeat("é", 900000))',
        'event[repeat("é", 900000)].x.y',
        "event[event.long].x",
    ],
)
def test_errors_are_short(text: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        evaluate(text, {"long": "x" * 2_000_000})
    assert 0 < len(str(caught.value).encode()) <= MAX_ERROR_BYTES


def test_a_pattern_that_backtracking_cannot_match_is_no_problem() -> None:
    assert evaluate(r'event.text matches "^(a+)+$"', {"text": "a" * 50_000 + "!"}) is False
