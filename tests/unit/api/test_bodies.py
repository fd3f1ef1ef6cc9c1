"""Bodies: what JSON and YAML become, and what is refused."""

import gzip
import time
from typing import Any

import pytest

from api.bodies.json_body import decode_json
from api.bodies.places import YamlPlaces
from api.bodies.yaml_body import MAX_DIRECTIVES, MAX_NODES, decode_yaml
from api.errors import Invalid, MalformedBody
from schemas.nesting import MAX_DEPTH

LIMIT = 100_000


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def deep_alias(levels: int, above: int) -> str:
    """A list of so many levels, and once more below so many lists of an object."""
    return "a: &a " + "[" * levels + "]" * levels + "\nb: " + "[" * above + "*a" + "]" * above


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b' {"a": [1, 2.5, true, null, "x"]} ', {"a": [1, 2.5, True, None, "x"]}),
        (str(2**300).encode(), 2**300),
        (str(-(2**300)).encode(), -(2**300)),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"\\\\u0000"', "\\u0000"),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'["[[[["]', ["[[[["]),
        (b'"' + b"[" * 500 + b'"', "[" * 500),
    ],
)
def test_json(body: bytes, value: Any) -> None:
    assert decode_json(body) == value


def test_json_at_the_depth_limit() -> None:
    assert decode_json(nested(MAX_DEPTH)) is not None
    assert decode_json(b"[" * MAX_DEPTH + b"1" + b"]" * MAX_DEPTH) is not None
    assert decode_json(b"[" + b",".join([b"{}"] * 500) + b"]") == [{}] * 500


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"1 2",
        b'{"a": 1}}',
        b"'x'",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"01",
        b"1" * 4400,
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'"\\ud800x"',
        b'"\\udc00\\ud800"',
        b'"\\u0000"',
        b'"\\\\\\u0000"',
        b'{"\\u0000": 1}',
        b'{"a": [["x\\u0000"]]}',
        b'"\x00"',
        b"\xef\xbb\xbf1",
        nested(MAX_DEPTH + 1),
        nested(100_000),
        b'{"a":' * 200 + b"1" + b"}" * 200,
    ],
)
def test_json_that_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        decode_json(body)


@pytest.mark.parametrize(
    ("body", "problem", "column"),
    [
        (gzip.compress(b"{}", mtime=0), "it is compressed with gzip; send it as it is", 1),
        (b'{"name": "\xff"}', "byte 0xff is not UTF-8 (byte 10)", 11),
        (b'{"name": "\\ud83d"}', "half a surrogate pair is not a character", 0),
        (b'["\\uD83D"\n]', "half a surrogate pair is not a character", 0),
        (b'{"name": "\\\\ud83d', "Input data was truncated", 0),
        (b'{"a": [1e999]}', "Number out of range", 0),
    ],
)
def test_what_is_wrong_with_json_is_told(body: bytes, problem: str, column: int) -> None:
    with pytest.raises(MalformedBody) as raised:
        decode_json(body)
    assert (raised.value.message, raised.value.column) == (f"malformed JSON: {problem}", column)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("2026-04-01T00:00:00Z", "2026-04-01T00:00:00Z"),
        ("2026-04-01", "2026-04-01"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("yes", "yes"),
        ("off", "off"),
        ("true", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("~", None),
        ("null", None),
        ("'null'", "null"),
        ('"1"', "1"),
        ("'true'", "true"),
        ("0777", 777),
        ("0o17", 15),
        ("0x1F", 31),
        ("+12", 12),
        ("-0", 0),
        (str(2**300), 2**300),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("1.2.3", "1.2.3"),
        ("${amount}", "${amount}"),
        ("!!str 12", "12"),
        ("! 12", "12"),
        ("!!int 12", 12),
        ("!!float 12", 12),
        ("!!map {a: 1}", {"a": 1}),
        ("|\n  a\n  12\n", "a\n12\n"),
        ("{a: [1, {b: }]}", {"a": [1, {"b": None}]}),
        ("{'1': x, \"true\": y}", {"1": "x", "true": "y"}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("d:\n  c: 3\n  <<: [{b: 1}, {b: 2, e: 4, c: 5}]", {"d": {"b": 1, "c": 3, "e": 4}}),
        ('{"<<": 1}', {"<<": 1}),
        ("'😀'", "😀"),
        ("# nothing", None),
        ("--- 1\n...", 1),
    ],
)
def test_yaml(body: str, value: Any) -> None:
    decoded = decode_yaml(body.encode(), LIMIT)
    assert decoded == value
    assert type(decoded) is type(value) or value == 12


def laughs(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "a: 1\na: 2",
        "{a: 1, 'a': 2}",
        "1: x",
        "true: x",
        "null: x",
        "? [a]\n: x",
        "? {a: b}\n: x",
        ".inf",
        "-.INF",
        ".nan",
        "1e999",
        "9" * 4400,
        "0x" + "f" * 4400,
        "--- 1\n--- 2",
        "!!python/object/apply:os.system [ls]",
        "!!timestamp 2026-04-01",
        "!!binary aGk=",
        "!mine x",
        "!!int x",
        "!!set {a}",
        '"\\0"',
        '"\\x00"',
        '{"a\\0": 1}',
        '"\\ud800"',
        "*x",
        "&x [*x]",
        "<<: 1",
        "<<: {a: 1}\n<<: {b: 1}",
        laughs(9),
        "a: &a " + "x" * 1000 + "\nb: [" + ", ".join(["*a"] * 1000) + "]",
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        "[" * 50_000,
        deep_alias(90, MAX_DEPTH - 90),
        "[" + "a," * MAX_NODES + "]",
        "\x01",
        "a: \t- b: -",
    ],
)
def test_yaml_that_is_refused(body: str) -> None:
    with pytest.raises(Invalid):
        decode_yaml(body.encode(), LIMIT)


