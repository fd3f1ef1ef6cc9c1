"""A line for the user."""

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

from schemas.redaction import on_one_line, without_credentials

Level = Literal["ok", "warning", "wrong"]
ORDER: Final[tuple[Level, ...]] = ("ok", "warning", "wrong")


class Finding(Struct, frozen=True):
    """What was found about one thing."""

    level: Level
    about: str
    text: str
    remedy: str = ""
    """What to do about it."""

    def line(self) -> str:
        """The finding in words."""
        remedy = f" → {self.remedy}" if self.remedy else ""
        return on_one_line(without_credentials(f"{self.level:<8} {self.about}: {self.text}{remedy}"))


def ok(about: str, text: str) -> Finding:
    """Something is as it should be."""
    return Finding("ok", about, text)


def warning(about: str, text: str, remedy: str) -> Finding:
    """It works, but should be otherwise, or may not work for long."""
    return Finding("warning", about, text, remedy)


def wrong(about: str, text: str, remedy: str) -> Finding:
    """It does not work, or can lose something."""
    return Finding("wrong", about, text, remedy)


def worst(findings: Iterable[Finding]) -> Level:
    """The level of the worst line."""
    return max((finding.level for finding in findings), key=ORDER.index, default="ok")


def or_ok(findings: list[Finding], about: str, text: str) -> list[Finding]:
    """The findings, or one that says that all is well if there are none."""
    return findings or [ok(about, text)]
