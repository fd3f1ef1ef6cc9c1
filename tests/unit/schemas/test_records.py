"""Record layout: which messages records can carry."""

import inspect

from msgspec import Struct

from schemas import commands, events
from schemas.records import MESSAGES


def test_every_command_and_event_can_be_decoded() -> None:
    """One that is in neither `Command` nor `Event` could be written, and never read again."""
    defined = {
        cls
        for module in (commands, events)
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__ and issubclass(cls, Struct)
    }
    assert set(MESSAGES.values()) == defined
    assert all(MESSAGES[cls.__name__] is cls for cls in defined)
