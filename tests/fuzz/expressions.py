"""Expressions of triggers on payloads of all kinds: whatever they are, they give a value or an error, and in time.

An expression is one of the table of expr-lang with some of its text changed, or is put together from all that the
language has, with arguments that are far too large, of the wrong type, or slow.
"""

import json
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas.error_texts import MAX_ERROR_BYTES
from schemas.expressions import (
    Allowance,
    EvaluationError,
    Expression,
    ExpressionSyntaxError,
    LinkAnswer,
    LinkNeeded,
    Variable,
    limits,
    turns,
)
from schemas.expressions.functions import FUNCTIONS
from schemas.expressions.operators import PRECEDENCES
from schemas.expressions.predicates import PREDICATES
from tests.fuzz.runner import Check

NAME: Final = "expressions"

MAX_SECONDS: Final = 3.0
"""Most processor time of one evaluation. Those that are known to be slow take 0.3 s; without any limits, minutes."""

CASES: Final[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "expressions" / "cases.json").read_text())
KNOWN: Final = [text for group in CASES["groups"] for text in group["expressions"]]
PAYLOADS: Final = list(CASES["inputs"].values())

LITERALS: Final = (
    *("0", "1", "-1", "1.5", "1e308", "9223372036854775807", "99999999999999999999", "0x1F", "9" * 2000),
    *(
        '""',
        '"a"',
        '"é"',
        '"\\u0000"',
        '"a,b,c"',
        '"main"',
        '"^a+$"',
        r'"(\\pL{50}|x)*"',
        '"("',
        "`raw`",
        "nil",
        "true",
    ),
    *("[]", "{}", "[1, 2]", '["a"]', "[[1], 2]", "{a: 1}", "1..9", "1..33000", "1..900000", "-5..5"),
    *('repeat("x", 900000)', 'repeat("é,", 90000)', 'fromJSON(repeat("[", 300) + repeat("]", 300))', '"x" | upper()'),
)
NAMES: Final = ("event", "event.a", "event.s", "event.n", "event.list", "event.deep", "event.objects", "$env", "x")
OF_KIND: Final = {
    "string": (
        '""',
        '"a"',
        '"é"',
        '"a,b,c"',
        '"aGVs"',
        '"12"',
        '"[1]"',
        'repeat("x", 900000)',
        'repeat("é,", 90000)',
        "event.s",
    ),
    "int": ("0", "1", "-1", "7", "2147483648", "9223372036854775807", "99999999999999999999", "event.n", "event.f"),
    "array": ("[]", "[1, 2]", '["a", "b"]', "[[1], [[2]]]", "1..33000", "1..900000", "event.list", "event.deep"),
    "map": ("{}", '{a: 1, "b": [2]}', "event", "event.a"),
}
OF_ITEMS: Final = ("# > 0", "# == event.a", "string(#) == event.s", ".id", "#acc + #")
LINK_NAMES: Final = ('"l"', '"m"', '"no"', "event.s", "1")
WORDS: Final = (
    *(" and ", " or ", "not ", " in ", " matches ", " contains ", "..", "?.", "??", "[", "]", "(", ")", "{", "}", "#"),
    *(
        ".",
        ",",
        ";",
        ":",
        "?",
        "|",
        '"',
        "'",
        "`",
        "\\",
        "//",
        "/*",
        "let x = ",
        "if ",
        "else",
        "\n",
        "\0",
        "é",
        "\u2028",
    ),
)


def payload(rng: random.Random) -> Any:
    """What `event` is."""
    if rng.random() < 0.3:
        return rng.choice((*PAYLOADS, None, [], "text", 7))
    deep: Any = rng.choice((1, "x", []))
    for _ in range(rng.choice((1, 50, 97))):
        deep = [deep] if rng.random() < 0.7 else {"a": deep}
    size = rng.choice((0, 3, 100, 20_000))
    text = rng.choice(("x", "a,b", "é", "<", "\0", "1")) * size
    return {
        "a": rng.choice((1, "a", None, True, 1.5, [1], {"b": 2})),
        "s": text,
        "n": rng.choice((0, -7, 2**63, 10**4000, 1.5, 1e308)),
        "f": rng.choice((1e300, -1e300, 0.5)),
        "list": rng.choice(([], list(range(size)), [text] * 30, ["a", "b"], [[1, 2], [3]])),
        "deep": deep,
        "objects": [{"id": str(number), "amount": number, "tags": ["a"]} for number in range(min(size, 2000))],
        "links": [{"name": "l", "uri": "http://stack/l"}, {"name": "m", "uri": text[:500]}],
    }


