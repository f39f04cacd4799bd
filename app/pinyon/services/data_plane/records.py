"""The records service: text in, ranked text out."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon import filters
from pinyon.auth import permissions
from pinyon.domain import (
    IndexSpec,
    InputType,
    Match,
    Metadata,
    QueryPlan,
    Record,
    Retrieval,
    SparseVector,
    Truncate,
    Usage,
)
from pinyon.errors import EmbeddedOtherwise, InvalidArgument, TextTooLong
from pinyon.search.terms import MOST_QUERY_CHARACTERS
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.data_plane import read_units, validation
from pinyon.services.data_plane.foreign_vectors import ForeignVectors
from pinyon.services.data_plane.reranking import HitReranker, Rerank
from pinyon.services.inference.inference import Inference
from pinyon.settings import LimitSettings
from pinyon.storage.engine import DataPlane

T = TypeVar("T")
MOST_WORDS = 100
"""Words match_terms may ask for."""


class Upserted(msgspec.Struct, frozen=True):
    """models: labels of what computed. truncated: records whose text was cut before it was embedded.

    foreign: vectors of the namespace that are not the model's, where that matters.
    """

    count: int
    lsn: int
    models: list[str]
    truncated: int
    foreign: int = 0


Pair = tuple[NDArray[np.float32] | None, SparseVector | None]


class TextVectors(msgspec.Struct, frozen=True):
    """pairs: a dense or a sparse vector for each text. tokens: in all. truncated: whether each text was cut."""

    pairs: list[Pair]
    tokens: int
    truncated: list[bool]


class Reading(msgspec.Struct, frozen=True):
    """How an index has its texts, or its queries, embedded."""

    input_type: InputType
    truncate: Truncate
    max_tokens: int | None


class Search(msgspec.Struct, frozen=True):
    """What to search for: by text, vector or id. sparse: indices and values. fields None: every field.

    match_terms: words that a record's text must have, all of them; for sparse indexes that embed. retrieval: by
    meaning, by words or by both, for a text; None: as the index does. explain: say in `fields` what a score is made of.
    """

    top_k: int
    text: str | None = None
    vector: list[float] | None = None
    sparse: tuple[list[int], list[float]] | None = None
    id: str | None = None
    filter: dict[str, Any] | None = None
    match_terms: list[str] | None = None
    retrieval: Retrieval | None = None
    explain: bool = False
    fields: list[str] | None = None
    rerank: Rerank | None = None


class Found(msgspec.Struct, frozen=True):
    """hits: best first. models: labels of what computed. truncated: whether the query text was cut (1) or not (0).

    foreign: as in Upserted.
    """

    hits: list[Match]
    usage: Usage
    lsn: int
    models: list[str]
    truncated: int
    foreign: int = 0


class Records:
    """Records with integrated embedding, on every index of an installation."""

    def __init__(
        self, engine: DataPlane, indexes: Indexes, inference: Inference, limits: LimitSettings, mix: bool = False
    ) -> None:
        self._engine, self._indexes, self._inference, self._limits = engine, indexes, inference, limits
        self._foreign = ForeignVectors(mix)
        self._reranker = HitReranker(indexes, inference)

    async def upsert(self, index: str, namespace: str, rows: Sequence[Any]) -> Upserted:
        """Embed and store the rows (decoded JSON), all or none. Raises InvalidArgument before anything is stored."""
        return await self._again_if_embedded_otherwise(index, lambda: self._upsert(index, namespace, rows))

    async def _again_if_embedded_otherwise(self, index: str, call: Callable[[], Awaitable[T]]) -> T:
        """The call; once more if the index was embedded anew, by another model, while it ran."""
        try:
            return await call()
        except EmbeddedOtherwise:
            self._indexes.forget_embedder(index)
            return await call()

    async def _upsert(self, index: str, namespace: str, rows: Sequence[Any]) -> Upserted:
        spec = self._indexes.spec(index)
        name = validation.namespace_name(namespace, self._limits)
        permissions.check("write", index, name)  # the engine checks, too, but only after the texts were embedded
        embedder = await self._indexes.embedder(index)
        embed = spec.embed
        assert embed is not None
        if not rows:
            raise InvalidArgument("The request holds no records; send one JSON object per line")
        limit = self._limits.records_per_upsert
        if len(rows) > limit:
            raise InvalidArgument(f"Batch size exceeds {limit}: the request holds {len(rows)} records")
        checked = [self._checked(place, row, embed.text_field) for place, row in enumerate(rows, start=1)]
        foreign = 0
        if self._foreign.concern(embedder):
            foreign = self._foreign.check(spec.name, embedder, await self._indexes.foreign_vectors(index, name))
        texts = [fields[embed.text_field] for _, fields in checked]
        how = Reading(embed.write_input_type, embed.write_truncate, embed.write_max_tokens)
        try:
            vectors = await self._vectors(spec, embedder, texts, how)
        except TextTooLong as error:
            raise InvalidArgument(
                f"Field '{embed.text_field}' in record '{checked[error.position][0]}' has {error.tokens} tokens, "
                f"which exceeds the maximum of {error.limit} tokens for model '{error.model}'"
            ) from error
        records = [
            Record(id, vector, fields, sparse, cut)
            for (id, fields), (vector, sparse), cut in zip(checked, vectors.pairs, vectors.truncated, strict=True)
        ]
        lsn = await self._engine.upsert(index, name, records, embedder.fingerprint)
        return Upserted(len(records), lsn, [embedder.label], sum(vectors.truncated), foreign)

    async def _vectors(self, spec: IndexSpec, embedder: Any, texts: Sequence[str], how: Reading) -> TextVectors:
        """The vectors of texts, dense or sparse as the index is."""
        if spec.sparse:
            found = await self._inference.embed_sparse(embedder, texts, how.input_type, how.truncate, how.max_tokens)
            most = self._limits.sparse_terms
            pairs: list[Pair] = [(None, _heaviest(sparse, most)) for sparse in found.vectors]
            return TextVectors(pairs, sum(found.tokens), found.truncated)
        dense = await self._inference.embed(embedder, texts, how.input_type, how.truncate)
        return TextVectors([(vector, None) for vector in dense.vectors], sum(dense.tokens), dense.truncated)

    def _checked(self, place: int, row: Any, text_field: str) -> tuple[str, Metadata]:
        """Id and fields of the place-th row, from 1."""
        if not isinstance(row, dict):
            raise InvalidArgument(f"Record {place} must be a JSON object, got {type(row).__name__}")
        fields = dict(row)
        alias, raw_id = fields.pop("id", None), fields.pop("_id", None)
        raw_id = alias if raw_id is None else raw_id
        if raw_id is None:
            raise InvalidArgument(f"Record {place} has no '_id'")
        id = validation.record_id(raw_id, f"Record {place}", self._limits, "_id")
        where = f"Record '{id}'"
        text = fields.get(text_field)
        if not isinstance(text, str):
            problem = "is missing" if text is None else f"must be a string, got {type(text).__name__}"
            raise InvalidArgument(f"Missing or invalid field '{text_field}' in record '{id}': it {problem}")
        if not text.strip():
            raise InvalidArgument(
                f"Missing or invalid field '{text_field}' in record '{id}': it must be non-empty text"
            )
        return id, validation.metadata(fields, where, self._limits.metadata_bytes)

    async def search(self, index: str, namespace: str, search: Search) -> Found:
        """The records of a namespace nearest to a text, a vector or a record; reranked if asked.

        An unknown namespace or id gives no hits. Raises InvalidArgument, NotFound or FailedPrecondition.
        """
        return await self._again_if_embedded_otherwise(index, lambda: self._search(index, namespace, search))

    async def _search(self, index: str, namespace: str, search: Search) -> Found:
        spec = self._indexes.spec(index)
        name = validation.namespace_name(namespace, self._limits)
        permissions.check("read", index, name)
        self._check(search)
        condition = filters.parse(search.filter, self._limits.filter_values) if search.filter is not None else None
        words = _words(spec, search.match_terms) if search.match_terms is not None else None
        reranking = None
        if search.rerank is not None:
            reranking = await self._reranker.check(index, spec, search.rerank, search.text)

        models: list[str] = []
        tokens, truncated, vector, foreign = None, 0, None, 0
        sparse, by_rarity, by_words, embedded_by = None, False, None, None
        if search.sparse is not None:
            sparse = validation.sparse_vector(*search.sparse, spec, self._limits.sparse_terms)
        if search.vector is not None:
            vector = validation.dense_vector(search.vector, spec, stored=False)
        elif search.sparse is not None:
            validation.needs_dense(spec)
        elif search.text is not None:
            retrieval = _retrieval(spec, search)
            if retrieval != "lexical":
                embedder = await self._indexes.embedder(index)
                models.append(embedder.label)
                embedded_by = embedder.fingerprint
                assert spec.embed is not None
                how = Reading(spec.embed.read_input_type, spec.embed.read_truncate, spec.embed.read_max_tokens)
                read = await self._vectors(spec, embedder, [search.text], how)
                vector, sparse = read.pairs[0]
                tokens, truncated, by_rarity = read.tokens, sum(read.truncated), spec.sparse
            if retrieval != "dense":
                by_words = search.text
                truncated = max(truncated, int(len(search.text) > MOST_QUERY_CHARACTERS))
        plan = QueryPlan(
            search.top_k,
            vector,
            sparse,
            search.id,
            condition,
            include_values=reranking is not None and reranking.fuses,
            by_rarity=by_rarity,
            words=words,
            text=by_words,
            embedded_by=embedded_by,
            counted=reranking.query if reranking is not None and reranking.wants_statistics else None,
        )
        answer = await self._engine.query(index, name, plan)
        if embedded_by is not None:
            foreign = self._foreign.check(spec.name, embedder, answer.foreign)
        hits, rerank_units = answer.matches, None
        if reranking is not None:
            hits, rerank_units = await self._reranker.rerank(index, spec, reranking, answer)
            models.append(reranking.call.answer.label)
        cost = Usage(read_units.of_search(answer.namespace_bytes), tokens, rerank_units)
        fields = [_chosen(hit.metadata, search.fields) for hit in hits]
        if search.explain:
            before = {hit.id: (rank, hit) for rank, hit in enumerate(answer.matches, 1)}
            fields = [
                {**held, "_explain": _explained(*before[hit.id], hit if search.rerank else None)}
                for held, hit in zip(fields, hits, strict=True)
            ]
        shown = [
            hit if held is hit.metadata else msgspec.structs.replace(hit, metadata=held)
            for hit, held in zip(hits, fields, strict=True)
        ]
        return Found(shown, cost, answer.lsn, models, truncated, foreign)

    def _check(self, search: Search) -> None:
        if not 1 <= search.top_k <= self._limits.top_k:
            raise InvalidArgument(f"top_k must be between 1 and {self._limits.top_k}, got {search.top_k}")
        by_vector = search.vector is not None or search.sparse is not None
        if search.id is not None and (by_vector or search.text is not None):
            other = "vector" if by_vector else "inputs"
            raise InvalidArgument(f"Cannot provide both 'id' and '{other}' at the same time")
        if search.id is None and not by_vector and search.text is None:
            raise InvalidArgument("The query needs one of 'inputs', 'vector' and 'id'")
        if search.id is not None:
            validation.record_id(search.id, "The query", self._limits)
        if search.text is not None and not search.text.strip():
            raise InvalidArgument("The query text in 'inputs' must be non-empty")
        if search.fields is not None and len(search.fields) > self._limits.fields:
            raise InvalidArgument(
                f"'fields' lists {len(search.fields)} names; at most {self._limits.fields} are allowed"
            )


def _retrieval(spec: IndexSpec, search: Search) -> Retrieval:
    """How a text is searched. Raises InvalidArgument where the index has no choice."""
    if spec.embed is None:
        raise InvalidArgument("Integrated inference is not configured for this index")
    if spec.sparse and search.retrieval not in (None, "dense"):
        raise InvalidArgument("'retrieval' is for dense indexes; this one is searched by the terms of its model")
    return search.retrieval or spec.embed.retrieval


def _explained(rank: int, found: Match, reranked: Match | None) -> dict[str, Any]:
    """What a hit's score is made of: the score and rank it was found with, those of each side, and the rerank score."""
    told: dict[str, Any] = {"score": found.score, "rank": rank}
    if found.parts is not None:
        told |= msgspec.structs.asdict(found.parts)
    if reranked is not None:
        told["rerank"] = reranked.score
    return {key: value for key, value in told.items() if value is not None}


