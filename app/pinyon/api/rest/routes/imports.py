"""The routes for bulk imports."""

from typing import Annotated, Any

from litestar import Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter, RawBody

from pinyon.api.rest.bodies import decode_vector_body, whole_number
from pinyon.api.rest.schemas import import_schemas as schemas
from pinyon.api.rest.schemas.vector_schemas import Pagination
from pinyon.domain import Index
from pinyon.services.imports.imports import Imports


@post("/bulk/imports", status_code=200, operation_id="startBulkImport")
async def start_import(
    body: RawBody, index: NamedDependency[Index], imports: NamedDependency[Imports]
) -> schemas.StartImportResponse:
    """Begin to import files."""
    data = decode_vector_body(body, schemas.StartImportRequest)
    return schemas.StartImportResponse(await imports.start(index, data.uri, data.error_mode.on_error))


@get("/bulk/imports", operation_id="listBulkImports")
async def list_imports(
    index: NamedDependency[Index],
    imports: NamedDependency[Imports],
    limit: Annotated[str | None, QueryParameter()] = None,
    pagination_token: Annotated[str | None, QueryParameter(name="paginationToken")] = None,
) -> schemas.ListImportsResponse:
    """A page of the imports into an index."""
    page, following = await imports.page(index, whole_number(limit, "limit"), pagination_token)
    return schemas.ListImportsResponse(
        [schemas.described(state) for state in page], Pagination(following) if following else None
    )


@get("/bulk/imports/{import_id:str}", operation_id="describeBulkImport")
async def describe_import(
    import_id: FromPath[str], index: NamedDependency[Index], imports: NamedDependency[Imports]
) -> schemas.ImportModel:
    """One import."""
    return schemas.described(await imports.describe(index, import_id))


@delete("/bulk/imports/{import_id:str}", status_code=200, operation_id="cancelBulkImport")
async def cancel_import(
    import_id: FromPath[str], index: NamedDependency[Index], imports: NamedDependency[Imports]
) -> Response[dict[str, Any]]:
    """Stop an import."""
    await imports.cancel(index, import_id)
    return Response({}, status_code=200)


router = Router("/", route_handlers=[start_import, list_imports, describe_import, cancel_import])
