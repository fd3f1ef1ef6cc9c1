"""Which API is called, and as whom."""

from pathlib import Path

import pytest

from deploy.client.errors import ProfileError
from deploy.client.profiles import Profile, choose, file, local_url
from schemas.settings import ClientSettings

FILE = """
default = "staging"
[staging]
url = "https://staging.example.com/api/"
client_id = "me"
client_secret = "s"
issuer = "https://staging.example.com/auth"
[local]
url = "http://127.0.0.1:8080/api/orchestration"
token = "t"
[half]
url = "https://h"
client_id = "me"
[lost]
url = "https://h"
client_id = "me"
client_secret = "s"
[odd]
url = "https://h"
tokn = "t"
[where]
url = "example.com"
"""


@pytest.fixture
def settings(tmp_path: Path) -> ClientSettings:
    path = tmp_path / "profiles.toml"
    path.write_text(FILE)
    return ClientSettings(client_profiles=str(path))


def with_environment(settings: ClientSettings, **environment: str) -> ClientSettings:
    return ClientSettings(client_profiles=settings.client_profiles, **environment)  # type: ignore[arg-type]


STAGING = Profile(
    url="https://staging.example.com/api",
    client_id="me",
    client_secret="s",
    issuer="https://staging.example.com/auth",
)
LOCAL = Profile(url="http://127.0.0.1:8080/api/orchestration", token="t")


def test_the_default_of_the_file_and_a_named_one(settings: ClientSettings) -> None:
    assert choose(settings, None, None) == STAGING
    assert choose(settings, "local", None) == LOCAL
    assert choose(with_environment(settings, client_profile="local"), None, None) == LOCAL
    assert choose(with_environment(settings, client_profile="local"), "staging", None) == STAGING


def test_a_url_goes_with_the_credentials_of_the_environment_alone(settings: ClientSettings) -> None:
    bare, environment = "https://other", with_environment(settings, client_url="https://mine", client_token="e")
    assert choose(settings, None, bare) == Profile(url=bare)
    assert choose(environment, None, None) == Profile(url="https://mine", token="e")
    assert choose(environment, None, bare) == Profile(url=bare, token="e")
    assert choose(environment, "local", None) == LOCAL
    with pytest.raises(ProfileError, match="either a profile or a URL"):
        choose(settings, "local", bare)


def test_without_anything_it_is_the_api_of_this_machine(tmp_path: Path) -> None:
    nothing = ClientSettings(client_profiles=str(tmp_path / "nothing.toml"))
    assert choose(nothing, None, None) == Profile(url="http://127.0.0.1:8080/api/orchestration")
    assert local_url() == "http://127.0.0.1:8080/api/orchestration"
    with pytest.raises(ProfileError, match="known: none"):
        choose(nothing, "local", None)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere", "there is no profile 'nowhere' in .*; known: half, local, lost, odd, staging, where"),
        ("half", "profile half has a client id without a secret"),
        ("lost", "profile lost has client credentials, but neither issuer nor token URL"),
        ("odd", "profile odd in .*: Object contains unknown field `tokn`"),
        ("where", "profile where in .*: .*url"),
    ],
)
def test_profiles_that_can_not_be_used(settings: ClientSettings, name: str, told: str) -> None:
    with pytest.raises(ProfileError, match=told):
        choose(settings, name, None)


@pytest.mark.parametrize("text", ["default =", "[a]\n[a]", "\x00"])
def test_a_file_that_can_not_be_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "profiles.toml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=r"profiles\.toml: "):
        choose(ClientSettings(client_profiles=str(path)), None, None)


def test_a_url_that_is_none(settings: ClientSettings) -> None:
    with pytest.raises(ProfileError, match=r"'example\.com' is not a URL that begins with http"):
        choose(settings, None, "example.com")


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert file(ClientSettings()) == tmp_path / "orchestration" / "profiles.toml"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert file(ClientSettings()) == Path.home() / ".config" / "orchestration" / "profiles.toml"


def test_a_file_with_secrets_that_others_may_read_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "profiles.toml"
    path.write_text('[secret]\nurl = "http://a"\ntoken = "t"\n[open]\nurl = "http://b"\n')
    settings, told = ClientSettings(client_profiles=str(path)), list[str]()
    for mode, name in ((0o600, "secret"), (0o644, "open"), (0o644, "secret")):
        path.chmod(mode)
        choose(settings, name, None, told.append)
    (warning,) = told
    assert warning.startswith(f"warning: everybody on this machine may read {path}")
