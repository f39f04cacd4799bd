"""Reads and makes the cookies of the console. Pure."""

import hmac
import secrets
from http.cookies import CookieError, SimpleCookie

from pinyon.console.paths import KEY_COOKIE, ROOT, is_console

FORM_COOKIE, FORM_FIELD = "pinyon_form", "form_token"
"""A random token. A form that changes something must send it twice: as the cookie, and as a field.

Another site can make a browser send the form, but it cannot read the token. So it cannot fill in the field.
"""
TOKEN_CHARACTERS = 43


def value_of(header: str, name: str) -> str | None:
    """The value of a cookie in a Cookie header. None if it is absent or the header is malformed."""
    try:
        morsel = SimpleCookie(header).get(name)
    except CookieError:
        return None
    return None if morsel is None or not morsel.value else morsel.value


def api_key(header: str) -> str | None:
    """The API key of whoever is logged in. header: the Cookie header."""
    return value_of(header, KEY_COOKIE)


def page_key(path: str, header: str) -> str | None:
    """As Guard takes it: None if the path is no page of the console; otherwise the key, or "" without one."""
    if not is_console(path) and path != "/":
        return None
    return api_key(header) or ""


def new_form_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(32)


def is_same(cookie: str | None, field: object) -> bool:
    """Whether a form sent the token twice."""
    return (
        cookie is not None
        and isinstance(field, str)
        and len(cookie) == TOKEN_CHARACTERS
        and hmac.compare_digest(cookie.encode(), field.encode())
    )


def set_cookie(name: str, value: str, secure: bool) -> str:
    """A Set-Cookie header. secure: send it over https only. An empty value removes the cookie."""
    end = "" if value else "; Max-Age=0"
    return f"{name}={value}; Path={ROOT}; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}{end}"
