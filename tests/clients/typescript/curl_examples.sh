#!/usr/bin/env bash
# Every curl example of Pinecone's data-plane reference (API version 2025-04), in its order, against Pinyon: only key and
# host are replaced. `curl` is a function here, which adds the certificate and keeps the answer for `expect`, so that the
# examples stand as they are printed. What had to be mended, because the page has slips:
#
#   example              on the page                          here
#   List vector IDs      prefix=doc1#&limit=3, where curl     prefix=doc1%23&limit=3
#                        drops all from # on
#   Search with text     a comma after "top_k": 4, none       valid JSON
#   (all three)          after "fields": [...], and in two
#                        a comment behind "rank_fields"
#
# The page's vectors have 8 numbers (2 in its update), so the indexes have too; the one with text needs `test-embed-8`.
# The environment is that of the scripts beside it: PINECONE_API_KEY, PINECONE_CONTROLLER_HOST, NODE_EXTRA_CA_CERTS.

set -euo pipefail

: "${PINECONE_API_KEY:?is not set}" "${PINECONE_CONTROLLER_HOST:?is not set}" "${NODE_EXTRA_CA_CERTS:?is not set}"
ANSWER="$(mktemp)"
trap 'rm -f "$ANSWER"' EXIT

fail() {
  echo "FAILED: $1" >&2
  exit 1
}

curl() {
  : > "$ANSWER"
  STATUS="$(command curl --silent --show-error --cacert "$NODE_EXTRA_CA_CERTS" --max-time 120 --output "$ANSWER" \
    --write-out '%{http_code}' "$@")" || fail "curl $*"
}

# expect TITLE STATUS [PYTHON]: the status, and an expression about the JSON `answer` that is true.
expect() {
  [ "$STATUS" = "$2" ] || fail "$1: status $STATUS instead of $2: $(cat "$ANSWER")"
  [ -z "${3:-}" ] || python3 -c '
import json, sys
answer = json.load(open(sys.argv[1]))
near = lambda one, two: abs(one - two) < 1e-5
sys.exit(not eval("(" + sys.argv[2] + ")"))
' "$ANSWER" "$3" || fail "$1: $(cat "$ANSWER") is not so that $3"
  echo "passed: $1"
}

# Set-up goes the same way, and says nothing when it works.
call() {
  curl -X "$1" "$2" -H "Api-Key: $PINECONE_API_KEY" -H "Content-Type: application/json" \
    -H "X-Pinecone-API-Version: 2025-04" "${@:3}"
}

create() {
  remove "$3"
  call POST "$PINECONE_CONTROLLER_HOST/$1" -d "$2"
  [ "$STATUS" = 201 ] || fail "creating $3: status $STATUS: $(cat "$ANSWER")"
}

remove() {
  call DELETE "$PINECONE_CONTROLLER_HOST/indexes/$1"
  [[ "$STATUS" = 20? || "$STATUS" = 404 ]] || fail "deleting $1: status $STATUS: $(cat "$ANSWER")"
}

# host INDEX: its host without a scheme, which the examples bring along.
host() {
  call GET "$PINECONE_CONTROLLER_HOST/indexes/$1"
  python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["host"].removeprefix("https://"))' "$ANSWER"
}

# fill VECTORS: make these the only ones of example-namespace.
fill() {
  call POST "https://$INDEX_HOST/vectors/delete" -d '{"deleteAll": true, "namespace": "example-namespace"}'
  call POST "https://$INDEX_HOST/vectors/upsert" -d '{"namespace": "example-namespace", "vectors": ['"$1"']}'
  [ "$STATUS" = 200 ] || fail "setting up: status $STATUS: $(cat "$ANSWER")"
}

# vector ID NUMBER [GENRE]
vector() {
  echo '{"id": "'"$1"'", "values": ['"$2, $2, $2, $2, $2, $2, $2, $2"'], "metadata": {"genre": "'"${3:-none}"'"}}'
}

SPEC='"metric": "euclidean", "spec": {"serverless": {"cloud": "aws", "region": "us-east-1"}}'
create indexes '{"name": "curl-vectors", "dimension": 8, '"$SPEC"'}' curl-vectors
create indexes '{"name": "curl-pairs", "dimension": 2, '"$SPEC"'}' curl-pairs
create indexes/create-for-model '{"name": "curl-texts", "cloud": "aws", "region": "us-east-1",
  "embed": {"model": "test-embed-8", "field_map": {"text": "chunk_text"}}}' curl-texts
