"""The records service: text in, ranked text out."""

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import msgspec

from pinyon import filters
from pinyon.auth import permissions
from pinyon.domain import (
    Curve,
    Index,
    Match,
    QueryAnswer,
    QueryPlan,
    Usage,
)
from pinyon.errors import InvalidArgument
from pinyon.inference.backend import SparseEmbedder
from pinyon.search.text.known_languages import knows, similarity_weight
from pinyon.search.text.terms import MOST_QUERY_CHARACTERS
from pinyon.services.control_plane.indexes import Indexes
from pinyon.services.data_plane import read_units, validation
from pinyon.services.data_plane.records.calibrations import Calibrations, no_curve
from pinyon.services.data_plane.records.foreign_vectors import ForeignVectors
from pinyon.services.data_plane.records.hits import shown
from pinyon.services.data_plane.records.index_texts import IndexTexts, sparse_model
from pinyon.services.data_plane.records.reranking import HitReranker, Reranking
from pinyon.services.data_plane.records.searches import Search, check_min_score, grouping_of, mix_of, retrieval_of
from pinyon.services.data_plane.records.text_upserts import TextUpserts, UpsertResult
from pinyon.services.inference.inference import Inference
from pinyon.services.inference.unrelated_vectors import UnrelatedVectors
from pinyon.settings import LimitSettings
from pinyon.storage.engine import DataPlane


class SearchResult(msgspec.Struct, frozen=True):
    """hits: best first. models: labels of the models that embedded or reranked. truncated: 1 if the query was cut.

    foreign: as in UpsertResult. stages: milliseconds of "embed", "search" and, if hits were reranked, "rerank", waiting
    included.
    """

    hits: list[Match]
    usage: Usage
    lsn: int
    models: list[str]
    truncated: int
    foreign: int = 0
    stages: dict[str, float] = {}


class PlannedSearch(msgspec.Struct, frozen=True):
    """A search that was checked, and whose text was embedded.

    embedder: what embedded it; None if nothing did. learned_text: the text that the plan's learned words are of, if it
    has some; learned_by: the label of their model. curve: what its scores mean, if that is asked and known.
    """

    plan: QueryPlan
    reranking: Reranking | None = None
    embedder: Any = None
    tokens: int | None = None
    truncated: bool = False
    learned_text: str | None = None
    learned_by: str | None = None
    curve: Curve | None = None


