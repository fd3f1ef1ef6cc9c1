"""The keys of an installation.

The file has a key in each line, `<id>: <32 bytes in base64>`. Empty lines and lines that begin with `#` are passed
over:

    # orchestration, since 2026-03
    2026-03: jbWyXVqQVzYmUuvzcvRv5HtCRIFI7ydSSqFjkLNLBxQ=

Every key stays in it for as long as Kafka has records that were encrypted with it. One of them, the *current* one,
encrypts what is written. Without a current one, records are only read: that is how a new key is rolled out.

A key that nobody has any more can be given up, with `lost` in its place: then its records are damaged ones, instead of
records that somebody else might read. The id may have the check of the key behind it, as errors show it.
"""

import hmac
import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Collection, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from schemas.settings import KafkaSettings, SettingsError, variable

KEY_BYTES: Final = 32
"""AES-256."""
CHECK_BYTES: Final = 4
"""How much of a digest of the key stands in the header of a record. It tells a wrong key under a right id from a record
that somebody has changed: without it, an engine with a wrong file would reject all commands as damaged."""

LOST: Final = "lost"

_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_LOST_ID: Final = re.compile(rf"{_ID.pattern}(:[0-9a-f]{{{2 * CHECK_BYTES}}})?", re.ASCII)


class Keys:
    """Keys by id. Neither `repr` nor errors show them.

    Args:
        keys: of 32 bytes, by id.
        current: the id of the one that encrypts; None only reads.
        lost: ids, or names, of those that were given up.

    Raises:
        SettingsError: there is no key of that id.
    """

    def __init__(self, keys: Mapping[str, bytes], current: str | None, lost: Collection[str] = ()):
        if current is not None and current not in keys:
            raise SettingsError(
                f"{variable('encryption_key_id')} is {current!r}, but the file that {variable('encryption_keys_file')}"
                " names has no key of this id"
            )
        self._keys, self.current, self._lost = dict(keys), current, frozenset(lost)

    def __repr__(self) -> str:
        return f"Keys({', '.join(self._keys)}; current: {self.current})"

    def name(self, id: str) -> bytes:
        """What a header says of a key: its id, and a check of its bytes."""
        check = hmac.digest(self._keys[id], b"orchestration check", sha256)[:CHECK_BYTES].hex()
        return f"{id}:{check}".encode()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._keys)

    def has(self, name: bytes) -> bool:
        """Whether there is a key of this name."""
        id = name.split(b":")[0].decode(errors="replace")
        return id in self._keys and self.name(id) == name

    def is_lost(self, name: bytes) -> bool:
        """Whether a key was given up.

        Args:
            name: as `name` returns it.
        """
        text = name.decode(errors="replace")
        return text in self._lost or text.partition(":")[0] in self._lost

    def derive(self, name: bytes, salt: bytes) -> bytes | None:
        """The key of 32 bytes that one writer has encrypted with.

        Args:
            name: as `name` returns it.
            salt: of the writer.

        Returns:
            None if there is no such key.
        """
        if not self.has(name):
            return None
        return hmac.digest(self._keys[name.split(b":")[0].decode()], b"orchestration record" + salt, sha256)


def keys_of(settings: KafkaSettings) -> Keys | None:
    """The keys that the settings name; None without any.

    Raises:
        SettingsError: the file can't be read, or has no key that is asked for.
    """
    path = settings.encryption_keys_file
    if path is None:
        for name in ("encryption_key_id", "encryption_required"):
            if getattr(settings, name):
                raise SettingsError(f"{variable(name)} needs {variable('encryption_keys_file')}")
        return None
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text"
        raise SettingsError(f"{variable('encryption_keys_file')}: {path} can't be read: {reason}") from None
    keys = Keys(*_parse(path, text, settings.encryption_key_id))
    if settings.encryption_required and keys.current is None:
        raise SettingsError(f"{variable('encryption_required')} needs {variable('encryption_key_id')}")
    return keys


def _parse(path: str, text: str, current: str | None) -> tuple[dict[str, bytes], str | None, list[str]]:
    keys: dict[str, bytes] = {}
    lost: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        id, _, encoded = (part.strip() for part in line.rpartition(":"))
        where = f"{variable('encryption_keys_file')}: line {number} of {path}"
        if encoded == LOST and _LOST_ID.fullmatch(id):
            lost.append(id)
            continue
        # What the line holds is not told: it may be a key.
        try:
            key = b64decode(encoded, validate=True)
        except (Base64Error, ValueError):
            key = b""
        if not _ID.fullmatch(id) or len(key) != KEY_BYTES:
            raise SettingsError(
                f"{where} is not `id: key`: an id has letters, digits, dots, _ and -, a key has {KEY_BYTES} bytes in"
                " base64, such as `openssl rand -base64 32` makes"
            )
        if id in keys:
            raise SettingsError(f"{where} has an id that a line before has")
        keys[id] = key
    if not keys and not lost:
        raise SettingsError(f"{variable('encryption_keys_file')}: {path} has no key")
    return keys, current, lost
