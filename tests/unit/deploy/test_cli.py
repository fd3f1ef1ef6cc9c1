"""How commands end."""

from typing import NoReturn

import pytest
from click.testing import CliRunner

from deploy.cli import main
from deploy.event_log import command
from schemas.kafka import KafkaFault


def ends(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> tuple[int, str]:
    """Status and complaint of a command that ends so."""

    def fail(*arguments: object, **options: object) -> NoReturn:
        raise error

    monkeypatch.setattr(command, "show", fail)
    result = CliRunner(env={}).invoke(main, ["log", "-p", "0"])
    return result.exit_code, result.stderr


def test_an_expected_error_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = KafkaFault("away\nat https://me:secret@host/")
    assert ends(monkeypatch, fault) == (1, "Error: away at https://…@host/\n")


def test_a_fault_of_kafka_is_told_in_the_clients_words(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = KafkaFault("ConnectionError('no broker answers')")
    fault.__cause__ = ConnectionError("ConnectionError: no broker answers")
    assert ends(monkeypatch, fault) == (1, "Error: no broker answers\n")


def test_ctrl_c_is_not_taken_for_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ends(monkeypatch, KeyboardInterrupt()) == (130, "")


def test_a_number_of_workers_with_zeros_too_many_is_refused() -> None:
    result = CliRunner(env={}).invoke(main, ["api", "--workers", "1000000"])
    assert result.exit_code == 2
    assert "--workers" in result.stderr
    assert "1<=x<=256" in result.stderr