class Records:
    """Records with integrated embedding, in every index of an installation.

    mix: the setting models.mix, which lets text be compared with vectors of another model.
    """

    def __init__(
        self,
        engine: DataPlane,
        indexes: Indexes,
        inference: Inference,
        limits: LimitSettings,
        calibrations: Calibrations,
        mix: bool = False,
    ) -> None:
        self._engine, self._indexes, self._inference, self._limits = engine, indexes, inference, limits
        self._calibrations = calibrations
        self._foreign = ForeignVectors(mix)
        self._texts = IndexTexts(indexes, inference, limits.sparse_terms)
        self.upserts = TextUpserts(engine, indexes, inference, self._texts, limits, self._foreign)
        self._unrelated = UnrelatedVectors(inference)
        self._reranker = HitReranker(indexes.embedders, inference, self._unrelated)

    async def upsert(self, index: Index, namespace: str, rows: Sequence[Any]) -> UpsertResult:
        """Embed and store the rows (decoded JSON), all or none. Raises InvalidArgument before anything is stored."""
        return await self.upserts.upsert(index, namespace, rows)

    async def search(self, index: Index, namespace: str, search: Search) -> SearchResult:
        """The records of a namespace that are nearest to a text, a vector or a record; reranked if the search says so.

        An unknown namespace or id gives no hits. Raises InvalidArgument, NotFound or FailedPrecondition.
        """
        return await self._texts.repeat_if_reembedded(index, lambda index: self._search(index, namespace, search))

    async def _search(self, index: Index, namespace: str, search: Search) -> SearchResult:
        name = validation.namespace_name(namespace, self._limits)
        permissions.check("read", index.handle, name)  # the engine checks it too, but after the text was embedded
        moments = [time.perf_counter()]
        planned = await self._with_learned_words(index, await self._plan(index, search))
        moments.append(time.perf_counter())
        answer = await self._engine.query(index.handle, name, planned.plan)
        moments.append(time.perf_counter())
        result = await self._finish(index, search, planned, answer)
        moments.append(time.perf_counter())
        names = ("embed", "search", "rerank") if search.rerank is not None else ("embed", "search")
        stages = {name: (end - begin) * 1000 for name, (begin, end) in zip(names, pairwise(moments), strict=False)}
        return msgspec.structs.replace(result, stages=stages)

    async def _curve(self, index: Index, search: Search, reranking: Reranking | None) -> Curve | None:
        """What the scores of a search mean; None if nobody asks, or if it is not known and only an explanation asks.

        Raises InvalidArgument if the search has a min_score and it is not known.
        """
        if search.min_score is None and not search.explain:
            return None
        by_text = search.text is not None and search.vector is None and search.sparse is None
        pipeline: str | None = retrieval_of(index.spec, search) if by_text else None
        embeds = pipeline not in (None, "lexical") or (reranking is not None and reranking.fuses)
        if reranking is not None:
            pipeline = reranking.pipeline(index.spec)
        embedded_by = None
        if embeds:
            embedder: Any = await self._indexes.embedders.get(index)
            embedded_by = embedder.fingerprint
        curve = self._calibrations.curve(index.spec, pipeline, mix_of(index.spec, search), embedded_by)
        if curve is None and search.min_score is not None:
            raise no_curve(pipeline, embedded_by)
        return curve

    async def _plan(self, index: Index, search: Search) -> PlannedSearch:
        """Check the search, embed its text, and say what storage is asked."""
        spec = index.spec
        self._check(search)
        check_min_score(spec, search)
        mix, grouping = mix_of(spec, search), grouping_of(search, self._limits.top_k)
        condition = filters.parse(search.filter, self._limits.filter_values) if search.filter is not None else None
        words = validation.match_terms(spec, search.match_terms) if search.match_terms is not None else None
        reranking = None
        if search.rerank is not None:
            reranking = await self._reranker.check(index, search.rerank, search.text, mix)
        curve = await self._curve(index, search, reranking)
        plan = QueryPlan(
            search.top_k,
            id=search.id,
            filter=condition,
            include_values=reranking is not None and reranking.fuses,
            include_token_codes=reranking is not None and reranking.reads_stored(spec),
            words=words,
            grouping=grouping,
            statistics_text=reranking.query if reranking is not None and reranking.wants_statistics else None,
        )
        if search.text is not None and search.vector is None and search.sparse is None:
            planned = await self._plan_text(index, search, search.text, plan, reranking)
            return msgspec.structs.replace(planned, curve=curve)
        sparse = vector = None
        if search.sparse is not None:
            sparse = validation.sparse_vector(*search.sparse, spec, self._limits.sparse_terms)
        if search.vector is not None:
            vector = validation.dense_vector(search.vector, spec, stored=False)
        elif search.sparse is not None:
            validation.needs_dense(spec)
        return PlannedSearch(msgspec.structs.replace(plan, vector=vector, sparse=sparse), reranking, curve=curve)

    async def _plan_text(
        self, index: Index, search: Search, text: str, plan: QueryPlan, reranking: Reranking | None
    ) -> PlannedSearch:
        """Add the text of a search to its plan: as a vector, as words, or as both."""
        spec, retrieval = index.spec, retrieval_of(index.spec, search)
        by_words = None if retrieval == "dense" else text
        truncated = by_words is not None and len(text) > MOST_QUERY_CHARACTERS
        if retrieval == "lexical":
            return PlannedSearch(msgspec.structs.replace(plan, text=by_words), reranking, truncated=truncated)
        embed = spec.embed
        assert embed is not None
        embedder: Any = await self._indexes.embedders.get(index)
        form = None if reranking is None or reranking.query != text else reranking.form
        (query,) = await self._texts.embed(
            spec,
            embedder,
            [text],
            embed.read_input_type,
            embed.read_truncate,
            embed.read_max_tokens,
            form,
        )
        plan = msgspec.structs.replace(
            plan,
            vector=query.vector,
            sparse=query.sparse,
            by_rarity=spec.sparse and cast(SparseEmbedder, embedder).by_rarity,
            text=by_words,
            embedded_by=embedder.fingerprint,
        )
        if by_words is not None:
            plan = msgspec.structs.replace(
                plan,
                include_values=plan.include_values and not (reranking is not None and reranking.takes_sides(embed)),
                unrelated=await self._unrelated.mean(embedder, embed),
                similarity_weight=similarity_weight(text, embedder.languages),
                mix=mix_of(spec, search),
            )
        return PlannedSearch(plan, reranking, embedder, query.tokens, truncated or query.truncated)

    async def _with_learned_words(self, index: Index, planned: PlannedSearch) -> PlannedSearch:
        """Add to the plan what the index's learned sparse model makes of the query.

        A hybrid search needs it, and a reranker that combines its scores with those of retrieval. There are none for a
        query in a language that the model does not know: they would be worse than nothing.
        """
        embed, plan, reranking = index.spec.embed, planned.plan, planned.reranking
        if embed is None or not embed.sparse_model:
            return planned
        text = plan.text if plan.vector is not None else None
        if text is None and reranking is not None and reranking.fuses:
            text = reranking.query
        if text is None:
            return planned
        embedder: Any = await self._indexes.embedders.get(index)
        sparse = sparse_model(index.spec, embedder)
        # Without one, the index was re-embedded meanwhile, which the search will notice.
        if sparse is None or not knows(sparse.languages, text):
            return planned
        (learned,) = await self._inference.learned_words(sparse, [text], embed.read_input_type)
        plan = msgspec.structs.replace(plan, learned=learned)
        return msgspec.structs.replace(planned, plan=plan, learned_text=text, learned_by=sparse.label)

    async def _finish(self, index: Index, search: Search, planned: PlannedSearch, answer: QueryAnswer) -> SearchResult:
        """Rerank what storage found, and choose what hits show."""
        models, foreign = [], 0
        if planned.embedder is not None:
            models.append(planned.embedder.label)
            foreign = self._foreign.check(index.name, planned.embedder, answer.foreign)
        if planned.learned_by is not None:
            models.append(planned.learned_by)
        ranking, rerank_units = [(place, match.score) for place, match in enumerate(answer.matches)], None
        if planned.reranking is not None:
            ranking, rerank_units = await self._reranker.rerank(index, planned.reranking, answer, planned.learned_text)
            models.append(planned.reranking.call.answer.label)
        hits = shown(answer.matches, ranking, planned.curve, search, planned.plan.include_token_codes)
        usage = Usage(read_units.of_search(answer.namespace_bytes), planned.tokens, rerank_units)
        return SearchResult(hits, usage, answer.lsn, models, int(planned.truncated), foreign)

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
