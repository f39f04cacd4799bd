"""Routes for re-embedding an index, used by `pinyon reembed`. The hosted service does not have them."""

from litestar import Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, RawBody

from pinyon.api.rest.bodies import decode_body
from pinyon.api.rest.schemas import record_schemas
from pinyon.services.control_plane.reembedding import Progress, Reembeddings


@post("/indexes/{index_name:str}/reembed", status_code=202, operation_id="pinyon_reembed")
async def reembed(index_name: FromPath[str], body: RawBody, reembeddings: NamedDependency[Reembeddings]) -> Progress:
    """Start re-embedding an index, or continue it with the same model."""
    data = decode_body(body, record_schemas.ReembedRequest)
    return await reembeddings.start(index_name, data.model, data.dimension, data.sparse_model)


@get("/indexes/{index_name:str}/reembed", operation_id="pinyon_reembedding")
async def progress(index_name: FromPath[str], reembeddings: NamedDependency[Reembeddings]) -> Progress:
    """The progress of the re-embedding."""
    return await reembeddings.progress(index_name)


@delete("/indexes/{index_name:str}/reembed", status_code=202, operation_id="pinyon_cancel_reembedding")
async def cancel(index_name: FromPath[str], reembeddings: NamedDependency[Reembeddings]) -> Response[bytes]:
    """Stop the re-embedding and drop the new vectors. The index stays as it is."""
    await reembeddings.cancel(index_name)
    return Response(b"", status_code=202)


router = Router("/", route_handlers=[reembed, progress, cancel])
