"""What the commands of a client tell in one line, and the exit status that scripts see.

| status | means |
|---|---|
| 0 | done; the instance that was waited for has succeeded |
| 1 | the instance has failed; a definition has errors; a bulk operation was not wanted, or did not act on all |
| 2 | the command line or the environment is wrong, or what a name stands for is not unique |
| 3 | the API refused: unknown, malformed, not allowed |
| 4 | the API can't be reached, or can't answer now |
| 5 | the instance was aborted |
| 130 | Ctrl-C |
"""

from typing import Final

import click

FAILED_STATUS: Final = 1
ABORTED_STATUS: Final = 5


class NotUnique(click.ClickException):
    """A name stands for several things."""

    exit_code = 2


class SettingsWrong(click.ClickException):
    """The environment can't be used."""

    exit_code = 2


class ProfileError(click.ClickException):
    """The file of profiles can't be used."""

    exit_code = 2


class Refused(click.ClickException):
    """The API answered with an error that repeating would not help.

    Attributes:
        status: of HTTP; 0 if there was no request.
    """

    exit_code = 3

    def __init__(self, message: str, status: int = 0):
        super().__init__(message)
        self.status = status


class Unavailable(click.ClickException):
    """The API can't be reached, or can't answer now."""

    exit_code = 4
