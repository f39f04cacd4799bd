"""The page of API keys: who has which, making one, and revoking one."""

from litestar import Response, get, post
from litestar.di import NamedDependency

from pinyon.auth.permissions import GRANT
from pinyon.auth.scopes import SCOPES
from pinyon.auth.stored_keys import Limits
from pinyon.console import paths
from pinyon.console.pages import AnyRequest, page, parameter, redirect
from pinyon.errors import AlreadyExists, InvalidArgument, PinyonError
from pinyon.services.control_plane.api_keys import ApiKeys
from pinyon.services.control_plane.indexes import Indexes

REVOKE = f"{paths.KEYS}/revoke"


@get(paths.KEYS, operation_id="pinyon_console_keys")
async def keys_page(
    request: AnyRequest, api_keys: NamedDependency[ApiKeys], indexes: NamedDependency[Indexes]
) -> Response[str]:
    """The keys, and a form for a new one."""
    return await _page(request, api_keys, indexes)


@post(paths.KEYS, operation_id="pinyon_console_create_key", status_code=200)
async def create_key(
    request: AnyRequest, api_keys: NamedDependency[ApiKeys], indexes: NamedDependency[Indexes]
) -> Response[str]:
    """Make a key, and show it this once."""
    form = await request.form()
    name = str(form.get("name", "")).strip()
    scopes = form.getall("scope", [])
    names = [str(each) for each in form.getall("index", [])]
    try:
        limits = Limits(
            tuple(scope for scope in SCOPES if scope in scopes),
            tuple(names) or None,
            _namespaces(str(form.get("namespaces", ""))),
            _rate(str(form.get("rate", ""))),
        )
        key = await api_keys.create(name, limits)
    except (InvalidArgument, AlreadyExists) as error:
        return await _page(request, api_keys, indexes, error)
    return page(request, "key_made.html", title="A new API key", active="keys", name=name, key=key)


@get(REVOKE, operation_id="pinyon_console_revoke_page")
async def revoke_page(request: AnyRequest, api_keys: NamedDependency[ApiKeys]) -> Response[str]:
    """Ask whether a key is to be revoked."""
    api_keys.check()
    return page(request, "key_revoke.html", title="Revoke an API key", active="keys", name=parameter(request, "name"))


@post(REVOKE, operation_id="pinyon_console_revoke", status_code=303)
async def revoke(request: AnyRequest, api_keys: NamedDependency[ApiKeys]) -> Response[str]:
    """Revoke a key."""
    await api_keys.revoke(parameter(request, "name"))
    return redirect(paths.KEYS)


async def _page(
    request: AnyRequest, api_keys: ApiKeys, indexes: Indexes, error: PinyonError | None = None
) -> Response[str]:
    return page(
        request,
        "keys.html",
        title="API keys",
        active="keys",
        status=400 if error else 200,
        keys=await api_keys.list(),
        required=api_keys.required(),
        scopes=[scope for scope in SCOPES if scope in GRANT.get().scopes],
        index_names=[index.name for index in indexes.all()],
        problem=None if error is None else error.message,
    )


def _namespaces(text: str) -> tuple[str, ...] | None:
    """The namespaces of a text with one a line; None if there are none."""
    return tuple(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip())) or None


def _rate(text: str) -> float | None:
    """Requests per second; None for any number. Raises InvalidArgument."""
    if not text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        raise InvalidArgument(f"Requests per second must be a number, got '{text[:40]}'") from None


handlers = [keys_page, create_key, revoke_page, revoke]