@pytest.mark.parametrize("line_break", ["\n", "\r", "\r\n", "\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize("start", ["", "\ufeff", "a: 1\n...\n"])
def test_directives_take_no_time(start: str, line_break: str) -> None:
    directives = line_break.join(f"%TAG !{number}! x" for number in range(20_000))
    began_at = time.process_time()
    with pytest.raises(MalformedBody, match="more than 16 lines begin with %"):
        decode_yaml(f"{start}{directives}{line_break}--- 1".encode(), 1024 * 1024)
    assert time.process_time() - began_at < 0.5


def test_some_directives_are_fine() -> None:
    tags = "".join(f"%TAG !{number}! tag:yaml.org,2002:\n" for number in range(MAX_DIRECTIVES))
    assert decode_yaml(f"{tags}---\na: !1!str 1\nb: '{'%' * 100}'\n".encode(), LIMIT) == {"a": "1", "b": "%" * 100}


def test_merging_many_objects_takes_no_time() -> None:
    own = ", ".join(f"k{number}: 1" for number in range(10_000))
    body = "a: &a {}\nb: {<<: [" + "*a, " * 10_000 + "], " + own + "}"
    began_at = time.process_time()
    assert len(decode_yaml(body.encode(), 1024 * 1024, YamlPlaces())["b"]) == 10_000
    assert time.process_time() - began_at < 4.0


def test_the_order_of_merged_keys() -> None:
    body = b"a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {z: 3, <<: [*a, *b], w: 3}"
    assert [*decode_yaml(body, LIMIT)["c"].items()] == [("y", 1), ("z", 3), ("x", 1), ("w", 3)]


def test_yaml_at_the_depth_limit() -> None:
    assert decode_yaml(nested(MAX_DEPTH), LIMIT) is not None
    assert decode_yaml(b"[" * MAX_DEPTH + b"1" + b"]" * MAX_DEPTH, LIMIT) is not None
    assert decode_yaml(deep_alias(90, MAX_DEPTH - 91).encode(), LIMIT) is not None


def test_yaml_that_is_not_utf8() -> None:
    with pytest.raises(Invalid):
        decode_yaml(b"a: \xff", LIMIT)
    with pytest.raises(Invalid, match="malformed YAML: it is compressed with gzip"):
        decode_yaml(gzip.compress(b"a: 1", mtime=0), LIMIT)


def test_errors_say_where() -> None:
    with pytest.raises(Invalid, match=r"line 2, column 1: key 'a' occurs twice"):
        decode_yaml(b"a: 1\na: 2", LIMIT)


@pytest.mark.parametrize("body", ["a: 1\nb: [x, {c: 2026-04-01}]", laughs(3), "9" * 4400, "[" * 200, '"\\ud800"'])
def test_the_parser_without_libyaml_reads_the_same(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def outcome() -> Any:
        try:
            return decode_yaml(body.encode(), LIMIT)
        except Invalid:
            return Invalid

    expected = outcome()
    monkeypatch.delattr("yaml.CSafeLoader")
    assert outcome() == expected
