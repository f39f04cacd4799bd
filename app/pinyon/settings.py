"""Every setting of Pinyon: its name, its default, and one sentence. settings_loader.py reads the values."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from pinyon.errors import TooLarge
from pinyon.shipped import HOME

INDEX_NAME = r"\A[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?\Z"
Pooling = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
"""How the vectors of a text's tokens become one vector; the names are those of sentence-transformers."""
Activation = Literal["identity", "sigmoid"]
"""What a cross-encoder does with its score of a pair; sigmoid scales it to 0..1."""
TEXT_FIELD = r"\A(?!\$|(_id|id|_score)\Z)."
"""Names that a metadata field can have: not empty, no $ in front, and not one of the names that records use."""

PORT_RANGE = r"\A([0-9]{1,5}-[0-9]{1,5}|free:[0-9]{1,4})?\Z"
FREE = "free:"
IMPORT_SOURCE = r"\A(/.*|(s3|gs)://.*|https?://[^/].*)\Z"
INDEX_HOST = r"\A([a-zA-Z0-9.-]*\{index\}[a-zA-Z0-9.-]*\.[a-zA-Z0-9.-]+)?\Z"
PUBLIC_URL = r"\A(https?://[a-zA-Z0-9.:\[\]-]+)?\Z"
API_KEY = r"\A[!-~]*\Z"
MODEL_SOURCE = r"\A(/.*|hub:[\w.-]+/[\w.-]+(@[\w.-]+)?)\Z"
FORMS = {
    INDEX_NAME: "1 to 45 lower-case letters, digits and hyphens, with no hyphen at either end",
    TEXT_FIELD: "the name of a field: not empty, no $ in front, and none of _id, id and _score",
    PORT_RANGE: "two ports, such as 5081-5100, or a number of free ones, such as free:20, or nothing",
    INDEX_HOST: "a host name with {index} in it, such as {index}.search.example.com, or nothing",
    PUBLIC_URL: "a URL without a path, such as https://example.com, or nothing",
    API_KEY: "letters, digits and punctuation of ASCII, without spaces",
    IMPORT_SOURCE: "an absolute path, or an address with s3://, gs://, https:// or http://",
    MODEL_SOURCE: "hub:OWNER/NAME, hub:OWNER/NAME@REVISION or the absolute path of a folder",
}
"""What each pattern of a setting allows, in words."""


def in_words(error: msgspec.ValidationError) -> str:
    """The message of an error, with what is allowed in words instead of a pattern."""
    message = str(error)
    for pattern, words in FORMS.items():
        message = message.replace(f"`str` matching regex {pattern!r}", words)
    return message


class ServerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The [server] section: where Pinyon listens and who may call it."""

    host: Annotated[str, Meta(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 5080
    index_ports: Annotated[
        str,
        Meta(
            pattern=PORT_RANGE,
            description="Ports (FIRST-LAST) for further indexes, one port for each; free:20 for 20 free ones, which "
            "change with each start; empty for none.",
        ),
    ] = "5081-5100"
    index_host: Annotated[
        str,
        Meta(
            pattern=INDEX_HOST,
            description="Pattern of host names for indexes, used instead of ports, such as {index}.search.example.com.",
        ),
    ] = ""
    public_url: Annotated[
        str,
        Meta(
            pattern=PUBLIC_URL,
            description="URL at which clients reach this server through a proxy, such as https://example.com.",
        ),
    ] = ""
    tls_cert: Annotated[str, Meta(description="File with the TLS certificate chain (PEM); empty for clear text.")] = ""
    tls_key: Annotated[str, Meta(description="File with the certificate's private key (PEM).")] = ""
    api_key: Annotated[
        str,
        Meta(
            pattern=API_KEY,
            description="A key that callers must send as Api-Key; `pinyon keys create` makes further ones.",
        ),
    ] = ""
    insecure: Annotated[
        bool,
        Meta(description="Serve other machines, host names and web pages although there is no API key."),
    ] = False
    shutdown_grace_s: Annotated[
        float, Meta(ge=0, description="Seconds that running requests get to finish after SIGTERM.")
    ] = 30.0
    cors_origins: Annotated[
        tuple[str, ...], Meta(description="Origins of web pages that may call this server from a browser.")
    ] = ()
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Messages of this level and above are logged.")
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"],
        Meta(description="Form of the log: text for people, json (one object per line) for programs."),
    ] = "text"
    access_log: Annotated[
        bool, Meta(description="Log one line per request: operation, status and time, but no content.")
    ] = False

    @property
    def index_port_range(self) -> Sequence[int]:
        """The ports of index_ports, to be listened on; 0 for any free one."""
        if not self.index_ports:
            return ()
        if self.index_ports.startswith(FREE):
            return [0] * int(self.index_ports.removeprefix(FREE))
        first, last = map(int, self.index_ports.split("-"))
        return range(first, last + 1)

    def __post_init__(self) -> None:
        ports = self.index_port_range
        try:
            fine = urlsplit(self.public_url or "http://x").port != 0
        except ValueError:
            fine = False
        if not fine or not urlsplit(self.public_url or "http://x").hostname:
            raise ValueError(f"public_url must be a URL such as https://example.com, got {self.public_url}")
        free = self.index_ports.startswith(FREE)
        if self.index_ports and not free and not (ports and ports[0] >= 1 and ports[-1] <= 65535):
            raise ValueError(f"index_ports must be a range of ports such as 5081-5100, got {self.index_ports}")


class StorageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The [storage] section: where records are, and how much memory searches may use."""

    engine: Annotated[Literal["sqlite"], Meta(description="What stores the data; sqlite is the only one.")] = "sqlite"
    data_dir: Annotated[str, Meta(description="Folder for the data, relative to the working directory.")] = "data"
    read_only: Annotated[
        bool,
        Meta(
            description="Change nothing: for a second process on the same folder, or for a disk that cannot be written."
        ),
    ] = False
    readers: Annotated[
        int, Meta(ge=1, le=64, description="Number of searches that read from disk at the same time.")
    ] = 4
    vector_cache_bytes: Annotated[
        int, Meta(ge=0, description="Cache size for the vectors of namespaces that are searched repeatedly.")
    ] = 536_870_912
    filter_cache_bytes: Annotated[int, Meta(ge=0, description="Cache size for the results of recent filters.")] = (
        67_108_864
    )
    column_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="Cache size for the values of filtered fields, in namespaces with 2,000 records or more.",
        ),
    ] = 134_217_728
    posting_cache_bytes: Annotated[int, Meta(ge=0, description="Cache size for the words of recent searches.")] = (
        67_108_864
    )
    approximate_from: Annotated[
        int,
        Meta(
            ge=0,
            description="From this many records per namespace on, vector searches are approximate; 0 for always exact.",
        ),
    ] = 50_000
    approximate_recall: Annotated[
        float,
        Meta(
            ge=0.5,
            le=0.999,
            description="Average share of the nearest vectors that approximate searches find; where they would find "
            "less, search exactly.",
        ),
    ] = 0.98
    inline_read_ms: Annotated[
        float,
        Meta(
            ge=0,
            description="If the previous search took less than this many ms, run the next one on the main thread. 0: "
            "always use a worker thread.",
        ),
    ] = 1.0
    recall_sample: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Share of approximate searches that are repeated exactly in idle time to measure recall (GET "
            "/recall).",
        ),
    ] = 0.01
    writes_per_commit: Annotated[
        int, Meta(ge=1, description="Number of concurrent writes to an index that may share one commit to disk.")
    ] = 64
    mmap_bytes: Annotated[int, Meta(ge=0, description="Bytes of each index file that SQLite may map into memory.")] = (
        2_147_418_112
    )


class OwnModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A [models.NAME] section: a model of the user's own. What is not set is read from the model's own files.

    source: hub:OWNER/NAME, hub:OWNER/NAME@REVISION, or the absolute path of a folder. query_prefix, passage_prefix: put
    before every text; a cross-encoder has only the first. dimensions: shorter lengths to which vectors may be cut.
    metric: the default of its indexes. activation: of a cross-encoder. languages: that an embedding model knows, in
    Latin letters, if they are few: its similarities count less for queries in others.
    """

    source: Annotated[str, Meta(pattern=MODEL_SOURCE)]
    query_prefix: str | None = None
    passage_prefix: str | None = None
    pooling: Pooling | None = None
    normalize: bool | None = None
    metric: Literal["cosine", "dotproduct", "euclidean"] | None = None
    max_tokens: Annotated[int, Meta(ge=8)] | None = None
    dimension: Annotated[int, Meta(ge=1)] | None = None
    dimensions: tuple[Annotated[int, Meta(ge=1)], ...] | None = None
    truncate: Literal["END", "NONE"] = "END"
    activation: Activation | None = None
    languages: tuple[str, ...] = ()


class ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The [models] section: which machine-learning models answer."""

    models_dir: Annotated[
        str,
        Meta(
            description="Folder of weights/; relative to the checkout or, in an installed package, to the user's "
            "data folder."
        ),
    ] = "models"
    stand_ins: Annotated[
        bool,
        Meta(description="Let a local model answer for a hosted model whose weights are missing, and say so."),
    ] = False
    quick: Annotated[
        bool,
        Meta(
            description="For tests: answer for every model by words alone, without loading any, and say so; meaning is "
            "not understood."
        ),
    ] = False
    mix: Annotated[
        bool,
        Meta(
            description="Allow a text search among vectors that callers embedded themselves although a stand-in "
            "embeds the query."
        ),
    ] = False
    offline: Annotated[bool, Meta(description="Never use the network, not even for `pinyon models pull`.")] = False
    preload: Annotated[
        tuple[str, ...],
        Meta(description="Rerankers to load before /ready succeeds, if their weights are on this machine."),
    ] = ("bge-reranker-v2-m3",)
    precision: Annotated[
        Literal["auto", "remembered", "fp32", "bf16", "int8", "openvino", "openvino-bf16"],
        Meta(
            description="How models are computed: auto measures in the background what is fastest, remembered does "
            "not, or one for all."
        ),
    ] = "auto"
    threads: Annotated[int, Meta(ge=0, description="Threads for one model call; 0 uses every core.")] = 0
    queue: Annotated[
        int, Meta(ge=1, description="Number of model calls that may wait; beyond that, requests get 503 immediately.")
    ] = 256
    query_cache_bytes: Annotated[int, Meta(ge=0, description="Cache size for the vectors of recent query texts.")] = (
        33_554_432
    )
    token_cache_bytes: Annotated[
        int, Meta(ge=0, description="Cache size for the token vectors of documents that late interaction reranked.")
    ] = 268_435_456
    paths: Annotated[dict[str, str], Meta(description="Absolute folders of weights, by model name.")] = msgspec.field(
        default_factory=dict
    )
    own: Annotated[dict[str, OwnModel], Meta(description="The [models.NAME] sections, by name.")] = msgspec.field(
        default_factory=dict
    )


class ImportSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The [import] section: what the bulk import of the API may read."""

    allow: Annotated[
        tuple[Annotated[str, Meta(pattern=IMPORT_SOURCE)], ...],
        Meta(
            description="What the API may import: absolute paths, and addresses such as s3://bucket/folder or "
            "https://example.com/data."
        ),
    ] = ()


class LimitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The [limits] section. The defaults are Pinecone's limits."""

    records_per_upsert: Annotated[int, Meta(ge=1, description="Maximum number of records in one upsert of texts.")] = 96
    upsert_bytes: Annotated[
        int,
        Meta(
            ge=1,
            description="Maximum size of one upsert in bytes: vectors count 4 bytes per number, records count as sent.",
        ),
    ] = 2 * 1024 * 1024
    vectors_per_upsert: Annotated[int, Meta(ge=1, description="Maximum number of vectors in one upsert.")] = 1_000
    sparse_terms: Annotated[int, Meta(ge=1, description="Maximum number of non-zero values in one sparse vector.")] = (
        2_048
    )
    fetch_ids: Annotated[int, Meta(ge=1, description="Maximum number of ids in one fetch.")] = 1_000
    delete_ids: Annotated[int, Meta(ge=1, description="Maximum number of ids in one delete.")] = 1_000
    list_page: Annotated[int, Meta(ge=1, description="Maximum number of ids or namespaces on one page of a list.")] = (
        100
    )
    fetch_page: Annotated[
        int, Meta(ge=1, description="Maximum number of records on one page of fetch_by_metadata.")
    ] = 10_000
    update_records: Annotated[
        int, Meta(ge=1, description="Maximum number of records that one update by filter may change.")
    ] = 100_000
    result_bytes: Annotated[
        int,
        Meta(ge=1, description="Maximum size of the records in one answer in bytes; vectors count 4 bytes per number."),
    ] = 4 * 1024 * 1024
    metadata_bytes: Annotated[
        int, Meta(ge=1, description="Maximum size of the fields of one record in bytes, as JSON.")
    ] = 40_960
    id_characters: Annotated[int, Meta(ge=1, le=512, description="Maximum length of an id in characters.")] = 512
    namespace_characters: Annotated[
        int, Meta(ge=1, description="Maximum length of a namespace's name in characters.")
    ] = 512
    filter_values: Annotated[int, Meta(ge=1, description="Maximum number of values in one $in or $nin.")] = 10_000
    top_k: Annotated[int, Meta(ge=1, description="Maximum top_k of a search.")] = 10_000
    fields: Annotated[int, Meta(ge=1, description="Maximum number of names in `fields` of a search.")] = 100

    def check_body(self, size: int) -> None:
        """Raises TooLarge if the body of an upsert of records is larger than upsert_bytes. size: in bytes."""
        if size > self.upsert_bytes:
            raise TooLarge(
                f"The request body has {size} bytes, which exceeds the maximum supported size of "
                f"{self.upsert_bytes} bytes; split it into smaller requests, or raise [limits] upsert_bytes"
            )

    def check_upsert(self, size: int) -> None:
        """Raises TooLarge if the vectors of an upsert are larger than upsert_bytes. size: as sizes.py counts it."""
        if size > self.upsert_bytes:
            raise TooLarge(
                f"The vectors have {size} bytes (4 for a number, 8 for a sparse pair, ids, metadata as JSON), which "
                f"exceeds the maximum supported size of {self.upsert_bytes} bytes; send them in smaller batches, or "
                "raise [limits] upsert_bytes"
            )

    def check_answer(self, size: int, advice: str) -> None:
        """Raises TooLarge if the records of an answer are larger than result_bytes. size: as sizes.py counts it."""
        if size > self.result_bytes:
            raise TooLarge(
                f"The answer has {size} bytes, which exceeds the maximum supported size of {self.result_bytes} bytes; "
                f"{advice}"
            )

    @property
    def vector_body_bytes(self) -> int:
        """Maximum size of the body of an upsert of vectors in bytes, checked before its content is read.

        A number counts as 4 bytes and takes up to 24 characters of JSON and a separator. Eight times upsert_bytes is
        enough for both, indentation included.
        """
        return 8 * self.upsert_bytes


class IndexSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The [index] section: the index on the main port, created at the first start. Without it there is none."""

    name: Annotated[
        str,
        Meta(
            pattern=INDEX_NAME,
            description="1 to 45 lower-case letters, digits and hyphens, with no hyphen at either end.",
        ),
    ]
    model: Annotated[
        str, Meta(description="Name of an embedding model in models/manifest.toml; empty for an index of vectors only.")
    ] = ""
    vector_type: Annotated[
        Literal["dense", "sparse"], Meta(description="dense or sparse; an embedding model decides this itself.")
    ] = "dense"
    metric: Annotated[
        Literal["", "cosine", "dotproduct", "euclidean"],
        Meta(
            description="cosine, dotproduct or euclidean; if empty, dotproduct for sparse vectors and cosine for "
            "others."
        ),
    ] = ""
    dimension: Annotated[int, Meta(ge=0, description="Length of dense vectors; 0 uses the model's default.")] = 0
    field_map: Annotated[
        dict[Literal["text"], Annotated[str, Meta(pattern=TEXT_FIELD)]],
        Meta(min_length=1, description="The field of a record whose text is embedded."),
    ] = msgspec.field(default_factory=lambda: {"text": "text"})
    read_parameters: Annotated[
        dict[str, Any],
        Meta(
            description="How queries are processed: truncate (END, NONE), retrieval (dense, lexical, hybrid), "
            "mix (of hybrid scores)."
        ),
    ] = msgspec.field(default_factory=lambda: {"truncate": "END"})
    write_parameters: Annotated[
        dict[str, Any],
        Meta(
            description="How texts are processed: truncate (END, NONE), language of the words (auto, english, ...), "
            "diacritics (fold, keep), token_vectors (none, stored: for quick reranking), sparse_model (a learned "
            "sparse model for hybrid searches, or none)."
        ),
    ] = msgspec.field(default_factory=lambda: {"truncate": "END"})


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings. index: None if there is no [index] section."""

    server: ServerSettings = ServerSettings()
    storage: StorageSettings = StorageSettings()
    models: ModelSettings = ModelSettings()
    limits: LimitSettings = LimitSettings()
    imports: ImportSettings = msgspec.field(default=ImportSettings(), name="import")
    index: IndexSettings | None = None

    @property
    def models_dir(self) -> Path:
        """Absolute path of the models folder."""
        return HOME / self.models.models_dir
