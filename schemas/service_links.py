"""Variables that Kubernetes gives every container of a namespace for each Service in it ("service links").

A Service named `orchestration` or `orchestration-api` makes such as `ORCHESTRATION_API_SERVICE_HOST=10.0.0.1` and
`ORCHESTRATION_PORT=tcp://10.0.0.1:8080`. They begin with our prefix and are not settings, not even where the name is
one. Name and value have to fit: a setting with a wrong name is still an error.
"""

import re
from typing import Final

_SHAPES: Final = tuple(
    (re.compile(name), re.compile(value))
    for name, value in (
        (r"\w+_SERVICE_HOST", r"[0-9a-fA-F.:]+"),
        (r"\w+_SERVICE_PORT(_\w+)?", r"\d{1,5}"),
        (r"\w+_PORT(_\d{1,5}_(TCP|UDP|SCTP))?", r"(tcp|udp|sctp)://\S+:\d{1,5}"),
        (r"\w+_PORT_\d{1,5}_(TCP|UDP|SCTP)_PROTO", r"tcp|udp|sctp"),
        (r"\w+_PORT_\d{1,5}_(TCP|UDP|SCTP)_PORT", r"\d{1,5}"),
        (r"\w+_PORT_\d{1,5}_(TCP|UDP|SCTP)_ADDR", r"[0-9a-fA-F.:]+"),
    )
)


def is_service_link(name: str, value: str) -> bool:
    """Whether a variable is one that Kubernetes makes of a Service."""
    return any(names.fullmatch(name) and values.fullmatch(value) for names, values in _SHAPES)
