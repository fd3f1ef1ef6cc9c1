"""Parameters that operations on several resources have, for the description."""

from typing import Final

from api.authors import MAX_REASON
from api.routing import Parameter
from schemas.commands import HEADER_TEXT

QUERY_BOOLEAN: Final = {"anyOf": [{"type": "boolean"}, {"type": "string"}]}
"""`true` and `1` are true; anything else is false, not an error."""

IDEMPOTENCY_KEY: Final = Parameter(
    name="Idempotency-Key",
    where="header",
    type={"type": "string", "pattern": HEADER_TEXT.replace(r"\A", "^").replace(r"\Z", "$")},
    description="Repeating a request with the same key and body has no second effect and gets the same answer."
    " With another body the key is refused. It is printable ASCII, without spaces at its ends.",
)
REASON: Final = Parameter(
    name="X-Reason",
    where="header",
    description=f"Why, in at most {MAX_REASON} characters: it is kept with what the request does, and shown."
    " UTF-8, which may be percent-encoded.",
)
