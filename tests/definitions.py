"""Definitions for messages that carry them as JSON."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw


def definition(stages: Sequence[dict[str, Any]]) -> Raw:
    """The stages as a command or an event carries them."""
    return Raw(msgspec.json.encode(list(stages)))
