"""`/_info`."""

from importlib.metadata import version
from typing import Final

from api.answers import Answer, json_answer
from api.calls import Call
from api.routing import Operation
from schemas.resources import ServerInfo

_INFO: Final = json_answer(200, ServerInfo(version=version("orchestration")))


async def get_info(call: Call) -> Answer:
    """The server's version."""
    return _INFO


OPERATIONS: Final = (
    Operation(
        id="getServerInfo",
        method="GET",
        path="/_info",
        handler=get_info,
        summary="Get server info",
        status=200,
        answer=ServerInfo,
        unlimited=True,
        public=True,
    ),
)
