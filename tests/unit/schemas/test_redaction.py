"""Credentials in URLs are not shown, and foreign text stays on its line."""

import json

import pytest

from schemas.redaction import in_json, on_one_line, without_credentials


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("no url: a@b", "no url: a@b"),
        ("http://host:80/a/b", "http://host:80/a/b"),
        ("http://user:s3cret@host/a?t=s3cret#s3cret", "http://…@host/a?…"),
        ("http://host/a#s3cret", "http://host/a#…"),
        ("postgresql://u:s3@cret@h/db", "postgresql://…@h/db"),
        ("http:/u:s3cret@h", "http:/…@h"),
        ("http:\\\\u:s3cret@h", "http:\\\\…@h"),
        ("http://us/er:s3cret@h", "http://…@h"),
        ("no answer from http://u:s3cret@h/x: Cannot connect", "no answer from http://…@h/x: Cannot connect"),
        ("url='https://u:s3cret@h/x?y=s3cret', then http://z/", "url='https://…@h/x?…', then http://z/"),
        ('in URI: "postgresql://u:s3cret@[::1/db"', 'in URI: "postgresql://…@[::1/db"'),
    ],
)
def test_urls_are_shown_without_credentials(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


def test_long_texts_take_no_long_time() -> None:
    for text in (
        "a" * 1_000_000 + ":/",
        ":/" * 300_000,
        "http://" * 100_000,
        "a:/" + "@" * 500_000,
        "http://a?" * 100_000,
    ):
        assert without_credentials(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text", "plain text"),
        ("Grüße, 世界", "Grüße, 世界"),
        ("a\nb\r\nc\td", r"a\nb\r\nc\td"),
        ("\x1b[31mred\x9b0m\x7f\x00", r"\x1b[31mred\x9b0m\x7f\x00"),
        ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
        ("\u202eevil\u2066", r"\u202eevil\u2066"),
        ("half \ud800", r"half \ud800"),
        ("pay\u200bpal\u2060\ufeff", r"pay\u200bpal\u2060\ufeff"),
        ("pay\xadpal\u180e\U000e0041", r"pay\xadpal\u180e\U000e0041"),
        ("می‌خواهم 👩‍💻", "می‌خواهم 👩‍💻"),
    ],
)
def test_foreign_text_stays_on_its_line(text: str, shown: str) -> None:
    assert on_one_line(text) == shown
    on_one_line(text).encode()


def test_json_does_not_speak_to_the_terminal() -> None:
    value = {"a\x9b31m": ["\x1b[2J\x7f", "\u202eevil\U000e0041\xad", "Grüße, 世界", 'quoted "\\']}
    text = json.dumps(value, ensure_ascii=False, indent=2)
    shown = in_json(text)
    assert json.loads(shown) == value
    assert [line for line in shown.splitlines() if on_one_line(line) != line] == []
    assert "Grüße, 世界" in shown
