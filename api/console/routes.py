"""The routes of the console: the page, its files, and what the page has to know of this installation.

Where the console is reached from outside is not known here, since a gateway may put any prefix before it. So nothing
names an absolute path: the page finds the API one folder above itself.
"""

import asyncio
from importlib.metadata import version
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from api.console.files import PAGE, StaticFile, console_files
from api.console.security import security_headers
from api.console.sign_in import SignIn
from schemas.settings import ApiSettings

FOLDER: Final = "/console"

FOR_EVER: Final = "public, max-age=31536000, immutable"
NEVER_UNASKED: Final = "no-cache"
"""A browser asks whether the page has changed each time: it names the files of the build that runs now."""
NOT_KEPT: Final = "no-store"

_VERSION: Final = version("orchestration")


def console_routes(settings: ApiSettings, sign_in: SignIn) -> list[BaseRoute]:
    """The routes below the base path, and one outside that leads there; none when the console is turned off."""
    if not settings.console_enabled:
        return []
    folder = f"{settings.base_path}{FOLDER}"

    async def enter(request: Request) -> Response:
        return RedirectResponse(f"{folder.rpartition('/')[2]}/", 307, security_headers())

    async def enter_from_outside(request: Request) -> Response:
        return RedirectResponse(f"{folder[1:]}/", 307, security_headers())

    async def page(request: Request) -> Response:
        files = await asyncio.to_thread(console_files)
        origins = await sign_in.origins()
        etag = f'"{files.digest}"'
        headers = {**security_headers(origins), "cache-control": NEVER_UNASKED, "etag": etag}
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return _sent(request, files.files[PAGE], headers)

    async def file(request: Request) -> Response:
        files = await asyncio.to_thread(console_files)
        found = files.files.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        # While builds change, a page of one replica may ask another, whose files have another digest. They mostly fit,
        # but nobody may keep them under that name.
        current = request.path_params["digest"] == files.digest
        return _sent(request, found, {**security_headers(), "cache-control": FOR_EVER if current else NOT_KEPT})

    async def config(request: Request) -> Response:
        shown = {"version": _VERSION, "auth": await sign_in.shown()}
        return JSONResponse(shown, headers={**security_headers(), "cache-control": NOT_KEPT})

    routes: list[BaseRoute] = [
        Route(folder, enter),
        Route(f"{folder}/", page),
        Route(f"{folder}/config.json", config),
        Route(f"{folder}/{{digest}}/{{name:path}}", file),
    ]
    if settings.base_path:
        routes.append(Route(FOLDER, enter_from_outside))
    return routes


def _sent(request: Request, found: StaticFile, headers: dict[str, str]) -> Response:
    coding, body = found.body(request.headers.get("accept-encoding", ""))
    headers = {**headers, "content-type": found.content_type, "vary": "accept-encoding"}
    if coding != "identity":
        headers["content-encoding"] = coding
    return Response(body, headers=headers)