VECTORS_HOST="$(host curl-vectors)"
PAIRS_HOST="$(host curl-pairs)"
TEXTS_HOST="$(host curl-texts)"

INDEX_HOST="$VECTORS_HOST"
NAMESPACE="example-namespace"

# Delete vectors
fill "$(vector id-1 0.1), $(vector id-2 0.2), $(vector id-3 0.3)"
curl "https://$INDEX_HOST/vectors/delete" \
  -H "Api-Key: $PINECONE_API_KEY" \
  -H "Content-Type: application/json" \
  -H "X-Pinecone-API-Version: 2025-04" \
  -d '{
    "ids": [
      "id-1",
      "id-2"
    ],
    "namespace": "example-namespace"
  }
'
expect "Delete vectors" 200 'answer == {}'
call GET "https://$INDEX_HOST/vectors/list?namespace=example-namespace"
expect "Delete vectors: the others are still there" 200 'answer["vectors"] == [{"id": "id-3"}]'

# Delete a namespace
curl -X DELETE "https://$INDEX_HOST/namespaces/$NAMESPACE" \
    -H "Api-Key: $PINECONE_API_KEY" \
    -H "X-Pinecone-API-Version: 2025-04"
expect "Delete a namespace" 200 'answer == {}'
call GET "https://$INDEX_HOST/namespaces/$NAMESPACE"
expect "Delete a namespace: it is gone" 404

# Get index stats
fill "$(vector id-1 0.1), $(vector id-2 0.2), $(vector id-3 0.3), $(vector id-4 0.4)"
ONE="$(vector id-1 0.1)"
call POST "https://$INDEX_HOST/vectors/upsert" -d '{"namespace": "example-namespace2", "vectors": ['"$ONE"']}'
call POST "https://$INDEX_HOST/vectors/upsert" -d '{"vectors": ['"$ONE"']}'
curl -X POST "https://$INDEX_HOST/describe_index_stats" \
  -H "Api-Key: $PINECONE_API_KEY" \
  -H "X-Pinecone-API-Version: 2025-04"
expect "Get index stats" 200 'answer["namespaces"]["example-namespace"] == {"vectorCount": 4}
  and answer["namespaces"]["example-namespace2"] == {"vectorCount": 1}
  and (answer["dimension"], answer["indexFullness"], answer["totalVectorCount"]) == (8, 0, 6)'

# Describe a namespace
curl "https://$INDEX_HOST/namespaces/$NAMESPACE" \
    -H "Api-Key: $PINECONE_API_KEY" \
    -H "X-Pinecone-API-Version: 2025-04"
expect "Describe a namespace" 200 'answer["name"] == "example-namespace" and answer["record_count"] == 4'
NAMESPACE="__default__" # To target the default namespace, use "__default__".
curl "https://$INDEX_HOST/namespaces/$NAMESPACE" \
    -H "Api-Key: $PINECONE_API_KEY" \
    -H "X-Pinecone-API-Version: 2025-04"
expect "Describe a namespace: the default one" 200 'answer["name"] == "__default__" and answer["record_count"] == 1'

# Fetch vectors
curl -X GET "https://$INDEX_HOST/vectors/fetch?ids=id-1&ids=id-2&namespace=example-namespace" \
  -H "Api-Key: $PINECONE_API_KEY" \
  -H "X-Pinecone-API-Version: 2025-04"
expect "Fetch vectors" 200 'set(answer["vectors"]) == {"id-1", "id-2"} and answer["namespace"] == "example-namespace"
  and answer["vectors"]["id-2"]["id"] == "id-2" and answer["vectors"]["id-2"]["values"] == [0.2] * 8
  and answer["usage"]["readUnits"] >= 1'

