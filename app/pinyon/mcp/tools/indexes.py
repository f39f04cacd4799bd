"""Tools about indexes and namespaces."""

from pinyon.auth import permissions
from pinyon.domain import Index
from pinyon.errors import FailedPrecondition, InvalidArgument
from pinyon.mcp import arguments, results
from pinyon.mcp.shortening import ANSWER_CHARACTERS, fitting, names
from pinyon.mcp.tool import Services, Tool
from pinyon.services import pages
from pinyon.services.control_plane import index_rules
from pinyon.services.control_plane.index_rules import IndexOptions

MOST_NAMESPACES = 100
"""Namespaces that the statistics of an index name."""


async def list_indexes(services: Services, given: arguments.ListIndexes) -> results.IndexList:
    """A page of the indexes that the key may see."""
    rows = [(index.name, index) for index in services.indexes.all()]
    shown, following = pages.page(rows, given.limit, 50, 100, given.pagination_token)
    broken = [f"Index {name} cannot be used: {why[:300]}" for name, why in services.indexes.unusable().items()]
    return results.IndexList(
        [_described(services, index) for index in shown],
        results.Pagination(following) if following else None,
        broken[:20],
    )


async def describe_index(services: Services, given: arguments.OfIndex) -> results.IndexDescription:
    """One index."""
    return _described(services, services.indexes.shown(given.name))


async def describe_index_stats(services: Services, given: arguments.OfIndex) -> results.IndexStats:
    """The records of an index and of its largest namespaces."""
    spec, namespaces = await services.vectors.stats(services.indexes.index(given.name), None)
    largest = sorted(namespaces, key=lambda each: (-each.record_count, each.name))[:MOST_NAMESPACES]
    largest = fitting(largest, lambda each: {each.name: each.record_count}, ANSWER_CHARACTERS)
    notes = []
    if len(largest) < len(namespaces):
        notes.append(
            f"The {len(largest):,} largest of {len(namespaces):,} namespaces are shown; list-namespaces shows all of "
            "them, page by page."
        )
    return results.IndexStats(
        sum(each.record_count for each in namespaces),
        {each.name: results.NamespaceStats(each.record_count) for each in largest},
        spec.metric,
        _vector_type(spec.sparse),
        spec.dimension or None,
        notes,
    )


async def create_index(services: Services, given: arguments.CreateIndex) -> results.IndexDescription:
    """Make an index that embeds text. If there is one of this name, it is returned unchanged."""
    permissions.check("control", given.name)
    existing = next((index for index in services.indexes.all() if index.name == given.name), None)
    if existing is not None:
        note = f"Nothing was created: there is an index named {given.name} already, and it was not changed."
        return _described(services, existing, [note])
    if services.read_only:
        raise FailedPrecondition("This server only reads its data; no index can be created")
    spec = index_rules.integrated(services.catalog, given.name, given.embed.model, {"text": given.embed.field_map.text})
    index = await services.indexes.create(spec, IndexOptions(given.cloud, given.region, tags={"source": "mcp"}))
    return _described(services, index)


async def list_namespaces(services: Services, given: arguments.ListNamespaces) -> results.NamespaceList:
    """A page of the namespaces of an index."""
    page = await services.namespaces.list(
        services.indexes.index(given.name),
        given.prefix,
        min(given.limit, services.limits.list_page),
        given.pagination_token,
    )
    return results.NamespaceList(
        [results.NamespaceDescription(each.name, each.record_count) for each in page.namespaces],
        page.total,
        results.Pagination(page.next) if page.next else None,
    )


def text_index(services: Services, name: str) -> Index:
    """An index that embeds text. Raises NotFound, PermissionDenied, or InvalidArgument if it embeds none."""
    services.readiness.check_models()
    index = services.indexes.index(name)
    if index.spec.embed is None:
        having = [each.name for each in services.indexes.all() if each.spec.embed is not None]
        raise InvalidArgument(
            f"Index {name} embeds no text: its records have vectors that programs bring. Indexes that embed text: "
            f"{names(having) or 'none'}"
        )
    return index


def _described(services: Services, index: Index, notes: list[str] | None = None) -> results.IndexDescription:
    spec, embed, state = index.spec, index.spec.embed, services.indexes.state(index)
    embedding = None
    if embed is not None:
        embedding = results.Embedding(
            embed.model, {"text": embed.text_field}, _answered_by(services, embed.model), embed.retrieval
        )
    return results.IndexDescription(
        name=index.name,
        metric=spec.metric,
        vector_type=_vector_type(spec.sparse),
        status=results.IndexStatus(state == "Ready", state),
        dimension=spec.dimension or None,
        host=services.indexes.url(index) if services.indexes.addresses.port else "",
        embed=embedding,
        deletion_protection="enabled" if index.details.deletion_protection else "disabled",
        tags=index.details.tags,
        notes=notes or [],
    )


def _answered_by(services: Services, model: str) -> str:
    try:
        return services.catalog.answer(model).label
    except FailedPrecondition as error:
        return error.message


def _vector_type(sparse: bool) -> str:
    return "sparse" if sparse else "dense"


TOOLS = [
    Tool(
        "list-indexes",
        "List indexes",
        "List the indexes with their models, dimensions and states. Begin here: other tools want the name of an index.",
        arguments.ListIndexes,
        results.IndexList,
        list_indexes,
        scope=None,
    ),
    Tool(
        "describe-index",
        "Describe an index",
        "Describe one index: its model, which field of the records is embedded (embed.fieldMap.text), its dimension, "
        "metric and state. An index without embed takes no texts and cannot be searched with these tools.",
        arguments.OfIndex,
        results.IndexDescription,
        describe_index,
        scope=None,
    ),
    Tool(
        "describe-index-stats",
        "Describe the size of an index",
        "Count the records of an index (totalRecordCount) and of its largest namespaces.",
        arguments.OfIndex,
        results.IndexStats,
        describe_index_stats,
    ),
    Tool(
        "list-namespaces",
        "List namespaces",
        "List the namespaces of an index with their numbers of records, in the order of their names, page by page.",
        arguments.ListNamespaces,
        results.NamespaceList,
        list_namespaces,
    ),
    Tool(
        "create-index-for-model",
        "Create an index",
        "Create an index that embeds the text field named in embed.fieldMap with a model of this server. It takes "
        "records at once. If an index of this name exists, it is returned unchanged.",
        arguments.CreateIndex,
        results.IndexDescription,
        create_index,
        scope="control",
    ),
]
