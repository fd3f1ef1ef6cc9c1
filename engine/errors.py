"""Errors of the engine. The type decides what happens: claim anew, give the partition up, or stop."""


class EngineError(Exception):
    """Base of all errors of the engine outside its core."""


class AppendFailed(EngineError):
    """Nobody knows whether the batch was appended. The partition has to be claimed anew."""


class ReadFailed(EngineError):
    """The log could not be read in time. The partition has to be claimed anew."""


class Superseded(EngineError):
    """Another engine has claimed the partition. Its state and effects are dropped at once."""


class Displaced(EngineError):
    """The batch stands behind its place in the state, which has to be restored: events know their offsets."""


class LogCut(EngineError):
    """The log ends before a record that it had acknowledged. Nothing is started from what it lost."""


class DecisionTooLarge(EngineError):
    """The events of one decision would not fit into one record batch."""
