"""Errors of the engine. The type decides what happens: claim again, give the partition up, or stop."""


class EngineError(Exception):
    """Base of all errors of the engine outside its core."""


class AppendFailed(EngineError):
    """Nobody knows whether the batch was appended. The partition has to be claimed again."""


class ReadFailed(EngineError):
    """The log could not be read in time. The partition has to be claimed again."""


class SnapshotFailed(EngineError):
    """A snapshot could not be written, or nobody knows whether it was. The next one has to be written whole."""


class SnapshotUnusable(EngineError):
    """The partition can't be restored: no snapshot can be used, and the log has lost its oldest events."""


class SnapshotsLost(SnapshotFailed):
    """The topic has lost records that it had acknowledged, so nobody knows what it holds."""


class SnapshotFenced(SnapshotFailed):
    """A later writer of the partition's snapshots was opened, so another engine may have claimed the partition."""


class Superseded(EngineError):
    """Another engine has claimed the partition. Its state and effects are dropped at once."""


class Displaced(EngineError):
    """The batch is in the log behind the place that the state has it at. The state has to be restored."""


class DecisionTooLarge(EngineError):
    """The events of one decision would not fit into one record batch."""
