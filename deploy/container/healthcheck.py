"""The health check of the image: `python -m deploy.container.healthcheck [/livez|/readyz]`.

One image serves all processes and only one of them runs in a container, so this asks at the port of each in turn.
Exits with status 0 when one answers 200, else with 1 and a line that says what was found, which the container engine
keeps with the container's state.
"""

import http.client
import sys
from typing import Final

from schemas.settings import ApiSettings, EngineSettings, ProjectionsSettings, SettingsError, load

TIMEOUT_SECONDS: Final = 2.0
"""How long a port may take to answer. A process whose event loop hangs accepts connections and never answers."""


def main(arguments: list[str]) -> int:
    """Ask once; returns the exit status.

    Args:
        arguments: the probe's path, `/livez` when empty.
    """
    path = arguments[0] if arguments else "/livez"
    try:
        ports = (
            load(ApiSettings).port,
            load(EngineSettings).engine_metrics_port,
            load(ProjectionsSettings).projections_metrics_port,
        )
    except SettingsError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    found = [_ask(port, path) for port in ports]
    if "200" in found:
        return 0
    said = ", ".join(f"{port}: {answer}" for port, answer in zip(ports, found, strict=True))
    sys.stdout.write(f"{path} was not answered with 200 ({said})\n")
    return 1


def _ask(port: int, path: str) -> str:
    """The status of the answer, or the reason why nothing answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        return str(connection.getresponse().status)
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
