"""What clients asked for, and what they were answered."""

from dataclasses import dataclass, field
from typing import Literal

Plan = Literal[
    "noop", "event", "twice", "never", "delay", "money", "abort", "abort money", "retry", "retry money", "probe"
]
"""What a client does with an instance."""


@dataclass
class Request:
    """One request and how it ended, times as monotonic seconds."""

    began: float
    ended: float
    operation: str
    surface: str
    api: int
    outcome: int | str
    """The status of HTTP, or in words why there was none."""
    code: str = ""
    """The errorCode of a refusal."""
    text: str = ""
    """Its errorMessage."""
    waited: bool = False

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


@dataclass
class Run:
    """An instance that a client has asked for."""

    mark: str
    plan: Plan
    workflow: str
    keyed: bool
    id: str | None = None
    """None while its client can't know it."""
    acknowledged: bool = False
    shown_as_ended: bool = False
    events_sent: int = 0
    events_acknowledged: int = 0
    abort_sent: bool = False
    abort_acknowledged: bool = False
    retry_sent: bool = False
    """After its abort was acknowledged."""
    retry_acknowledged: bool = False

    @property
    def is_aborted(self) -> bool:
        """Whether an acknowledged abort is the last that was asked of it."""
        return self.abort_acknowledged and not self.retry_sent

    @property
    def must_end(self) -> bool | None:
        """Whether it has to end; None if either is right."""
        if self.abort_acknowledged and not self.retry_acknowledged:
            return None if self.retry_sent else True
        needed = {"event": 1, "twice": 2, "never": 1, "retry": 1}.get(self.plan, 0)
        if self.plan == "abort":
            return None if self.abort_sent else False
        if self.events_acknowledged >= needed:
            return True
        may_be_aborted = self.abort_sent and not self.retry_acknowledged
        return None if self.events_sent >= needed or may_be_aborted else False


@dataclass
class Probe:
    """A run that was waited for, in a partition."""

    partition: int
    began: float
    ended: float
    good: bool


@dataclass
class Answers:
    """All that clients know."""

    requests: list[Request] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    messages: dict[str, bool] = field(default_factory=dict)
    """By mark: whether Kafka has acknowledged the message."""
    wrong: list[str] = field(default_factory=list)
    """Answers that can't be right, in words."""
