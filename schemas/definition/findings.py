"""What a check of a definition has found."""

from typing import Final, Literal

import msgspec

from schemas.definition.errors import InvalidField, Path

MAX_FINDINGS: Final = 500
"""Of errors, of warnings and of uses of variables, each. A megabyte of wrong stages has 300,000 errors: an answer with
all of them would help nobody, and could fill the memory."""

ReadAs = Literal["string", "integer", "boolean", "date-time", "duration", "choice"]
"""What a field takes the text that it has in the end for."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong with a definition, or that its author should know.

    Attributes:
        path: Where.
        severity: `error` if creation refuses the definition for it.
        message: What was found, and what is allowed.
        suggestion: What was meant, if it can be guessed: ``did you mean `metadata`?``; else `""`.
        at_key: Whether the last key of the path is meant, and not its value.
    """

    path: Path
    severity: Literal["error", "warning"]
    message: str
    suggestion: str = ""
    at_key: bool = False


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """A text in which a variable is named.

    Attributes:
        path: Where.
        variable: The variable's name.
        read_as: What the field takes its text for.
        required: Whether the stage fails without the variable.
    """

    path: Path
    variable: str
    read_as: ReadAs
    required: bool


class Report:
    """Takes what a check finds, and keeps the first of each kind.

    Attributes:
        findings: In the order in which creation looks.
        uses: In the same order.
        omitted: How many errors and warnings there were beyond the limit.
        omitted_uses: Likewise for uses.
    """

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.uses: list[Use] = []
        self.omitted = self.omitted_uses = 0
        self._counts = {"error": 0, "warning": 0}

    @property
    def errors(self) -> int:
        """How many errors there are, also beyond the limit."""
        return self._counts["error"]

    def has_room(self, severity: Literal["error", "warning"]) -> bool:
        """Whether the next one is kept. What is not needs no suggestion, which takes the longest to find."""
        return self._counts[severity] < MAX_FINDINGS

    def error(self, error: InvalidField, suggestion: str = "") -> None:
        """Note what creation refuses."""
        self.add(Finding(path=error.path, severity="error", message=error.reason, suggestion=suggestion))

    def warn(self, path: Path, message: str, suggestion: str = "", *, at_key: bool = False) -> None:
        """Note what the author should know."""
        self.add(Finding(path=path, severity="warning", message=message, suggestion=suggestion, at_key=at_key))

    def add(self, finding: Finding) -> None:
        """Note an error or a warning."""
        self._counts[finding.severity] += 1
        if self._counts[finding.severity] > MAX_FINDINGS:
            self.omitted += 1
        else:
            self.findings.append(finding)

    def use(self, use: Use) -> None:
        """Note that a variable is named."""
        if len(self.uses) < MAX_FINDINGS:
            self.uses.append(use)
        else:
            self.omitted_uses += 1
