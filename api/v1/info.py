"""`/_info`."""

from importlib.metadata import version
from typing import Final

from api.routing import constant
from schemas.resources import ServerInfo

OPERATIONS: Final = (
    constant(
        "getServerInfo", "/_info", "Get server info", ServerInfo(version=version("orchestration")), kind=ServerInfo
    ),
)
