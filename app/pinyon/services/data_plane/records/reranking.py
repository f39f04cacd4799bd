"""Reranks hits: gives their texts to a reranker, with the similarities and term statistics that retrieval knows."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pinyon.domain import EVEN, EmbedSpec, Index, IndexSpec, Mix, QueryAnswer
from pinyon.errors import EmbeddingMismatch, InvalidArgument, TextTooLong
from pinyon.inference.backend import Embedder, Retrieved
from pinyon.search import fusion
from pinyon.search.ranking import exact_scores, shortest
from pinyon.search.text.known_languages import similarity_weight
from pinyon.services.control_plane.embedders import Embedders
from pinyon.services.inference.embedded_text import EmbeddedText, TokenForm, dense_vectors
from pinyon.services.inference.inference import Inference, RerankCall, rank_text, rerank_units
from pinyon.services.inference.unrelated_vectors import UnrelatedVectors


class Rerank(msgspec.Struct, frozen=True):
    """The request to rerank hits. rank_fields: None for the field that the index embeds. top_n: None for all hits."""

    model: str
    rank_fields: list[str] | None = None
    top_n: int | None = None
    query: str | None = None
    parameters: dict[str, Any] | None = None


class Reranking(msgspec.Struct, frozen=True):
    """A rerank request that was checked."""

    request: Rerank
    call: RerankCall
    query: str
    fields: list[str]
    fuses: bool
    """Whether the scores of retrieval are combined with the reranker's own score."""
    mix: Mix = EVEN

    def pipeline(self, spec: IndexSpec) -> str | None:
        """The name of this pipeline for calibration: the weights that rerank. None if they read other texts."""
        own_text = spec.embed is not None and self.fields == [spec.embed.text_field]
        return self.call.answer.by if own_text else None

    @property
    def wants_statistics(self) -> bool:
        """Whether the reranker needs to know how common the query's terms are in the namespace."""
        return self.fuses or self.call.answer.by_words

    @property
    def form(self) -> TokenForm | None:
        """In which form the reranker needs the token vectors of the query; None if it does not need them."""
        return "windows" if self.fuses and self.call.answer.needs_encoder else None

    def takes_sides(self, embed: EmbedSpec) -> bool:
        """Whether a hybrid search has computed its sides for the query and the texts that the reranker reads."""
        return self.request.query is None and self.fields == [embed.text_field]

    def reads_stored(self, spec: IndexSpec) -> bool:
        """Whether the token vectors that the index stores are of the texts that the reranker reads."""
        embed = spec.embed
        stores = embed is not None and embed.token_vectors == "stored" and self.fields == [embed.text_field]
        return stores and self.form is not None


