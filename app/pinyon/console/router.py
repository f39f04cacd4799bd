"""The console as one router."""

from litestar import Router

from pinyon.console.errors import EXCEPTION_HANDLERS
from pinyon.console.routes import access, browse, importing, judge, keys, overview, record_forms, records, search

FAMILIES = (access, search, judge, browse, records, record_forms, overview, importing, keys)
router = Router(
    "/",
    route_handlers=[handler for family in FAMILIES for handler in family.handlers],
    before_request=access.before_request,
    exception_handlers=EXCEPTION_HANDLERS,
)