# List vector IDs
fill "$(vector doc1#chunk1 0.1), $(vector doc1#chunk2 0.1), $(vector doc1#chunk3 0.1), $(vector doc1#chunk4 0.1),
  $(vector doc2#chunk1 0.1)"
curl -X GET "https://$INDEX_HOST/vectors/list?namespace=example-namespace&prefix=doc1%23&limit=3" \
  -H "Api-Key: $PINECONE_API_KEY" \
  -H "X-Pinecone-API-Version: 2025-04"
expect "List vector IDs" 200 'answer["vectors"] == [{"id": f"doc1#chunk{number}"} for number in (1, 2, 3)]
  and answer["pagination"]["next"] and answer["namespace"] == "example-namespace" and answer["usage"]["readUnits"] >= 1'

# List namespaces
curl "https://$INDEX_HOST/namespaces" \
    -H "Api-Key: $PINECONE_API_KEY" \
    -H "X-Pinecone-API-Version: 2025-04"
expect "List namespaces" 200 '[(one["name"], one["record_count"]) for one in answer["namespaces"]]
  == [("__default__", 1), ("example-namespace", 5), ("example-namespace2", 1)] and not answer.get("pagination")'

# Search with a vector
fill "$(vector vec1 0.1 comedy), $(vector vec2 0.2 documentary), $(vector vec3 0.3 documentary),
  $(vector vec4 0.4 documentary), $(vector vec5 0.5 documentary)"
curl "https://$INDEX_HOST/query" \
  -H "Api-Key: $PINECONE_API_KEY" \
  -H "Content-Type: application/json" \
  -H "X-Pinecone-API-Version: 2025-04" \
  -d '{
    "namespace": "example-namespace",
    "vector": [0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3],
    "filter": {"genre": {"$eq": "documentary"}},
    "topK": 3,
    "includeValues": true
  }'
expect "Search with a vector" 200 'answer["namespace"] == "example-namespace" and answer["usage"]["readUnits"] >= 1
  and answer["matches"][0]["id"] == "vec3" and answer["matches"][0]["values"] == [0.3] * 8
  and near(answer["matches"][0]["score"], 0) and len(answer["matches"]) == 3
  and {one["id"] for one in answer["matches"][1:]} == {"vec2", "vec4"}
  and all(near(one["score"], 0.08) for one in answer["matches"][1:])'

# Search with text
INDEX_HOST="$TEXTS_HOST"
NAMESPACE="example-namespace"
curl "https://$INDEX_HOST/records/namespaces/$NAMESPACE/upsert" -H "Api-Key: $PINECONE_API_KEY" \
  -H "Content-Type: application/x-ndjson" -H "X-Pinecone-API-Version: 2025-04" --data-binary \
  '{"_id": "rec1", "chunk_text": "Apples are a great source of dietary fiber.", "category": "digestive system"}
{"_id": "rec2", "chunk_text": "Apples originated in Central Asia.", "category": "cultivation"}
{"_id": "rec3", "chunk_text": "Apples may reduce the risk of chronic diseases.", "category": "immune system"}
{"_id": "rec4", "chunk_text": "Disease prevention: apples regulate blood sugar.", "category": "endocrine system"}'
expect "records to search" 201

TWO_HITS='len(answer["result"]["hits"]) == 2 and answer["result"]["hits"][0]["_id"] == "rec4"
  and all(set(one["fields"]) == {"category", "chunk_text"} for one in answer["result"]["hits"])
  and 1 >= answer["result"]["hits"][0]["_score"] >= answer["result"]["hits"][1]["_score"] >= 0
  and answer["result"]["hits"][0]["fields"]["category"] == "endocrine system"
  and answer["usage"]["read_units"] >= 1 and answer["usage"]["rerank_units"] == 1'

# Search with a query text and rerank the results
# Supported only for indexes with integrated embedding
curl "https://$INDEX_HOST/records/namespaces/$NAMESPACE/search" \
  -H "Accept: application/json" \
  -H "Content-Type: application/json" \
  -H "Api-Key: $PINECONE_API_KEY" \
  -H "X-Pinecone-API-Version: 2025-01" \
  -d '{
        "query": {
            "inputs": {"text": "Disease prevention"},
            "top_k": 4
        },
        "fields": ["category", "chunk_text"],
        "rerank": {
            "model": "bge-reranker-v2-m3",
            "top_n": 2,
            "rank_fields": ["chunk_text"]
        }
     }'
expect "Search with text" 200 "$TWO_HITS"' and answer["usage"]["embed_total_tokens"] > 0'

