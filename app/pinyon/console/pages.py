"""Renders pages: the template, and the headers that keep foreign content from doing anything."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import MediaType, Request, Response

from pinyon.auth.permissions import GRANT
from pinyon.console import cookies, page_weight, paths, static_files
from pinyon.domain import Index
from pinyon.errors import InvalidArgument
from pinyon.services.control_plane.indexes import Indexes

AnyRequest = Request[Any, Any, Any]
NAVIGATION = (
    ("search", "Search", paths.ROOT),
    ("browse", "Browse", paths.BROWSE),
    ("judge", "Judge", paths.JUDGE),
    ("overview", "Overview", paths.OVERVIEW),
    ("import", "Import", paths.IMPORT),
    ("keys", "Keys", paths.KEYS),
)
"""The pages in the navigation: a name, a title and an address. A page that is added here is in the navigation."""
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    # With "no-referrer", browsers send forms with "Origin: null", which the guard refuses while there is no key.
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


@cache
def environment() -> Environment:
    """The templates. Every value is escaped, and a name that is not given is an error."""
    made = Environment(
        loader=PackageLoader("pinyon.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(static=static_files.address, root=paths.ROOT, navigation=NAVIGATION)
    made.globals.update(address=paths.address, shortened=page_weight.shortened)
    return made


def parameter(request: AnyRequest, name: str) -> str:
    """A value in the address; "" if it is absent."""
    return str(request.query_params.get(name) or "")


def named_index(request: AnyRequest, indexes: Indexes) -> Index:
    """The index that the address names with ?index=. Raises InvalidArgument, NotFound or PermissionDenied."""
    name = parameter(request, "index")
    if not name:
        raise InvalidArgument("The address does not say which index is meant: ?index=NAME is missing")
    return indexes.index(name)


def chosen_index(request: AnyRequest, indexes: Indexes) -> Index | None:
    """The index that the address names with ?index=, or the default one, or the first. None if there is none.

    Raises NotFound or PermissionDenied for a name that is wrong.
    """
    name = request.query_params.get("index")
    if name:
        return indexes.index(name)
    every = indexes.all()
    return next((index for index in every if index.name == indexes.default), every[0] if every else None)


def page(
    request: AnyRequest,
    template: str,
    *,
    title: str,
    active: str = "",
    index: Index | None = None,
    every_index: Sequence[Index] = (),
    status: int = 200,
    **values: Any,
) -> Response[str]:
    """A page. active: its name in the navigation. index, every_index: for the choice of an index above the page."""
    token = cookies.value_of(request.headers.get("cookie", ""), cookies.FORM_COOKIE)
    is_new = token is None or len(token) != cookies.TOKEN_CHARACTERS
    if token is None or is_new:
        token = cookies.new_form_token()
    text = (
        environment()
        .get_template(template)
        .render(
            title=title,
            active=active,
            index=index,
            every_index=every_index,
            form_token=token,
            grant=GRANT.get(),
            logged_in=cookies.api_key(request.headers.get("cookie", "")) is not None,
            **values,
        )
    )
    response = Response(text, status_code=status, media_type=MediaType.HTML, headers=HEADERS)
    if is_new:
        response.set_header("set-cookie", cookies.set_cookie(cookies.FORM_COOKIE, token, is_secure(request)))
    return response


def is_secure(request: AnyRequest) -> bool:
    """Whether the browser reached this page over https, here or at a proxy in front."""
    return "https" in (request.scope["scheme"], request.headers.get("x-forwarded-proto", ""))


def redirect(to: str, cookie: str | None = None) -> Response[str]:
    """Go to another page of the console, by GET."""
    headers = {"location": to, "cache-control": "no-store"}
    if cookie is not None:
        headers["set-cookie"] = cookie
    return Response("", status_code=303, media_type=MediaType.HTML, headers=headers)
