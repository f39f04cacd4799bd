"""The console as one router."""

from litestar import Router

from pinyon.console.errors import EXCEPTION_HANDLERS
from pinyon.console.routes import access, browse, keys, overview, record_forms, records, search

router = Router(
    "/",
    route_handlers=[
        *access.handlers,
        *search.handlers,
        *browse.handlers,
        *records.handlers,
        *record_forms.handlers,
        *overview.handlers,
        *keys.handlers,
    ],
    before_request=access.before_request,
    exception_handlers=EXCEPTION_HANDLERS,
)
