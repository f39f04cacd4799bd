"""Empty lists of what only the hosted service has: bulk imports. Some clients read them, and fail on a 404."""

from typing import Any

from litestar import Router, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from pinyon.auth.permissions import check
from pinyon.domain import Index
from pinyon.errors import NotFound


@get("/bulk/imports", operation_id="listBulkImports")
async def list_imports(index: NamedDependency[Index]) -> dict[str, Any]:
    """An empty list."""
    check("read", index.handle)
    return {"data": []}


@get("/bulk/imports/{import_id:str}", operation_id="describeBulkImport")
async def describe_import(import_id: FromPath[str], index: NamedDependency[Index]) -> None:
    """Always NotFound."""
    check("read", index.handle)
    raise NotFound(f"Import {import_id} not found.")


router = Router(
    "/",
    route_handlers=[
        list_imports,
        describe_import,
    ],
)
