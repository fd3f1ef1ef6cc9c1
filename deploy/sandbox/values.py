"""Addresses, assets, amounts and timestamps as the stack accepts them (contract: `stack-api`), and JSON decoding."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final, TypeVar

import msgspec

from deploy.sandbox.errors import ValidationError

T = TypeVar("T")

ADDRESS_PATTERN: Final = r"[a-zA-Z0-9_-]+(?::[a-zA-Z0-9_-]+)*"
ASSET_PATTERN: Final = r"[A-Z][A-Z0-9]{0,16}(?:/[0-9]{1,6})?"

MAX_AMOUNT_DIGITS: Final = 4200
"""Without a limit, sums of accepted amounts would pass Python's own limit of 4300 digits and could not be written."""
MAX_AMOUNT: Final = 10**MAX_AMOUNT_DIGITS - 1

Address = Annotated[str, msgspec.Meta(pattern=rf"^{ADDRESS_PATTERN}\Z")]
Asset = Annotated[str, msgspec.Meta(pattern=rf"^{ASSET_PATTERN}\Z")]
Amount = Annotated[int, msgspec.Meta(ge=0)]
Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]

_ADDRESS: Final = re.compile(ADDRESS_PATTERN)


def checked_address(text: str) -> str:
    """Returns `text` if it is an account address; raises `ValidationError` otherwise."""
    if not _ADDRESS.fullmatch(text):
        raise ValidationError(f"invalid account address: {text!r}")
    return text


def checked_amount(amount: int) -> int:
    """Returns `amount` if it is small enough to be summed and written; raises `ValidationError` otherwise."""
    if amount > MAX_AMOUNT:
        raise ValidationError(f"amount has more than {MAX_AMOUNT_DIGITS} digits")
    return amount


def in_utc(timestamp: datetime) -> datetime:
    """The same instant in UTC; raises `ValidationError` where that leaves the years 1 to 9999."""
    try:
        return timestamp.astimezone(UTC)
    except OverflowError:
        raise ValidationError("timestamp is out of range") from None


def decode(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """Decodes a request body; raises `ValidationError` with the place and the reason when it does not fit."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValidationError(f"invalid JSON body: {error}") from None
    except RecursionError:
        raise ValidationError("invalid JSON body: nested too deep") from None
