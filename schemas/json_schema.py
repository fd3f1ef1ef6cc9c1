"""What all our documents of JSON Schema have in common."""

from typing import Final

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
"""Their `$schema`."""
