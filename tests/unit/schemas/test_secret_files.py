"""Files that hold secrets, by their mode."""

from pathlib import Path

import pytest

from schemas.secret_files import exposed, exposed_files
from schemas.settings import EngineSettings, ProcessSettings


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        (0o600, None),
        (0o400, None),
        (0o440, None),
        (0o640, None),
        (0o644, "everybody on this machine may read"),
        (0o604, "everybody on this machine may read"),
        (0o660, "others than its owner may change"),
        (0o602, "others than its owner may change"),
    ],
)
def test_who_may_use_a_file(tmp_path: Path, mode: int, told: str | None) -> None:
    file = tmp_path / "keys"
    file.touch()
    file.chmod(mode)
    link = tmp_path / "link"
    link.symlink_to(file)
    for path in (file, link):
        assert exposed(path) == (None if told is None else f"{told} {path}")


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert exposed(tmp_path) is None
    assert exposed(tmp_path / "missing") is None


def test_the_files_of_settings_are_named_by_their_variable(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("keys", "key.pem")}
    for file in files.values():
        file.touch(mode=0o600)
    settings = EngineSettings(encryption_keys_file=str(files["keys"]), kafka_ssl_keyfile=str(files["key.pem"]))
    assert exposed_files(settings) == []
    for file in files.values():
        file.chmod(0o644)
    assert exposed_files(settings) == [
        f"ORCHESTRATION_ENCRYPTION_KEYS_FILE: everybody on this machine may read {files['keys']}",
        f"ORCHESTRATION_KAFKA_SSL_KEYFILE: everybody on this machine may read {files['key.pem']}",
    ]
    assert exposed_files(ProcessSettings()) == []
