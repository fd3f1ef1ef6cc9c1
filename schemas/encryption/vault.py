"""Seals records and opens them.

A sealed record has the same key, and the same headers behind one more. Its value is AES-GCM, in the format of the
`eventsourcing` library's cipher: a random nonce of 12 bytes, the tag of 16, the encrypted value. Topic, partition, key
and headers are authenticated with it. So a value that was moved to another record, or to another place, does not open,
and nobody can give it another type, version or epoch. Records without content (deletions, fillers) stay as they are.

Random nonces of one key may repeat after some billions of records, which would betray them. So every vault encrypts
with a key of its own, which follows from the installation's key and a random salt in the header.
"""

import os
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from eventsourcing.cryptography import AESCipher
from msgspec import Struct

from schemas.encryption.keys import Keys
from schemas.encryption_marks import DAMAGED, ENCRYPTED, is_sealed
from schemas.records import Headers, Record
from schemas.topics import COMMANDS

NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
SALT_BYTES: Final = 16
MAX_SEALED: Final = 2**30
"""Records that are encrypted with one derived key. NIST SP 800-38D allows 2^32 with random nonces."""
MAX_CIPHERS: Final = 1000
"""Derived keys that are kept. Every start of a process makes one; a log names them again and again."""


class Unsealed(Protocol):
    """A record to be sealed."""

    @property
    def key(self) -> bytes | None:
        """See `schemas.kafka.ports.Outgoing`, as what follows."""

    @property
    def value(self) -> bytes | None: ...  # noqa: D102 - see above

    @property
    def headers(self) -> Headers: ...  # noqa: D102 - see above

    @property
    def timestamp_ms(self) -> int | None: ...  # noqa: D102 - see above


class SealedRecord(Struct, frozen=True):
    """A record as it goes to Kafka."""

    key: bytes | None
    value: bytes
    headers: Headers
    timestamp_ms: int | None


class OpenedRecord(Struct, frozen=True):
    """A record as it is handed out."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class RecordCipher(AESCipher):
    """The library's cipher with what it leaves out: a key schedule that is kept, and data that are only authenticated.

    Args:
        key: 32 bytes.
    """

    def __init__(self, key: bytes):
        super().__init__({self.CIPHER_KEY: b64encode(key).decode()})  # type: ignore[arg-type]
        self._aes = AESGCM(self.key)

    def seal(self, plaintext: bytes, about: bytes) -> bytes:
        """Encrypt a text.

        Args:
            plaintext: the text.
            about: what has to be given again to decrypt it.
        """
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._aes.encrypt(nonce, plaintext, about)
        return b"".join((nonce, sealed[-TAG_BYTES:], sealed[:-TAG_BYTES]))

    def open(self, ciphertext: bytes, about: bytes) -> bytes | None:
        """Decrypt a text; None if it was not encrypted like that."""
        nonce, rest = ciphertext[:NONCE_BYTES], ciphertext[NONCE_BYTES:]
        if len(rest) < TAG_BYTES:
            return None
        try:
            return self._aes.decrypt(nonce, rest[TAG_BYTES:] + rest[:TAG_BYTES], about)
        except InvalidTag:
            return None


class Vault:
    """Seals and opens the records of an installation.

    Args:
        keys: the installation's.
        required: whether records that are not encrypted are refused.
    """

    def __init__(self, keys: Keys, *, required: bool = False):
        self._keys, self._required = keys, required
        self._ciphers: dict[bytes, RecordCipher] = {}
        self._mark = b""
        self._left = 0

    @property
    def seals(self) -> bool:
        """Whether there is a key to encrypt with."""
        return self._keys.current is not None

    def seal(self, topic: str, partition: int, record: Unsealed) -> Unsealed:
        """The record as it is to be written.

        Args:
            topic: without the prefix: a copy under another one can still be read.
            partition: of the topic.
            record: to be written.
        """
        if not record.value:
            return record
        if not self._left:
            self._begin()
        self._left -= 1
        cipher, headers = self._ciphers[self._mark], record.headers
        value = cipher.seal(record.value, _about(topic, partition, record.key, headers))
        return SealedRecord(record.key, value, [(ENCRYPTED, self._mark), *headers], record.timestamp_ms)

    def open(self, topic: str, partition: int, record: Record) -> Record:
        """The record as it was before it was sealed, or as it is if it was not sealed.

        Of one that can't be opened the headers say why (see `schemas.encryption_marks`), and its value can't be
        decoded.
        """
        headers, sealed = record.headers, record.value
        if not is_sealed(headers):
            return record if not self._required or not sealed else _refused(topic, record)
        mark = headers[0][1] or b""
        cipher = self._ciphers.get(mark) or self._cipher(mark)
        rest = headers[1:]
        if cipher is None:
            is_lost = self._keys.is_lost(mark.rpartition(b":")[0])
            return _damaged(record, mark, rest) if is_lost else _unusable(record, headers)
        value = cipher.open(sealed or b"", _about(topic, partition, record.key, rest))
        if value is None:
            return _damaged(record, mark, rest)
        return OpenedRecord(record.offset, record.key, value, rest)

    def _begin(self) -> None:
        """Begin with a new derived key."""
        salt = os.urandom(SALT_BYTES)
        self._mark = b":".join((self._keys.name(self._keys.current or ""), b64encode(salt)))
        if self._cipher(self._mark) is None:
            raise AssertionError("the current key is known")
        self._left = MAX_SEALED

    def _cipher(self, mark: bytes) -> RecordCipher | None:
        """The cipher that a header names; None without its key."""
        name, _, encoded = mark.rpartition(b":")
        try:
            salt = b64decode(encoded, validate=True)
        except (Base64Error, ValueError):
            return None
        key = self._keys.derive(name, salt)
        if key is None:
            return None
        while len(self._ciphers) >= MAX_CIPHERS:
            oldest = next(known for known in self._ciphers if known != self._mark)
            del self._ciphers[oldest]
        cipher = self._ciphers[mark] = RecordCipher(key)
        return cipher


def _refused(topic: str, record: Record) -> Record:
    """A record that should have been encrypted. A command is refused like any that can't be decoded; others stop."""
    if topic == COMMANDS:
        return _damaged(record, b"", record.headers)
    return _unusable(record, [(ENCRYPTED, b""), *record.headers])


def _damaged(record: Record, mark: bytes, headers: Headers) -> Record:
    return _unusable(record, [(DAMAGED, mark), *headers])


def _unusable(record: Record, headers: Headers) -> Record:
    """A record that nobody can decode. Behind a NUL it is not JSON, whatever somebody has written there."""
    return OpenedRecord(record.offset, record.key, b"\0" + (record.value or b""), headers)


_about_encoder: Final = msgspec.msgpack.Encoder()


def _about(topic: str, partition: int, key: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> bytes:
    """What is authenticated beside the value."""
    return _about_encoder.encode((topic, partition, key, headers))
