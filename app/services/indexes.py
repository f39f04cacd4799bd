"""The indexes of an installation: what they are, and what embeds for them."""

from app.domain import EmbedSpec, Fingerprint, IndexSpec
from app.errors import FailedPrecondition, InvalidArgument, NotFound
from app.inference.backend import Embedder
from app.inference.batcher import Batcher
from app.inference.catalog import Catalog
from app.settings import IndexSettings
from app.storage.engine import Engine


def spec_of(settings: IndexSettings, catalog: Catalog) -> IndexSpec:
    """The index a settings table describes. Raises NotFound or InvalidArgument for what the model cannot do."""
    if not settings.model:
        return _plain(settings)
    entry = catalog.entry(settings.model, "embed")
    dimension = settings.dimension or int(entry.dimension or 0)
    catalog.check_dimension(settings.model, dimension)
    metric = settings.metric or "cosine"
    if metric not in entry.metrics:
        raise InvalidArgument(
            f"Model '{settings.model}' does not support the metric {metric}; it supports {', '.join(entry.metrics)}"
        )
    embed = EmbedSpec(
        model=settings.model,
        text_field=settings.field_map["text"],
        read_truncate=settings.read_parameters.get("truncate", "END"),
        write_truncate=settings.write_parameters.get("truncate", "END"),
    )
    return IndexSpec(settings.name, dimension, metric, embed)


def _plain(settings: IndexSettings) -> IndexSpec:
    """An index of vectors that the user brings."""
    if settings.vector_type == "sparse":
        if settings.dimension:
            raise InvalidArgument("A sparse index has no dimension")
        if settings.metric not in ("", "dotproduct"):
            raise InvalidArgument("Sparse indexes must have a metric of dotproduct")
        return IndexSpec(settings.name, 0, "dotproduct")
    if not settings.dimension:
        raise InvalidArgument(f"The index {settings.name} needs a model, or a dimension for vectors of your own")
    return IndexSpec(settings.name, settings.dimension, settings.metric or "cosine")


class Indexes:
    """Indexes by name, each with its embedder once that is loaded."""

    def __init__(self, engine: Engine, catalog: Catalog, batcher: Batcher) -> None:
        self._engine, self._catalog, self._batcher = engine, catalog, batcher
        self._specs: dict[str, IndexSpec] = {}
        self._embedders: dict[str, Embedder] = {}
        self._without: dict[str, str] = {}
        self.default: str | None = None

    async def open(self, settings: IndexSettings | None) -> None:
        """Read the indexes on disk, and make the one the settings name if it is not there.

        Raises FailedPrecondition if it is there and is something else than the settings say.
        """
        if settings is not None:
            wanted = spec_of(settings, self._catalog)
            there = {spec.name: spec for spec in await self._engine.indexes()}.get(wanted.name)
            if there is None:
                await self._engine.create_index(wanted)
            else:
                check_same(there, wanted)
            self.default = wanted.name
        self._specs = {spec.name: spec for spec in await self._engine.indexes()}

    async def load_embedders(self) -> None:
        """Load what embeds for each index; an index whose model cannot answer stays open for vectors and ids."""
        for spec in self._specs.values():
            if spec.embed is None:
                continue
            try:
                printed = await self._engine.fingerprint(spec.name)
                self._embedders[spec.name] = await self._batcher.run(self._embedder, spec, printed)
            except (FailedPrecondition, NotFound, InvalidArgument) as error:
                self._without[spec.name] = error.message

    def _embedder(self, spec: IndexSpec, printed: Fingerprint | None) -> Embedder:
        assert spec.embed is not None
        return self._catalog.embedder(printed or self._catalog.fingerprint(spec.embed.model, spec.dimension))

    def spec(self, name: str) -> IndexSpec:
        """What the index is. Raises NotFound."""
        if name not in self._specs:
            raise NotFound(f"Index {name} not found.")
        return self._specs[name]

    def all(self) -> list[IndexSpec]:
        """Every index, by name."""
        return list(self._specs.values())

    def embedder(self, spec: IndexSpec) -> Embedder:
        """What embeds for the index.

        Raises InvalidArgument if it has no integrated embedding, FailedPrecondition if its model cannot answer.
        """
        if spec.embed is None:
            raise InvalidArgument("Integrated inference is not configured for this index")
        if spec.name not in self._embedders:
            raise FailedPrecondition(self._without.get(spec.name, f"The model of index {spec.name} is not loaded"))
        return self._embedders[spec.name]

    def available_embedder(self, spec: IndexSpec) -> Embedder | None:
        """As embedder(), or None where that would raise."""
        return self._embedders.get(spec.name)

    def trouble(self) -> dict[str, str]:
        """Indexes that cannot embed, and why."""
        return dict(self._without)


def check_same(there: IndexSpec, wanted: IndexSpec) -> None:
    """Raises FailedPrecondition if the index on disk is something else than the settings describe."""
    if there == wanted:
        return
    flat_there, flat_wanted = _flat(there), _flat(wanted)
    differences = ", ".join(
        f"{name} is {flat_there[name]} on disk and {flat_wanted[name]} in the settings"
        for name in flat_wanted
        if flat_there[name] != flat_wanted[name]
    )
    raise FailedPrecondition(
        f"Index {wanted.name} on disk differs from the settings: {differences}. Change the settings back, or give the "
        "new index another name"
    )


def _flat(spec: IndexSpec) -> dict[str, object]:
    embed = spec.embed or EmbedSpec("", "")
    return {
        "metric": spec.metric,
        "dimension": spec.dimension,
        "model": embed.model,
        "field_map.text": embed.text_field,
        "read_parameters.truncate": embed.read_truncate,
        "write_parameters.truncate": embed.write_truncate,
    }
