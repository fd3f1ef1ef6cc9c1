"""What people and programs get to see."""

import io
import json
import time
from datetime import UTC, datetime
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.bodies.yaml_body import decode_yaml
from deploy.client.definition_files import as_yaml
from deploy.client.output import Cell, Output, Styled, clean, duration, moment, pairs, state, table, took, waits_for
from schemas.redaction import on_one_line
from tests.definition_strategies import definitions


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0 ms"),
        (0.0123, "12 ms"),
        (1, "1.0 s"),
        (59.94, "59.9 s"),
        (60, "1 min 0 s"),
        (185.4, "3 min 5 s"),
        (3600, "1 h 0 min"),
        (7800, "2 h 10 min"),
        (356400, "4 d 3 h"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_how_long_something_has_taken_so_far() -> None:
    now = datetime(2026, 3, 1, 10, 0, 2, tzinfo=UTC)
    assert took("2026-03-01T10:00:00Z", None, now) == "2.0 s"
    assert took("2026-03-01T10:00:00Z", "2026-03-01T10:00:00.25Z", now) == "250 ms"
    assert took(None, None, now) == ""


@pytest.mark.parametrize(
    ("instance", "shown"),
    [
        ({"terminated": False, "state": "paused"}, "paused"),
        ({"terminated": True, "state": "aborted", "error": "canceled"}, "aborted"),
        ({"terminated": False}, "running"),
        ({"terminated": False, "unreadable": "upgrade"}, "unknown"),
        ({"terminated": True}, "succeeded"),
        ({"terminated": True, "error": "no money"}, "failed"),
        ({"terminated": True, "error": "canceled"}, "aborted"),
    ],
)
def test_states(instance: dict[str, Any], shown: str) -> None:
    assert state(instance) == shown


@pytest.mark.parametrize(
    ("waiting", "shown"),
    [
        (None, ""),
        ({"for": "event", "name": "go"}, "event go"),
        ({"for": "delay", "until": "2026-03-01T10:00:00Z"}, "delay until {at}"),
        (
            {"for": "retry", "name": "DebitWallet", "until": "2026-03-01T10:00:00Z", "attempt": 4},
            "attempt 4 of DebitWallet at {at}",
        ),
        ({"for": "resume", "name": "DebitWallet", "attempt": 3}, "resume of DebitWallet after attempt 3"),
    ],
)
def test_what_an_instance_waits_for(waiting: dict[str, Any] | None, shown: str) -> None:
    instance = {"terminated": False} | ({"waiting": waiting} if waiting else {})
    assert waits_for(instance) == shown.format(at=moment("2026-03-01T10:00:00Z"))


@pytest.mark.parametrize(
    ("zone", "at", "shown"),
    [
        ("UTC-2", "2026-03-01T10:00:00.5Z", "2026-03-01 12:00:00"),
        ("UTC-2", "9999-12-31T23:59:59Z", "9999-12-31 23:59:59"),
        ("UTC+2", "0001-01-01T00:00:00Z", "0001-01-01 00:00:00"),
    ],
)
def test_moments_in_every_time_zone(monkeypatch: pytest.MonkeyPatch, zone: str, at: str, shown: str) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", zone)
        time.tzset()
        assert moment(at) == shown
    time.tzset()


def test_what_the_server_cannot_read_is_said() -> None:
    assert waits_for({"terminated": False, "unreadable": "can't be read:\nupgrade"}) == "can't be read: upgrade"


def test_a_table_lines_up_also_with_colours() -> None:
    rows: list[tuple[Cell, ...]] = [("a", Styled("running", "cyan"), "x"), ("bcd", "ok", ""), ("\x1b[2J", "é\n", "y")]
    lines = [click.unstyle(line) for line in table(("id", "state", "error"), rows, "none")]
    assert lines == ["ID    STATE    ERROR", "a     running  x", "bcd   ok", " [2J  é        y"]
    assert "\x1b[36mrunning\x1b[0m" in list(table(("id", "state", "error"), rows, "none"))[1]
    assert table(("id",), [], "none") == ["none"]


def test_pairs_without_a_value_are_left_out() -> None:
    lines = pairs([("id", "1"), ("error", ""), ("state", Styled("failed", "red"))])
    assert [click.unstyle(line) for line in lines] == ["id     1", "state  failed"]


def test_json_is_all_that_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=True)
    output.say("started")
    value = {"n": 2**70, "é": None, "speaks to the terminal": "\x9b31m\x7f\u202e"}
    output.show(value, lambda: ["for people"])
    output.note_limit(3, 3)
    written = capsys.readouterr()
    assert json.loads(written.out) == value
    assert clean(written.out.replace("\n", "")) == written.out.replace("\n", "")
    assert "--limit 0" in written.err
    assert not output.is_live


def test_only_a_terminal_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert not Output(as_json=False).is_live
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert Output(as_json=False).is_live
    assert not Output(as_json=True).is_live
    monkeypatch.setenv("TERM", "dumb")
    assert not Output(as_json=False).is_live


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@given(st.one_of(definitions, st.dictionaries(texts, texts), st.sampled_from(["1e3", "0o7", ".5", "1.", "no", "1:30"])))
def test_yaml_is_read_as_what_was_shown(value: Any) -> None:
    assert decode_yaml(as_yaml(value).encode(), 100_000) == value


def test_yaml_does_not_speak_to_the_terminal() -> None:
    value = {"name": "Grüße", "to": "users:\u202eecila", "a\x9b31m": "pay\U000e0041"}
    shown = as_yaml(value)
    assert [line for line in shown.splitlines() if on_one_line(line) != line] == []
    assert decode_yaml(shown.encode(), 100_000) == value
    assert "Grüße" in as_yaml({"name": "Grüße"})
