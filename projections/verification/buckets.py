"""Sets of buckets of ids, and a fingerprint of the rows of each."""

import zlib
from array import array
from collections.abc import Iterable, Iterator
from typing import Final

COUNT: Final = 1 << 20
"""How many buckets there are. With fewer, more rows that are equal would be looked at again because of one that is not;
with more, the fingerprints would take more than 8 MiB each."""
PORTION: Final = 1 << 10
"""Buckets that are compared at once. One by one they would take a moment each time, although most are empty."""


def bucket_of(owner: str) -> int:
    """The bucket of an id."""
    return zlib.crc32(owner.encode(errors="surrogatepass")) % COUNT


class Buckets:
    """A set of buckets.

    Args:
        members: of the set.
    """

    def __init__(self, members: Iterable[int] = ()):
        self._flags = bytearray(COUNT)
        for bucket in members:
            self._flags[bucket] = 1

    @classmethod
    def every(cls) -> "Buckets":
        """All of them."""
        made = cls()
        made._flags = bytearray(b"\1") * COUNT
        return made

    def __contains__(self, bucket: int) -> bool:
        return bool(self._flags[bucket])

    def __len__(self) -> int:
        return self._flags.count(1)

    def __iter__(self) -> Iterator[int]:
        bucket = -1
        while (bucket := self._flags.find(1, bucket + 1)) >= 0:
            yield bucket

    @property
    def flags(self) -> bytes:
        """A byte for each bucket: 1 for members."""
        return bytes(self._flags)

    def copy(self) -> "Buckets":
        """Another set with the same members."""
        made = Buckets()
        made._flags = bytearray(self._flags)
        return made

    def add(self, bucket: int) -> None:
        """Add a member."""
        self._flags[bucket] = 1

    def without(self, others: "Buckets") -> "Buckets":
        """Another set without the members of this other one."""
        left = int.from_bytes(self._flags, "big") & ~int.from_bytes(others.flags, "big")
        made = Buckets()
        made._flags = bytearray(left.to_bytes(COUNT, "big"))
        return made

    def end_behind(self, last: int) -> None:
        """Take all members out that are behind this one."""
        self._flags[last + 1 :] = bytes(COUNT - last - 1)


class Fingerprints:
    """The XOR of the hashes of what is in each bucket: the same for two collections only if they hold the same."""

    def __init__(self) -> None:
        self._sums = array("Q", bytes(8 * COUNT))

    def note(self, bucket: int, hash: int) -> None:
        """Add something to a bucket, or take it out."""
        self._sums[bucket] ^= hash

    def different(self) -> Iterator[int]:
        """The buckets that are not empty, after everything was added that is in one collection and in the other."""
        empty = array("Q", bytes(8 * PORTION))
        for start in range(0, COUNT, PORTION):
            portion = self._sums[start : start + PORTION]
            if portion != empty:
                yield from (bucket for bucket, total in enumerate(portion, start) if total)
