"""A tour of the control plane, the data plane and the inference API: `tour.py rest`, `asyncio` or `grpc`."""

import contextlib
import sys

import tour_backups
import tour_imports
import tour_indexes
import tour_inference
import tour_refusals
import tour_sparse
import tour_text
import tour_vectors
from pinecone.exceptions import NotFoundException
from transports import connected

STOPS = [
    tour_indexes.indexes_are_made_described_and_deleted,
    tour_indexes.a_protected_index_stays,
    tour_vectors.vectors_are_written_and_found,
    tour_vectors.vectors_are_listed_changed_and_deleted,
    tour_vectors.namespaces_are_listed_and_deleted,
    tour_vectors.what_later_clients_add,
    tour_sparse.sparse_vectors_are_found,
    tour_sparse.hybrid_vectors_are_found,
    tour_text.texts_are_found_by_meaning,
    tour_text.texts_are_found_by_words,
    tour_inference.texts_are_embedded,
    tour_inference.documents_are_reranked,
    tour_inference.models_are_described,
    tour_backups.backups_are_taken_listed_and_restored,
    tour_backups.backups_are_scheduled,
    tour_backups.backups_of_deleted_indexes_are_listed_on_request,
    tour_backups.there_are_no_collections,
    tour_imports.files_are_imported,
    tour_refusals.a_wrong_key_is_refused,
    tour_refusals.what_is_not_there_is_not_found,
    tour_vectors.a_query_of_zeros_lists_records,
]
INDEXES = [
    "tour-dense",
    "tour-sparse",
    "tour-hybrid",
    "tour-saved",
    "tour-copy",
    "tour-imports",
    "tour-e5",
    "tour-sparse-english",
]

if __name__ == "__main__":
    with connected(sys.argv[1]) as connection:
        for name in INDEXES:
            with contextlib.suppress(NotFoundException):
                connection.client.delete_index(name)
        for stop in STOPS:
            print(f"--- {stop.__name__}", flush=True)
            stop(connection)
        for name in INDEXES:
            with contextlib.suppress(NotFoundException):
                connection.client.delete_index(name)
