"""What every operation has at hand."""

from msgspec import Struct

from api.ports import CommandLog, Links, ReadModel, ReadPositions
from schemas.settings import ApiSettings


class Services(Struct, frozen=True):
    """The outside world of the operations, and how they are set."""

    settings: ApiSettings
    read_model: ReadModel
    positions: ReadPositions
    command_log: CommandLog
    links: Links
