"""The file of keys."""

from base64 import b64encode
from pathlib import Path

import pytest

from schemas.encryption.keys import Keys, keys_of
from schemas.kafka import clients_of
from schemas.settings import KafkaSettings, SettingsError, load

KEY, OTHER = b64encode(b"k" * 32).decode(), b64encode(b"o" * 32).decode()


def settings(tmp_path: Path, text: str, **more: str) -> KafkaSettings:
    file = tmp_path / "keys"
    file.write_text(text)
    given = {f"ORCHESTRATION_{name.upper()}": value for name, value in more.items()}
    return load(KafkaSettings, {"ORCHESTRATION_ENCRYPTION_KEYS_FILE": str(file), **given})


def test_keys_are_read(tmp_path: Path) -> None:
    text = f"# ours\n\n2026-03: {KEY}\n  old.1_x :{OTHER}\r\n"
    keys = keys_of(settings(tmp_path, text, encryption_key_id="2026-03"))
    assert keys is not None
    assert keys.current == "2026-03"
    assert repr(keys) == "Keys(2026-03, old.1_x; current: 2026-03)"
    assert keys.name("old.1_x") != keys.name("2026-03")


def test_nothing_is_encrypted_by_default() -> None:
    assert keys_of(KafkaSettings()) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no key"),
        ("# nothing", "has no key"),
        (KEY, "line 1 of .* is not `id: key`"),
        (f"a: {KEY}\nb: {KEY[:-8]}", "line 2 of .* is not `id: key`"),
        (f"a b: {KEY}", "line 1"),
        (f"a: {KEY}!", "line 1"),
        (f"a: {b64encode(b'k' * 16).decode()}", "a key has 32 bytes"),
        (f"a: {KEY}\na: {OTHER}", "line 2 of .* has an id that a line before has"),
    ],
)
def test_a_file_that_is_wrong_is_told_without_its_content(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=f"ORCHESTRATION_ENCRYPTION_KEYS_FILE.*{told}") as error:
        clients_of(settings(tmp_path, text))
    assert KEY not in str(error.value)
    assert KEY[:-8] not in str(error.value)


def test_a_file_that_is_not_there_or_not_a_text(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can't be read: No such file or directory"):
        keys_of(KafkaSettings(encryption_keys_file=str(tmp_path / "none")))
    (tmp_path / "keys").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="can't be read: it is not a text"):
        keys_of(KafkaSettings(encryption_keys_file=str(tmp_path / "keys")))


def test_settings_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ENCRYPTION_KEY_ID is 'b', but the file .* has no key of this id"):
        keys_of(settings(tmp_path, f"a: {KEY}", encryption_key_id="b"))
    with pytest.raises(SettingsError, match="ENCRYPTION_REQUIRED needs ORCHESTRATION_ENCRYPTION_KEY_ID"):
        keys_of(settings(tmp_path, f"a: {KEY}", encryption_required="true"))
    with pytest.raises(SettingsError, match="ENCRYPTION_KEY_ID needs ORCHESTRATION_ENCRYPTION_KEYS_FILE"):
        keys_of(KafkaSettings(encryption_key_id="a"))
    with pytest.raises(SettingsError, match="ENCRYPTION_KEY_ID 'a b': it must be the id of a key"):
        settings(tmp_path, "", encryption_key_id="a b")


def test_keys_that_were_given_up(tmp_path: Path) -> None:
    keys = keys_of(settings(tmp_path, f"a: {KEY}\ngone: lost\nb:0123abcd: lost\n"))
    assert keys is not None
    assert [keys.is_lost(name) for name in (b"gone:00000000", b"b:0123abcd", b"b:00000000", b"a:0123abcd")] == [
        *(True, True, False, False)
    ]
    with pytest.raises(SettingsError, match="line 1"):
        keys_of(settings(tmp_path, "b:xyz: lost"))


def test_a_derived_key_needs_the_right_key() -> None:
    keys = Keys({"a": b"k" * 32}, "a")
    assert keys.derive(keys.name("a"), b"salt") == Keys({"a": b"k" * 32}, None).derive(keys.name("a"), b"salt")
    assert keys.derive(keys.name("a"), b"other") != keys.derive(keys.name("a"), b"salt")
    assert Keys({"a": b"o" * 32}, "a").derive(keys.name("a"), b"salt") is None
    assert keys.derive(b"b:00000000", b"salt") is None
