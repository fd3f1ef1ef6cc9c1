"""Keys: what an instance can be found by, beside its own id. Taken from its events. Pure.

- the values of its variables
- the names of events that it waits for, and of those that it was sent
- ids of payments, wallets, transactions, accounts and transfers in what its activities were called with and answered:
  texts and whole numbers in the fields of `ID_FIELDS`, wherever they are, but not in metadata
- the id of the occurrence that has started it

A key is searched without its letter case, and without white space around it. What is too long is left out, and so is
what an instance has too much of: the first ones count, in the order of its events.
"""

from collections.abc import Collection, Iterable
from typing import Any, Final

from projections.names import folded

MAX_KEYS: Final = 64
"""Keys of one instance. Without a limit, one that lists a thousand wallets or is sent events for years would fill the
table. A key that comes twice counts twice, so that the outcome does not depend on batches. If it changed, what the
log says and what the table has would differ until a rebuild."""
MAX_KEY_CHARACTERS: Final = 128
"""A longer text is nobody's id, and Postgres refuses what does not fit into a third of a page of the index."""
MAX_VISITED: Final = 1_000
"""Values of one activity that are looked at. An answer may be as large as a record of Kafka."""

ID_FIELDS: Final = frozenset({
    *("id", "txid", "account", "address", "source", "destination", "identifier", "reference"),
    *("accountID", "sourceAccountID", "destinationAccountID", "paymentID", "transactionID", "transferID", "walletID"),
})  # fmt: skip
"""Fields of the stack's resources that hold ids, by their names in inputs and answers of activities."""
_NOT_SEARCHED: Final = frozenset({"metadata", "raw"})
"""Fields that hold whatever somebody has put there."""


def normalised(text: str) -> str | None:
    """A text as it is a key; None if it is empty or too long."""
    key = folded(text.strip())
    return key if 0 < len(key) <= MAX_KEY_CHARACTERS else None


def keys_of(texts: Iterable[str]) -> Collection[str]:
    """The keys among some texts, each once, in their order; at most `MAX_KEYS`."""
    found: dict[str, None] = {}
    for text in texts:
        key = normalised(text)
        if key is not None:
            found[key] = None
            if len(found) == MAX_KEYS:
                break
    return found


def ids_in(value: Any) -> list[str]:
    """The ids in a JSON value, one that is further out before one that is further in."""
    found: list[str] = []
    level: list[Any] = [value] if type(value) is dict or type(value) is list else []
    left = MAX_VISITED
    while level:
        inner: list[Any] = []
        for some in level:
            left -= len(some)
            if left < 0:
                return found
            if type(some) is list:
                inner += [one for one in some if type(one) is dict or type(one) is list]
                continue
            for name, one in some.items():
                kind = type(one)
                if kind is str or kind is int:
                    if name in ID_FIELDS:
                        found.append(one if kind is str else str(one))
                elif (kind is dict or kind is list) and name not in _NOT_SEARCHED:
                    inner.append(one)
        level = inner
    return found