def expression(rng: random.Random, depth: int = 4) -> str:
    """The text of an expression that may compile."""
    if depth == 0 or rng.random() < 0.15:
        # Little is known of what comes out of the payload, so nearly all that is made of it compiles.
        return rng.choice(LITERALS if rng.random() < 0.2 else NAMES)

    def part() -> str:
        return expression(rng, depth - 1)

    forms: tuple[Callable[[], str], ...] = (
        lambda: f"{part()} {rng.choice(list(PRECEDENCES))} {part()}",
        lambda: call(rng, part),
        lambda: call(rng, part),
        lambda: f"{rng.choice(sorted(PREDICATES))}({part()}, {rng.choice((*OF_ITEMS, part()))})",
        lambda: f"({part()} ? {part()} : {part()})",
        lambda: f"{part()}[{part()}]",
        lambda: f"{part()}[{part()}:{part()}]",
        lambda: f"{part()}{rng.choice(('.', '?.'))}{rng.choice(('a', 'id', 'links', 'length'))}",
        lambda: f"[{part()}, {part()}]",
        lambda: f"{{a: {part()}, ({part()}): {part()}}}",
        lambda: f"link({part()}, {rng.choice(LINK_NAMES)})",
        lambda: f"let x = {part()}; {part()}",
        lambda: f"reduce({part()}, {rng.choice(('#acc + #acc', '[#acc, #acc]', '#acc * #acc', part()))}, {part()})",
        lambda: (
            f"count(1..{rng.choice((5, 500, 30_000))}, {part()} {rng.choice(('==', '<', 'matches', 'in'))} {part()})"
        ),
        lambda: f"-{part()}",
        lambda: f"({part()})",
    )
    return rng.choice(forms)()


def call(rng: random.Random, part: Callable[[], str]) -> str:
    """A call of a builtin, mostly with as many arguments as it takes, and often with extreme ones."""
    name = rng.choice(sorted(FUNCTIONS))
    function = FUNCTIONS[name]
    count = rng.choice((function.required, function.required, len(function.parameters), rng.randrange(5)))
    kinds = [function.parameters[min(position, len(function.parameters) - 1)] for position in range(count)]
    given = [rng.choice(OF_KIND.get(kind[0], LITERALS)) if kind and rng.random() < 0.4 else part() for kind in kinds]
    return f"{name}({', '.join(given)})"


def changed(rng: random.Random, text: str) -> str:
    """The text with some of it dropped, doubled, or replaced by words of the language."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(text) + 1)
        end = rng.randint(at, min(len(text), at + 10))
        text = rng.choice((text[:at] + rng.choice(WORDS) + text[end:], text[:at] + text[end:], text[:end] + text[at:]))
    return text


def compiles(text: str) -> bool:
    """Whether it does; if not, the error can be shown."""
    begin, told = time.thread_time(), ""
    try:
        Expression(text).compile()
    except ExpressionSyntaxError as error:
        told = str(error)
    taken = time.thread_time() - begin
    assert taken < MAX_SECONDS, f"{taken:.1f} s to compile"
    assert len(told.encode()) <= MAX_ERROR_BYTES
    return not told


def outcome(made: Expression, event: Any, links: dict[str, LinkAnswer]) -> tuple[str, str]:
    """Evaluate it here: what came of it, in a word and in full."""
    allowance, begin = Allowance(), time.thread_time()
    try:
        word, whole = "value", repr(made.evaluate(event, links, allowance))
    except EvaluationError as error:
        word, whole = "error", str(error)
    except LinkNeeded as needed:
        word, whole = "link", needed.uri
    taken = time.thread_time() - begin
    assert taken < MAX_SECONDS, f"{taken:.1f} s for {limits.MAX_TOTAL_STEPS - allowance.steps} steps"
    assert allowance.steps >= limits.MAX_TOTAL_STEPS - limits.MAX_STEPS
    assert word != "error" or 0 < len(whole.encode()) <= MAX_ERROR_BYTES
    return word, whole


async def beside(made: Expression, event: Any, links: dict[str, LinkAnswer]) -> tuple[str, str]:
    """Likewise, as the processes do it."""
    try:
        return "value", repr(await turns.evaluate(made, event, links, Allowance()))
    except EvaluationError as error:
        return "error", str(error)
    except LinkNeeded as needed:
        return "link", needed.uri


async def check(rng: random.Random) -> str:
    """Compile an expression and evaluate it on a payload, as a filter and as a variable."""
    event = payload(rng)
    before = msgspec.json.encode(event)
    for _ in range(8):
        text = changed(rng, rng.choice(KNOWN)) if rng.random() < 0.3 else expression(rng)
        if compiles(text):
            break
    else:
        return "does not compile"
    answers = (LinkAnswer(data=event), LinkAnswer(error="HTTP 404"))
    links = {uri: rng.choice(answers) for uri in ("http://stack/l", "")} if rng.random() < 0.7 else {}
    variable = Variable(text)
    as_filter, as_variable = outcome(Expression(text), event, links), outcome(variable, event, links)
    assert as_variable == outcome(variable, event, links), "the same again"
    assert as_variable == await beside(variable, event, links), "beside other work too"
    assert as_filter[0] == "value" or as_variable == as_filter, "what fails as a filter fails as a variable"
    assert msgspec.json.encode(event) == before, "the payload has changed"
    return f"as a filter: {as_filter[0]}, as a variable: {as_variable[0]}"


@asynccontextmanager
async def target() -> AsyncIterator[Check]:
    """Nothing is to be set up."""
    yield check
