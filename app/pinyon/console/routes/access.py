"""Logging in and out, and the files that pages need."""

from collections.abc import Callable
from typing import Annotated
from urllib.parse import quote

from litestar import MediaType, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from pinyon.auth.callers import Caller
from pinyon.auth.permissions import GRANT
from pinyon.console import cookies, page_weight, paths, static_files
from pinyon.console.pages import AnyRequest, is_secure, page, redirect
from pinyon.errors import PermissionDenied

CALLER = Callable[[str], Caller | None]


async def before_request(request: AnyRequest) -> Response[str] | None:
    """Send whoever has no API key to the log-in, and refuse long addresses and forms that another site made."""
    request.scope["state"]["operation"] = request.route_handler.operation_id or "none"
    path = request.scope["path"]
    if not paths.is_public(path) and not GRANT.get().scopes:
        query = request.scope["query_string"].decode("latin-1")
        here = f"{path}?{query}" if query and request.method == "GET" else path
        return redirect(f"{paths.LOGIN}?next={quote(here, safe='')}")
    if request.method in ("GET", "HEAD"):
        if not paths.is_public(path) and path != paths.CHECK_FILTER:
            page_weight.check_address(request.query_params.multi_items())
    else:
        form = await request.form()
        cookie = cookies.value_of(request.headers.get("cookie", ""), cookies.FORM_COOKIE)
        if not cookies.is_same(cookie, form.get(cookies.FORM_FIELD)):
            raise PermissionDenied("This form is too old, or another site sent it. Go back, reload the page, try again")
    return None


@get(paths.LOGIN, operation_id="pinyon_console_login_page")
async def login_page(
    request: AnyRequest, target: Annotated[str, QueryParameter(name="next")] = paths.ROOT
) -> Response[str]:
    """Ask for an API key."""
    return page(request, "login.html", title="Log in", target=paths.local_target(target), problem=None)


@post(paths.LOGIN, operation_id="pinyon_console_login", status_code=303)
async def login(request: AnyRequest, caller: NamedDependency[CALLER]) -> Response[str]:
    """Check the key, and keep it in a cookie."""
    form = await request.form()
    key, target = str(form.get("key", "")).strip(), paths.local_target(str(form.get("next", paths.ROOT)))
    if caller(key) is None:
        problem = "This API key is not known here. `pinyon keys create NAME` makes one."
        return page(request, "login.html", title="Log in", status=401, target=target, problem=problem)
    return redirect(target, cookies.set_cookie(paths.KEY_COOKIE, key, is_secure(request)))


@post(f"{paths.ROOT}/logout", operation_id="pinyon_console_logout", status_code=303)
async def logout(request: AnyRequest) -> Response[str]:
    """Forget the key."""
    return redirect(paths.LOGIN, cookies.set_cookie(paths.KEY_COOKIE, "", is_secure(request)))


@get(paths.STATIC + "{name:str}", operation_id="pinyon_console_file")
async def file(name: FromPath[str]) -> Response[bytes]:
    """The stylesheet, the script or the picture."""
    content, kind = static_files.read(name)
    return Response(content, media_type=kind, headers=static_files.HEADERS)


@get("/", operation_id="pinyon_home")
async def home(request: AnyRequest) -> Response[str]:
    """Lead a browser to the console, and tell a program where the API is."""
    if MediaType.HTML in request.headers.get("accept", ""):
        return redirect(paths.ROOT)
    text = f"Pinyon, a search service that speaks Pinecone's API: see /openapi.json, or {paths.ROOT} in a browser\n"
    return Response(text, media_type=MediaType.TEXT)


handlers = [login_page, login, logout, file, home]