class HitReranker:
    """Reranks hits of any index."""

    def __init__(self, embedders: Embedders, inference: Inference, unrelated: UnrelatedVectors) -> None:
        self._embedders, self._inference, self._unrelated = embedders, inference, unrelated

    async def check(self, index: Index, rerank: Rerank, text: str | None, mix: Mix) -> Reranking:
        """Check everything about a rerank that can be checked before the search.

        text: the text of the search, if it is a search by text. mix: how much the sides count. Raises InvalidArgument,
        NotFound or FailedPrecondition.
        """
        call = self._inference.rerank_call(rerank.model, rerank.parameters)
        if call.answer.needs_encoder:
            await self._embedders.encoder(index)  # raises if the index's model is absent: no other may answer
        query = rerank.query if rerank.query is not None else text
        if query is None:
            raise InvalidArgument("Reranking needs a query text: give 'rerank.query', or search by 'inputs.text'")
        if not query.strip():
            raise InvalidArgument("The query text to rerank by must be non-empty")
        if rerank.top_n is not None and rerank.top_n < 1:
            raise InvalidArgument(f"rerank.top_n must be at least 1, got {rerank.top_n}")
        spec = index.spec
        fields = rerank.rank_fields or [spec.embed.text_field if spec.embed else "text"]
        self._inference.check_rank_fields(call, fields)
        fuses = call.answer.fuses and spec.embed is not None and not spec.sparse
        return Reranking(rerank, call, query, fields, fuses, mix)

    async def rerank(
        self, index: Index, reranking: Reranking, answer: QueryAnswer, learned_text: str | None = None
    ) -> tuple[list[tuple[int, float]], int]:
        """Position in answer.matches and new score of each hit, best first, ties by id, cut to top_n; and rerank units.

        answer: with vectors, and with the query's term statistics, if reranking asks for them. learned_text: the text
        whose learned words the hits were scored by.
        """
        call, hits = reranking.call, answer.matches
        if len(hits) > call.max_documents:
            raise InvalidArgument(
                f"There are {len(hits)} hits to rerank; model '{reranking.request.model}' takes at most "
                f"{call.max_documents}. Lower top_k"
            )
        if not hits:
            return [], 0
        texts = [
            rank_text(hit.metadata, reranking.fields, place, f" (record '{hit.id}')") for place, hit in enumerate(hits)
        ]
        retrieved = Retrieved(statistics=answer.statistics)
        if call.answer.needs_encoder:
            retrieved = msgspec.structs.replace(retrieved, encoder=await self._embedders.encoder(index))
        if reranking.fuses:
            retrieved = await self._with_similarities(retrieved, index, reranking, answer, texts)
            embed = index.spec.embed
            if embed is not None and (reranking.query, reranking.fields) == (learned_text, [embed.text_field]):
                learned = np.array([np.nan if hit.learned is None else hit.learned for hit in hits])
                retrieved = msgspec.structs.replace(retrieved, learned=learned)
        try:
            scores = await self._inference.rerank(call, reranking.query, texts, retrieved)
        except TextTooLong as error:
            raise InvalidArgument(
                f"The query with field '{', '.join(reranking.fields)}' of record '{hits[error.position].id}' has "
                f"{error.tokens} tokens, which exceeds the maximum of {error.limit} tokens for model "
                f"'{error.model}'; set rerank.parameters.truncate to END to cut it"
            ) from error
        ranking = sorted(enumerate(shortest(scores)), key=lambda ranked: (-ranked[1], hits[ranked[0]].id))
        return ranking[: reranking.request.top_n], rerank_units(len(hits))

    async def _with_similarities(
        self, retrieved: Retrieved, index: Index, reranking: Reranking, answer: QueryAnswer, texts: Sequence[str]
    ) -> Retrieved:
        """Add the similarities of the query and each text, and the token vectors of the query.

        Both come from one pass of the model, which usually was that of the search. Raises EmbeddingMismatch if the
        index changed after the hits were found: it was re-embedded, or embeds text now.
        """
        embed, hits = index.spec.embed, answer.matches
        assert embed is not None
        embedder: Any = await self._embedders.get(index)
        dense: Embedder = embedder
        if answer.embedded_by is not None and answer.embedded_by != dense.fingerprint:
            raise EmbeddingMismatch(f"Index {index.name} was re-embedded while the search ran; try again")
        (query,) = await self._inference.embed(
            dense, [reranking.query], embed.read_input_type, embed.read_truncate, reranking.form
        )
        parts = [hit.parts for hit in hits if hit.parts is not None]
        if reranking.takes_sides(embed) and len(parts) == len(hits):
            similarities = np.array([each.similarity for each in parts])
            shares = np.array([each.share for each in parts])
        else:
            similarities = await self._similarities(index, dense, reranking, answer, texts, query)
            shares = None
        return msgspec.structs.replace(
            retrieved,
            encoder=dense.encoder,
            query_windows=query.windows and [window.astype(np.float32) for window in query.windows],
            similarities=similarities,
            token_codes={
                text: hit.token_codes for text, hit in zip(texts, hits, strict=True) if hit.token_codes is not None
            },
            similarity_weight=similarity_weight(reranking.query, dense.languages),
            token_weight=similarity_weight(reranking.query, dense.token_languages),
            mix=reranking.mix,
            shares=shares,
        )

    async def _similarities(
        self,
        index: Index,
        dense: Embedder,
        reranking: Reranking,
        answer: QueryAnswer,
        texts: Sequence[str],
        query: EmbeddedText,
    ) -> NDArray[np.float64]:
        """Similarities of the query and each text, float64 [n]. Uses the stored vectors if they are of these texts."""
        embed, hits = index.spec.embed, answer.matches
        assert embed is not None
        stored = [hit.vector for hit in hits if hit.vector is not None]
        if reranking.fields != [embed.text_field] or len(stored) != len(hits):
            stored = dense_vectors(await self._inference.embed(dense, texts, embed.write_input_type, "END"))
        (vector,) = dense_vectors([query])
        cosines = exact_scores("cosine", np.stack(stored), vector)
        if answer.centroid is None:
            raise EmbeddingMismatch(f"Index {index.name} did not embed text yet when the search ran; try again")
        unrelated = await self._unrelated.mean(dense, embed)
        return fusion.corrected(cosines, fusion.background(vector, answer.centroid, unrelated))