# Search with a query vector and rerank the results
curl "https://$INDEX_HOST/records/namespaces/$NAMESPACE/search" \
  -H "Accept: application/json" \
  -H "Content-Type: application/json" \
  -H "Api-Key: $PINECONE_API_KEY" \
  -H "X-Pinecone-API-Version: 2025-01" \
  -d '{
        "query": {
            "vector": {
                "values": [0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3]
            },
            "top_k": 4
        },
        "fields": ["category", "chunk_text"],
        "rerank": {
            "query": "Disease prevention",
            "model": "bge-reranker-v2-m3",
            "top_n": 2,
            "rank_fields": ["chunk_text"]
        }
     }'
expect "Search with text: by a vector" 200 "$TWO_HITS"

# Search with a record ID and rerank the results
# Supported only for indexes with integrated embedding
curl "https://$INDEX_HOST/records/namespaces/$NAMESPACE/search" \
  -H "Accept: application/json" \
  -H "Content-Type: application/json" \
  -H "Api-Key: $PINECONE_API_KEY" \
  -H "X-Pinecone-API-Version: 2025-01" \
  -d '{
        "query": {
            "id": "rec1",
            "top_k": 4
        },
        "fields": ["category", "chunk_text"],
        "rerank": {
            "query": "Disease prevention",
            "model": "bge-reranker-v2-m3",
            "top_n": 2,
            "rank_fields": ["chunk_text"]
        }
     }'
expect "Search with text: by a record ID" 200 "$TWO_HITS"

# As the page prints it, the body is no JSON: that is the caller's mistake, and is said so.
call POST "https://$INDEX_HOST/records/namespaces/$NAMESPACE/search" \
  -d '{"query": {"inputs": {"text": "Disease prevention"}, "top_k": 4,}, "fields": ["category", "chunk_text"]}'
expect "Search with text: a comma too many" 400 '"JSON" in str(answer)'

# Update a vector
INDEX_HOST="$PAIRS_HOST"
fill '{"id": "id-3", "values": [1, 2], "metadata": {"type": "drama", "year": 2020}}'
curl "https://$INDEX_HOST/vectors/update" \
  -H "Api-Key: $PINECONE_API_KEY" \
  -H "Content-Type: application/json" \
  -H "X-Pinecone-API-Version: 2025-04" \
  -d '{
        "id": "id-3",
        "values": [4.0, 2.0],
        "setMetadata": {"type": "comedy"},
        "namespace": "example-namespace"
      }'
expect "Update a vector" 200 'answer == {}'
call GET "https://$INDEX_HOST/vectors/fetch?ids=id-3&namespace=example-namespace"
expect "Update a vector: it has the new values and metadata" 200 'answer["vectors"]["id-3"]["values"] == [4, 2]
  and answer["vectors"]["id-3"]["metadata"] == {"type": "comedy", "year": 2020}'

# Upsert vectors
INDEX_HOST="$VECTORS_HOST"
curl "https://$INDEX_HOST/vectors/upsert" \
  -H "Api-Key: $PINECONE_API_KEY" \
  -H 'Content-Type: application/json' \
  -H "X-Pinecone-API-Version: 2025-04" \
  -d '{
    "vectors": [
      {
        "id": "vec1",
        "values": [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1],
        "metadata": {"genre": "comedy", "year": 2020}
      },
      {
        "id": "vec2",
        "values": [0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2],
        "metadata": {"genre": "documentary", "year": 2019}
      }
    ],
    "namespace": "example-namespace"
  }'
expect "Upsert vectors" 200 'answer == {"upsertedCount": 2}'
call GET "https://$INDEX_HOST/vectors/fetch?ids=vec1&ids=vec2&namespace=example-namespace"
expect "Upsert vectors: they are there" 200 'answer["vectors"]["vec1"]["metadata"] == {"genre": "comedy", "year": 2020}
  and answer["vectors"]["vec2"]["values"] == [0.2] * 8'

# Without a key, and with a wrong one
curl "https://$INDEX_HOST/namespaces" -H "X-Pinecone-API-Version: 2025-04"
expect "without a key" 401
curl "https://$INDEX_HOST/namespaces" -H "Api-Key: not-$PINECONE_API_KEY" -H "X-Pinecone-API-Version: 2025-04"
expect "with a wrong key" 401

remove curl-vectors
remove curl-pairs
remove curl-texts
echo "passed: the indexes are deleted"
