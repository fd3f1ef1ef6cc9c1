"""Encryption at rest in a simulation: which keys each process has, and that Kafka holds no plain text.

In some seeds all processes encrypt, from the beginning or from some moment on, and in some of them the key changes.
What a process knows of keys is decided when it starts, so a change is rolled out by starting all of them again, one by
one.

Records are opened here by what ADR 30 says about them, without the product's code.
"""

import asyncio
import hmac
import random
from base64 import b64decode
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import replace

from schemas.encryption.keys import Keys
from schemas.encryption.vault import Vault
from schemas.encryption_marks import ENCRYPTED
from schemas.kafka import Kafka, Place
from schemas.kafka.memory import StoredRecord
from schemas.kafka.ports import Outgoing
from schemas.kafka.sealed import SealedKafka, Sealing
from schemas.topics import SEALED_TOPICS

KEYS: Final = {"old": b"1" * 32, "new": b"2" * 32}
LATE_SECONDS: Final = 60.0
"""When all has arrived that a process has sent in an earlier life: see `tests.simulation.network.SECONDS`."""
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
SHOWN_BYTES: Final = 12
"""So many bytes of a value are in no record by chance."""
HEADERS: Final = frozenset(
    {"type", "version", "schema", "cause", "epoch", "dead-reason", "dead-source", "dead-cut", "damaged"}
)
"""What headers say in plain text: what a record is, and where it belongs."""


@dataclass(frozen=True)
class Stage:
    """What a process is started with."""

    ids: tuple[str, ...]
    """Of the keys in its file."""
    current: str | None = None
    """The key that it encrypts with."""
    required: bool = False
    """Whether it refuses plain records."""

    def vault(self) -> Vault:
        """A vault of a process."""
        return Vault(Keys({id: KEYS[id] for id in self.ids}, self.current), required=self.required)


PLAIN: Final = Stage(())
OLD: Final = Stage(("old",), "old")
NEW: Final = Stage(("old", "new"), "new")
COURSES: Final[Mapping[str, Sequence[Stage]]] = {
    "": [PLAIN],
    "encrypted": [OLD],
    "encrypted, and nothing else is taken": [Stage(("old",), "old", required=True)],
    "encryption has begun": [PLAIN, Stage(("old",)), OLD],
    "the key has changed": [OLD, Stage(("old", "new"), "old"), NEW],
    # Some processes meet what is encrypted before they have the key: they have to wait for it.
    "encryption has begun at once": [PLAIN, OLD],
    "the key has changed at once": [OLD, NEW],
}
"""What processes are started with, one after the other."""
SHARE: Final = 0.15
"""How many seeds encrypt."""


