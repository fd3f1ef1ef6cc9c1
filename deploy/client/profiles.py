"""Where the API is, and who calls it: the command line, the environment, or a profile in a file.

    # ~/.config/orchestration/profiles.toml
    default = "staging"

    [staging]
    url = "https://staging.example.com/api/orchestration"
    client_id = "me"
    client_secret = "…"
    issuer = "https://staging.example.com/api/auth"

Address and credentials come from one place, so that a token never goes to another server than it is for: `--url` and
`ORCHESTRATION_CLIENT_URL` go with the credentials of the environment, a profile with its own.
"""

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from deploy.client.errors import ProfileError
from schemas.secret_files import exposed
from schemas.settings import ApiSettings, ClientSettings, Url, variable

DEFAULT_KEY: Final = "default"
"""Names the profile that is used if none is chosen."""


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An API and who calls it."""

    url: Url
    """With the base path, without `/v2`."""
    token: str | None = None
    """An access token that is sent as it is."""
    client_id: str | None = None
    client_secret: str | None = None
    issuer: Url | None = None
    """Where OIDC discovery finds the token endpoint; needed with client credentials, unless `token_url` is given."""
    token_url: Url | None = None


def choose(
    settings: ClientSettings, name: str | None, url: str | None, tell: Callable[[str], None] = lambda _: None
) -> Profile:
    """The profile to use.

    Args:
        settings: the environment.
        name: what the command line says of the profile.
        url: what it says of the address.
        tell: is told what should be otherwise, in words.

    Raises:
        ProfileError: there is no such profile, or the file can't be read.
    """
    if name is not None and url is not None:
        raise ProfileError("give either a profile or a URL: a profile's credentials are for its own URL")
    if name is None and (url is not None or settings.client_url is not None):
        return _checked(_of_environment(settings, url or settings.client_url or ""), "the environment")
    name = name or settings.client_profile
    path = file(settings)
    profiles = _read(path)
    default = profiles.pop(DEFAULT_KEY, None)
    if name is None:
        name = default
    if name is None:
        return _checked(_of_environment(settings, local_url()), "the environment")
    if not isinstance(name, str) or name not in profiles:
        known = ", ".join(sorted(profiles)) or "none"
        raise ProfileError(f"there is no profile {name!r} in {path}; known: {known}")
    try:
        profile = msgspec.convert(profiles[name], Profile)
    except msgspec.ValidationError as error:
        raise ProfileError(f"profile {name} in {path}: {error}") from None
    if (profile.token or profile.client_secret) and (how := exposed(path)) is not None:
        tell(f"warning: {how}, which has a token or secret: chmod 600 {path}")
    return _checked(profile, f"profile {name}")


def file(settings: ClientSettings) -> Path:
    """Where profiles are kept."""
    if settings.client_profiles is not None:
        return Path(settings.client_profiles).expanduser()
    folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(folder).expanduser() / "orchestration" / "profiles.toml"


def local_url() -> str:
    """The API of `orchestration dev` on this machine."""
    settings = ApiSettings()
    return f"http://{settings.host}:{settings.port}{settings.base_path}"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ProfileError(f"{path}: {error}") from None


def _of_environment(settings: ClientSettings, url: str) -> Profile:
    try:
        msgspec.convert(url, Url)
    except msgspec.ValidationError:
        raise ProfileError(f"{url!r} is not a URL that begins with http:// or https://") from None
    return Profile(
        url=url,
        token=settings.client_token,
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        issuer=settings.client_issuer,
        token_url=settings.client_token_url,
    )


def _checked(profile: Profile, where: str) -> Profile:
    if profile.client_id is not None and profile.token is None:
        if profile.client_secret is None:
            raise ProfileError(f"{where} has a client id without a secret")
        if profile.issuer is None and profile.token_url is None:
            raise ProfileError(
                f"{where} has client credentials, but neither issuer nor token URL: "
                f"in the environment these are {variable('client_issuer')} and {variable('client_token_url')}"
            )
    return msgspec.structs.replace(profile, url=profile.url.rstrip("/"))
