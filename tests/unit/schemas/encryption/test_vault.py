"""Records are sealed and opened; what was changed, moved or never sealed is not taken for ours."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import hypothesis.strategies as st
import pytest
from eventsourcing.cryptography import AESCipher
from hypothesis import given

from schemas.commands import SendEvent
from schemas.current import Current, CurrentTrigger, decode_current, encode_current
from schemas.encryption import vault as module
from schemas.encryption.keys import Keys
from schemas.encryption.vault import OpenedRecord, RecordCipher, Vault
from schemas.encryption_marks import ENCRYPTED, KeyMissing
from schemas.events import EventReceived, PartitionClaimed
from schemas.fillers import filler, is_filler
from schemas.records import Headers, NewRecord, Record, RecordCodec, UndecodableRecord
from tests.histories.recorder import START

ID: Final = str(UUID(int=7))
OLD, NEW, OTHER = b"1" * 32, b"2" * 32, b"3" * 32
CODEC: Final = RecordCodec()
SECRET: Final = "DE89 3704 0044 0532 0130 00"
EVENT: Final = EventReceived(at=START, name=SECRET)


def vault(current: str | None = "old", *, required: bool = False, **keys: bytes) -> Vault:
    return Vault(Keys(keys or {"old": OLD, "new": NEW}, current), required=required)


def event(version: int = 1) -> NewRecord:
    return CODEC.encode(ID, EVENT, timestamp_ms=5, version=version, cause=3, epoch=0)


def stored(record: Any, offset: int = 9, **changes: Any) -> OpenedRecord:
    """A record as Kafka hands it out."""
    headers = tuple((name, value) for name, value in record.headers)
    parts: dict[str, Any] = {"offset": offset, "key": record.key, "value": record.value, "headers": headers} | changes
    return OpenedRecord(**parts)


def test_a_record_comes_back_as_it_was() -> None:
    plain = event()
    sealed = vault().seal("events", 2, plain)
    assert SECRET.encode() not in (sealed.value or b"")
    assert (sealed.key, sealed.timestamp_ms, list(sealed.headers[1:])) == (plain.key, 5, plain.headers)
    assert sealed.headers[0][0] == ENCRYPTED
    assert (sealed.headers[0][1] or b"").startswith(b"old:")
    opened = vault().open("events", 2, stored(sealed))
    assert (opened.offset, opened.key, opened.value, list(opened.headers)) == (9, plain.key, plain.value, plain.headers)
    assert CODEC.decode_event(opened).event == EVENT


def test_no_two_sealed_values_are_alike() -> None:
    one = vault()
    values = {one.seal("events", 0, event()).value for _ in range(100)} | {vault().seal("events", 0, event()).value}
    assert len(values) == 101


def test_what_has_no_content_stays_as_it_is() -> None:
    for record in (filler(0), NewRecord(b"k", None, [("version", b"1")], 0)):
        sealed = vault().seal("events", 0, record)
        assert sealed is record
        assert vault(required=True).open("events", 0, stored(sealed)).value == record.value
    assert is_filler(vault(required=True).open("events", 0, stored(filler(0))))


def test_a_null_key_and_null_headers_are_kept() -> None:
    headers: Headers = [("x", None), ("x", b""), ("y", b"1")]
    letter = module.SealedRecord(None, b"value", headers, None)
    sealed = vault().seal("commands.dead", 0, letter)
    opened = vault().open("commands.dead", 0, stored(sealed))
    assert (opened.key, opened.value, list(opened.headers)) == (None, b"value", headers)


# Rotation


def test_after_a_rotation_the_new_key_writes_and_both_are_read() -> None:
    before = vault("old", old=OLD).seal("events", 0, event())
    rotated = vault("new")
    after = rotated.seal("events", 0, event())
    assert (after.headers[0][1] or b"").startswith(b"new:")
    for sealed in (before, after):
        assert rotated.open("events", 0, stored(sealed)).value == event().value
    reads_only = vault(None)
    assert not reads_only.seals
    assert reads_only.open("events", 0, stored(after)).value == event().value


@pytest.mark.parametrize("keys", [{"other": OTHER}, {"old": OTHER}], ids=["unknown id", "another key under the id"])
def test_without_the_key_a_record_is_not_taken_for_a_damaged_one(keys: dict[str, bytes]) -> None:
    sealed = stored(vault().seal("events", 0, event()))
    wrong = Vault(Keys(keys, None))
    for unread in (wrong.open("events", 0, sealed), sealed):  # the second: by a process without keys
        with pytest.raises(
            KeyMissing, match="offset 9 is encrypted with key 'old:88c2f172', which this process does not have"
        ):
            CODEC.decode_event(unread)


@pytest.mark.parametrize(("lost", "read"), [("old", False), ("old:88c2f172", False), ("old:00000000", True)])
def test_what_a_lost_key_encrypted_is_damaged(lost: str, read: bool) -> None:
    """So that a partition can go on without it."""
    reader = Vault(Keys({"new": NEW}, "new", [lost]))
    opened = reader.open("events", 0, sealed_event())
    with pytest.raises(KeyMissing if read else UndecodableRecord):
        CODEC.decode_event(opened)


def test_commands_and_definitions_need_the_key_too() -> None:
    command = stored(vault().seal("commands", 0, CODEC.encode(ID, SendEvent(name="x"), timestamp_ms=0)))
    with pytest.raises(KeyMissing):
        CODEC.decode_command(command)
    definition = encode_current(Current(ID, 1, CurrentTrigger(event="X", workflow_id=ID)), 0)
    sealed = stored(vault().seal("definitions", 0, definition))
    with pytest.raises(KeyMissing):
        decode_current(sealed)
    assert decode_current(vault().open("definitions", 0, sealed)).id == ID


def test_plain_records_from_before_are_read() -> None:
    plain = stored(event())
    assert vault().open("events", 0, plain) is plain


# Tampering


def _flip(value: bytes, at: int) -> bytes:
    return value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]


def sealed_event() -> OpenedRecord:
    return stored(vault().seal("events", 0, event()))


def _header(record: Record, name: str, value: bytes) -> Headers:
    return tuple((key, value if key == name else old) for key, old in record.headers)


@pytest.mark.parametrize("at", [0, 11, 12, 27, 28, -1])
def test_a_value_that_was_changed_does_not_open(at: int) -> None:
    sealed = sealed_event()
    value = sealed.value or b""
    assert_damaged("events", 0, stored(sealed, value=_flip(value, at % len(value))))


@pytest.mark.parametrize("value", [b"", b"x", b"x" * 27, b'{"at":"2026-03-01T10:00:00Z","name":"mine"}'])
def test_a_value_that_somebody_made_up_does_not_open(value: bytes) -> None:
    assert_damaged("events", 0, stored(sealed_event(), value=value))


@pytest.mark.parametrize(
    ("name", "value"),
    [("type", b"StageEnded"), ("version", b"2"), ("cause", b"4"), ("epoch", b"8")],
)
def test_headers_can_not_be_changed(name: str, value: bytes) -> None:
    sealed = sealed_event()
    assert_damaged("events", 0, stored(sealed, headers=_header(sealed, name, value)))


def test_headers_can_not_be_added_removed_or_moved() -> None:
    mark, *rest = sealed_event().headers
    for headers in ([mark, *rest, ("schema", b"2")], [mark, *rest[:-1]], [mark, rest[1], rest[0], *rest[2:]]):
        assert_damaged("events", 0, stored(sealed_event(), headers=tuple(headers)))


def test_a_value_can_not_be_moved_to_another_record() -> None:
    one, other = sealed_event(), stored(vault().seal("events", 0, event(version=2)))
    assert_damaged("events", 0, stored(one, value=other.value))
    assert_damaged("events", 0, stored(one, key=str(UUID(int=8)).encode()))
    assert_damaged("events", 1, one)
    assert_damaged("commands", 0, one)
    swapped = (one.headers[0], *other.headers[1:])
    assert_damaged("events", 0, stored(other, headers=swapped))


def assert_damaged(topic: str, partition: int, record: Record) -> None:
    """Nobody can decode it, and it is not for want of a key."""
    opened = vault().open(topic, partition, record)
    with pytest.raises(UndecodableRecord, match="it was changed or moved after it was encrypted"):
        CODEC.decode_event(opened)


def test_a_key_that_nobody_has_does_not_make_a_plain_value_ours() -> None:
    """Somebody without a key writes a plain event under a header that says that it is encrypted."""
    headers = ((ENCRYPTED, b"old:00000000:AAAA"), *event().headers)
    for mark in (headers, ((ENCRYPTED, None), *headers[1:]), ((ENCRYPTED, b"\xff:::"), *headers[1:])):
        opened = vault(required=True).open("events", 0, stored(event(), headers=mark))
        with pytest.raises(KeyMissing):
            CODEC.decode_event(opened)


HEADERS: Final = st.lists(
    st.tuples(
        st.sampled_from([ENCRYPTED, "damaged", "type", "x"]),
        st.none() | st.binary() | st.sampled_from([b"old:88c2f172:", b"old:88c2f172:AAAA", b"::", b"old"]),
    )
)


@given(key=st.none() | st.binary(), value=st.none() | st.binary(), headers=HEADERS, required=st.booleans())
def test_whatever_somebody_writes_opens_or_not(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]], required: bool
) -> None:
    """It never raises, and what is not ours is not made ours."""
    given_ = OpenedRecord(9, key, value, tuple(headers))
    for topic in ("commands", "events"):
        opened = vault(required=required).open(topic, 0, given_)
        assert (opened.offset, opened.key) == (9, key)
        assert opened.value in (value, b"\0" + (value or b""))
        if required and value:
            assert opened.value == b"\0" + value


# Required


def test_where_encryption_is_required_plain_events_stop_and_plain_commands_are_refused() -> None:
    strict = vault(required=True)
    with pytest.raises(KeyMissing, match="offset 9 is not encrypted, and ORCHESTRATION_ENCRYPTION_REQUIRED is true"):
        CODEC.decode_event(strict.open("events", 0, stored(event())))
    claim = stored(CODEC.encode("", PartitionClaimed(at=START, owner="x"), timestamp_ms=0))
    with pytest.raises(KeyMissing):
        CODEC.decode_event(strict.open("events", 0, claim))
    command = stored(CODEC.encode(ID, SendEvent(name="x"), timestamp_ms=0))
    with pytest.raises(UndecodableRecord, match="it is not encrypted, and ORCHESTRATION_ENCRYPTION_REQUIRED is true"):
        CODEC.decode_command(strict.open("commands", 0, command))


# The cipher


def test_the_format_is_that_of_the_library() -> None:
    theirs = AESCipher({"CIPHER_KEY": b64encode(OLD).decode()})  # type: ignore[arg-type]
    assert theirs.decrypt(RecordCipher(OLD).seal(b"text", b"")) == b"text"
    assert RecordCipher(OLD).open(theirs.encrypt(b"text"), b"") == b"text"


def test_what_was_sealed_once_opens_for_ever() -> None:
    """If this fails, the format has changed: keep reading the one before."""
    mark = (ENCRYPTED, b"old:88c2f172:V+ZZjOV3k/KNIDUcrENw4w==")
    value = bytes.fromhex(
        "d5748a78b22b7ff8518f77ee4c182c4ffc17d34a5fc52b9eac33e4d6700c897a5c3b0242fd7b7c4d53d940b246ad84cca2761fbc2021ff93"
        "9ce9015bc63cc35f84c2364e5c96a157a7428531b897fb25f8c23bf198096fbc0154df4d3b99"
    )
    opened = vault().open("events", 0, stored(event(), value=value, headers=(mark, *event().headers)))
    assert CODEC.decode_event(opened).event == EVENT


def test_a_derived_key_is_left_before_nonces_may_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SEALED", 3)
    one = vault()
    marks = [one.seal("events", 0, event()).headers[0][1] for _ in range(7)]
    assert [marks.count(mark) for mark in dict.fromkeys(marks)] == [3, 3, 1]


def test_few_derived_keys_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CIPHERS", 3)
    reader = vault()
    own = reader.seal("events", 0, event())
    others: Sequence[Record] = [stored(vault().seal("events", 0, event())) for _ in range(5)]
    for record in [*others, *others]:
        assert reader.open("events", 0, record).value == event().value
        assert len(reader._ciphers) <= 3
    assert reader.open("events", 0, stored(own)).value == event().value
    assert reader.seal("events", 0, event()).headers[0] == own.headers[0]