class Secrecy:
    """The keys of an installation.

    Args:
        rng: decides whether it encrypts, and since when.
    """

    def __init__(self, rng: random.Random):
        self.rng = rng
        self._course = rng.choice(list(COURSES)[1:]) if rng.random() < SHARE else ""
        self._stages = list(COURSES[self._course])
        self._stage = self._stages.pop(0)
        self._writing: dict[str, str | None] = {}
        """The key that each process encrypts with, by its name."""
        self._until: dict[str | None, float] = {}
        """Until when records may arrive that were encrypted with a key, or not at all, by processes of before."""
        self._ciphers: dict[bytes, AESGCM] = {}
        self._opened: dict[tuple[Place, StoredRecord], StoredRecord] = {}
        """Not by offsets: a topic that was cut has other records at those of before, maybe with the same values."""
        self._nonces: dict[tuple[bytes, bytes], bytes] = {}
        """What each one was used for, by the mark of the key."""
        self._sealing: Sealing | None = None
        self.met = Counter({self._course: 1} if self._course else {})
        self._write("clients")

    @property
    def is_on(self) -> bool:
        """Whether anything is encrypted in this seed."""
        return bool(self._course)

    def advance(self) -> bool:
        """Have all that starts from now on know what comes next; False if nothing does."""
        if not self._stages:
            return False
        self._stage = self._stages.pop(0)
        self._write("clients")
        return True

    def connect(self, name: str, kafka: Kafka) -> Kafka:
        """What a process has of Kafka that starts now."""
        self._write(name)
        return kafka if self._stage is PLAIN else SealedKafka(kafka, self._stage.vault())

    def _write(self, name: str) -> None:
        before = self._writing.get(name, self._stage.current)
        if before != self._stage.current:
            self._until[before] = asyncio.get_running_loop().time() + LATE_SECONDS
        self._writing[name] = self._stage.current
        if name == "clients":
            self._sealing = None if self._stage is PLAIN else Sealing(self._stage.vault(), "")

    def sealed(self, place: Place, records: Sequence[Outgoing]) -> Sequence[Outgoing]:
        """Records as a client that has what is known now would write them."""
        return records if self._sealing is None else self._sealing.seal(place.topic, place.partition, records)

    # What Kafka holds

    def opened(self, place: Place, records: Sequence[StoredRecord]) -> Sequence[StoredRecord]:
        """Records as they were before they were encrypted.

        Raises:
            AssertionError: one is not encrypted as it has to be.
        """
        if not self.is_on or place.topic not in SEALED_TOPICS:
            return records
        return [self._open(place, record) for record in records]

    def _open(self, place: Place, record: StoredRecord) -> StoredRecord:
        if not record.value:
            return record
        known = place, record
        if known not in self._opened:
            self._opened[known] = opened = self._decrypted(place, record)
            self._check(f"{place.topic}/{place.partition}/{record.offset}", record, opened)
        return self._opened[known]

    def _decrypted(self, place: Place, record: StoredRecord) -> StoredRecord:
        mark, headers = record.headers[0] if record.headers else ("", None), record.headers[1:]
        if mark[0] != ENCRYPTED:
            return record
        cipher, value = self._cipher(mark[1] or b""), record.value or b""
        nonce, tag = value[:NONCE_BYTES], value[NONCE_BYTES : NONCE_BYTES + TAG_BYTES]
        same = self._nonces.setdefault((mark[1] or b"", nonce), value)
        assert same == value, f"{place.topic}/{place.partition}/{record.offset} has a nonce of another record"
        about: Any = (place.topic, place.partition, record.key, headers)
        try:
            opened = cipher.decrypt(nonce, value[NONCE_BYTES + TAG_BYTES :] + tag, msgspec.msgpack.encode(about))
        except InvalidTag:
            raise AssertionError(f"{place.topic}/{place.partition}/{record.offset} does not open where it is") from None
        return replace(record, value=opened, headers=headers)

    def _cipher(self, mark: bytes) -> AESGCM:
        if mark not in self._ciphers:
            name, _, salt = mark.rpartition(b":")
            key = KEYS[name.split(b":")[0].decode()]
            derived = hmac.digest(key, b"orchestration record" + b64decode(salt), sha256)
            self._ciphers[mark] = AESGCM(derived)
        return self._ciphers[mark]

    def _check(self, words: str, record: StoredRecord, opened: StoredRecord) -> None:
        """A record is encrypted with a key that somebody writes with, and shows nothing of its value."""
        key = None if opened is record else (record.headers[0][1] or b"").split(b":")[0].decode()
        how = "is in plain text" if key is None else f"is encrypted with {key}, which nobody uses"
        is_late = asyncio.get_running_loop().time() <= self._until.get(key, -1.0)
        assert is_late or key in self._writing.values(), f"{words} {how}"
        if opened is record:
            return
        shown, value = record.value or b"", opened.value or b""
        for part in (value[:SHOWN_BYTES], value[len(value) // 2 :][:SHOWN_BYTES], value[-SHOWN_BYTES:]):
            assert len(part) < SHOWN_BYTES or part not in shown, f"{words} shows {part!r}"
        others = {name for name, _ in opened.headers} - HEADERS
        assert not others, f"{words} has the headers {others}"