def _words(spec: IndexSpec, terms: Sequence[str]) -> filters.HasWords:
    """The words that a record must have. Raises InvalidArgument."""
    if spec.embed is None or not spec.sparse:
        raise InvalidArgument(
            "match_terms is only supported for sparse indexes with integrated embedding (pinecone-sparse-english-v0)"
        )
    wanted = tuple(dict.fromkeys(word for term in terms for word in filters.words(term)))
    if not wanted:
        raise InvalidArgument("match_terms.terms must name at least one word")
    if len(wanted) > MOST_WORDS:
        raise InvalidArgument(f"match_terms.terms has {len(wanted)} words; at most {MOST_WORDS} are allowed")
    return filters.HasWords(spec.embed.text_field, wanted)


def _heaviest(sparse: SparseVector, most: int) -> SparseVector:
    """The sparse vector, or as many of its heaviest terms as a vector may have."""
    if len(sparse.indices) <= most:
        return sparse
    kept = np.sort(np.argsort(-sparse.values, kind="stable")[:most])
    return SparseVector(sparse.indices[kept], sparse.values[kept])


def _chosen(metadata: Metadata, fields: list[str] | None) -> Metadata:
    """The fields asked for that the record has; all of them by default, or for the name "*"."""
    if fields is None or "*" in fields:
        return metadata
    return {name: metadata[name] for name in fields if name in metadata}
