"""The tables in PostgreSQL, as numbered steps. Each step runs once, in one transaction with its number.

There are two lists: of the catalogue, and of the schema of each index. What a step does is never changed once it is
released, and it calls no code that may change, so that databases of every age get the same tables.
"""

from collections.abc import Awaitable, Callable, Sequence

from psycopg import sql

from pinyon.errors import FailedPrecondition, Unavailable
from pinyon.storage.postgres.connection.database import Connection

LATER_VERSION = "later version of Pinyon has changed the tables of the database; replace this process by that version"
"""Part of a sentence: why a process that runs on is of no use any more."""
REPLACED_AFTER_S = 10
"""When callers of a process that is too old should try again: another one may answer then."""
LOCK = int.from_bytes(b"Pinyon")
"""The advisory lock that a process holds while it changes tables, so that two never do at once."""


async def _catalogue_first(connection: Connection) -> None:
    await connection.execute(
        """
        -- number: names the schema with the tables of the index. spec, details, fingerprint: JSON. fingerprint: of what
        -- embedded the records; NULL until something has.
        CREATE TABLE indexes (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            name text COLLATE "C" NOT NULL UNIQUE,
            id text NOT NULL UNIQUE,
            spec text NOT NULL,
            details text NOT NULL,
            version bigint NOT NULL DEFAULT 1,
            fingerprint text
        );

        -- Small values of the services. version counts the changes of a value.
        CREATE TABLE catalogue_values (
            key text COLLATE "C" PRIMARY KEY,
            text text NOT NULL,
            version bigint NOT NULL
        );

        -- number: names the schema with the tables of the backup. backup: JSON.
        CREATE TABLE backups (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            id text NOT NULL UNIQUE,
            backup text NOT NULL,
            index_steps integer NOT NULL
        );

        -- Who may do a job, and until when, by the clock of the database.
        CREATE TABLE leases (
            name text PRIMARY KEY,
            owner text NOT NULL,
            until timestamptz NOT NULL
        );

        -- One row. changes counts the changes of the catalogue, so that a process can ask whether its copy is the
        -- newest. index_steps: the steps that the schema of every index has.
        CREATE TABLE catalogue_state (
            only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
            changes bigint NOT NULL DEFAULT 0,
            index_steps integer NOT NULL DEFAULT 0
        );
        INSERT INTO catalogue_state DEFAULT VALUES;
        """
    )


async def _catalogue_files(connection: Connection) -> None:
    await connection.execute(
        """
        -- Small files of the services. version counts the changes of a file, written is when it was first there.
        CREATE TABLE files (
            path text COLLATE "C" PRIMARY KEY,
            content bytea NOT NULL,
            version bigint NOT NULL DEFAULT 1,
            written timestamptz NOT NULL DEFAULT clock_timestamp()
        );
        """
    )


async def _index_first(connection: Connection) -> None:
    await connection.execute(
        """
        -- One row. lsn: of the last write. next_record, next_namespace: numbers that are not yet used. analysis: the
        -- version of the text analysis that made the terms. Every write locks the row, so that the writes of an index
        -- come one by one.
        CREATE TABLE state (
            only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
            lsn bigint NOT NULL DEFAULT 0,
            next_record bigint NOT NULL DEFAULT 1,
            next_namespace bigint NOT NULL DEFAULT 1,
            analysis integer NOT NULL DEFAULT 0
        );

        -- version: the LSN of the last write to the namespace. bytes: of ids, vectors and fields. truncated,
        -- foreign_vectors, learned: how many records have it. texts, words: of records with a text.
        CREATE TABLE namespaces (
            ns bigint PRIMARY KEY,
            name text COLLATE "C" NOT NULL UNIQUE,
            schema text,
            version bigint NOT NULL DEFAULT 0,
            record_count bigint NOT NULL DEFAULT 0,
            bytes bigint NOT NULL DEFAULT 0,
            truncated bigint NOT NULL DEFAULT 0,
            foreign_vectors bigint NOT NULL DEFAULT 0,
            texts bigint NOT NULL DEFAULT 0,
            words bigint NOT NULL DEFAULT 0,
            learned bigint NOT NULL DEFAULT 0
        );

        -- metadata: JSON as it was given. fields: the same for filters, see filters/filterable.py. sparse: as
        -- shared/sparse.py encodes it. terms: int64, those of the text. language, certain: as what a text was analysed
        -- where texts have different languages, and whether the text says so itself.
        CREATE TABLE records (
            ns bigint NOT NULL,
            record bigint NOT NULL,
            id text COLLATE "C" NOT NULL,
            metadata text NOT NULL,
            fields jsonb NOT NULL,
            sparse bytea,
            truncated boolean NOT NULL,
            foreign_vector boolean NOT NULL,
            terms bytea,
            words integer NOT NULL DEFAULT 0,
            language text,
            certain boolean NOT NULL DEFAULT false,
            PRIMARY KEY (ns, record),
            UNIQUE (ns, id)
        );
        CREATE INDEX records_by_field ON records USING gin (fields jsonb_path_ops);

        -- The numbers in fields, for comparisons. field: a hash of its name.
        CREATE TABLE numbers (
            ns bigint NOT NULL,
            field bigint NOT NULL,
            value double precision NOT NULL,
            record bigint NOT NULL,
            PRIMARY KEY (ns, field, value, record)
        );

        -- Which texts have a term, how often, and how many words each text has. term: a hash.
        CREATE TABLE postings (
            ns bigint NOT NULL,
            term bigint NOT NULL,
            record bigint NOT NULL,
            count integer NOT NULL,
            words integer NOT NULL,
            PRIMARY KEY (ns, term, record) INCLUDE (count, words)
        );

        -- How many texts of a namespace are in each language.
        CREATE TABLE text_languages (
            ns bigint NOT NULL,
            language text NOT NULL,
            certain boolean NOT NULL,
            texts bigint NOT NULL,
            PRIMARY KEY (ns, language, certain)
        );

        -- The inverted index of sparse vectors.
        CREATE TABLE sparse_postings (
            ns bigint NOT NULL,
            term bigint NOT NULL,
            record bigint NOT NULL,
            weight real NOT NULL,
            PRIMARY KEY (ns, term, record) INCLUDE (weight)
        );

        -- The sum of the unit vectors of a namespace: int64, as shared/centroids.py computes it.
        CREATE TABLE vector_sums (ns bigint PRIMARY KEY, sum bytea NOT NULL);

        -- What the learned sparse model made of a text, as shared/sparse.py encodes it; and the sums of the weights.
        CREATE TABLE learned_vectors (
            ns bigint NOT NULL,
            record bigint NOT NULL,
            vector bytea NOT NULL,
            PRIMARY KEY (ns, record)
        );
        CREATE TABLE learned_sums (
            ns bigint NOT NULL,
            term bigint NOT NULL,
            sum bigint NOT NULL,
            PRIMARY KEY (ns, term)
        );

        -- The token vectors of texts, as search/token_codes.py encodes them.
        CREATE TABLE token_vectors (
            ns bigint NOT NULL,
            record bigint NOT NULL,
            codes bytea NOT NULL,
            PRIMARY KEY (ns, record)
        );
        ALTER TABLE token_vectors ALTER COLUMN codes SET STORAGE EXTERNAL;

        -- At most one row: what the index is being re-embedded for (JSON), and up to which record that is done.
        CREATE TABLE reembedding (
            only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
            target text NOT NULL,
            fingerprint text NOT NULL,
            upto bigint NOT NULL DEFAULT 0
        );

        -- New vectors, until every record has one. vector: float32, little-endian.
        CREATE TABLE reembedded (
            ns bigint NOT NULL,
            record bigint NOT NULL,
            vector bytea NOT NULL,
            truncated boolean NOT NULL,
            learned bytea,
            token_codes bytea,
            PRIMARY KEY (ns, record)
        );

        -- Small texts that services store with the index.
        CREATE TABLE notes (key text COLLATE "C" PRIMARY KEY, text text NOT NULL);
        """
    )
    await connection.execute("INSERT INTO state DEFAULT VALUES")


async def _index_buckets(connection: Connection) -> None:
    await connection.execute(
        # buckets: into how many the records of the namespace are divided, see buckets.py.
        "ALTER TABLE namespaces ADD COLUMN buckets integer NOT NULL DEFAULT 1 CHECK (buckets BETWEEN 1 AND 1023)"
    )


Steps = Sequence[Callable[[Connection], Awaitable[None]]]
CATALOGUE_STEPS: Steps = [_catalogue_first, _catalogue_files]
INDEX_STEPS: Steps = [_index_first, _index_buckets]
INDEX_TABLES = (
    "state",
    "namespaces",
    "records",
    "numbers",
    "postings",
    "text_languages",
    "sparse_postings",
    "vector_sums",
    "learned_vectors",
    "learned_sums",
    "token_vectors",
    "reembedding",
    "reembedded",
    "notes",
    "vectors",
)
"""The tables of an index, in an order in which they can be filled. `vectors` is made by vectors/vector_table.py."""
DERIVED_OF_NAMESPACE = ("numbers", "postings", "text_languages", "sparse_postings", "vector_sums", "learned_sums")
"""Tables with rows of a namespace that are made from its records."""
STORED_OF_NAMESPACE = ("records", "vectors", "learned_vectors", "token_vectors", "reembedded")
"""Tables with rows of a namespace that are not."""


async def migrate_catalogue(connection: Connection, schema: str) -> None:
    """Make the catalogue, or bring it and every index to the newest schema. In the caller's transaction, as its first.

    Raises FailedPrecondition if a later version of Pinyon made the tables.
    """
    if await _is_newest(connection, schema):  # then a start need not wait for indexes that are being made
        return
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    # Nothing may name the schema before the lock: PostgreSQL would remember that it does not exist.
    await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    await in_schema(connection, schema)
    await connection.execute("CREATE TABLE IF NOT EXISTS catalogue_steps (step integer PRIMARY KEY)")
    done = await _number(connection, "SELECT coalesce(max(step), 0) FROM catalogue_steps")
    _check(done, CATALOGUE_STEPS, f"The schema {schema}")
    for number, step in enumerate(CATALOGUE_STEPS[done:], start=done + 1):
        await step(connection)
        await connection.execute("INSERT INTO catalogue_steps VALUES (%s)", (number,))
    indexes_done = await _number(connection, "SELECT index_steps FROM catalogue_state")
    _check(indexes_done, INDEX_STEPS, f"The indexes in {schema}")
    if indexes_done < len(INDEX_STEPS):
        cursor = await connection.execute("SELECT number FROM indexes")
        for (number,) in await cursor.fetchall():
            await in_schema(connection, index_schema(schema, number), schema)
            for step in INDEX_STEPS[indexes_done:]:
                await step(connection)
        await connection.execute(
            sql.SQL("UPDATE {}.catalogue_state SET index_steps = {}").format(
                sql.Identifier(schema), sql.Literal(len(INDEX_STEPS))
            )
        )


async def _is_newest(connection: Connection, schema: str) -> bool:
    """Whether the catalogue and every index have the newest schema. Does not name a schema that may be missing."""
    exists = "SELECT count(*) FROM pg_tables WHERE schemaname = %s AND tablename = 'catalogue_state'"
    row = await (await connection.execute(exists, (schema,))).fetchone()
    if row is None or not row[0]:
        return False
    steps = sql.SQL("SELECT (SELECT max(step) FROM {0}.catalogue_steps), index_steps FROM {0}.catalogue_state")
    row = await (await connection.execute(steps.format(sql.Identifier(schema)))).fetchone()
    return row == (len(CATALOGUE_STEPS), len(INDEX_STEPS))


async def put_off(connection: Connection) -> None:
    """Let no other process migrate before this transaction ends. Raises as check_newest()."""
    await connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", (LOCK,))
    check_newest(await _number(connection, "SELECT index_steps FROM catalogue_state"))


def is_newest(index_steps: int) -> bool:
    """Whether the indexes have the schema that this process knows."""
    return index_steps == len(INDEX_STEPS)


def check_newest(index_steps: int) -> None:
    """Raises Unavailable if a later Pinyon has migrated the indexes while this process was running."""
    if not is_newest(index_steps):
        raise Unavailable(f"A {LATER_VERSION}", REPLACED_AFTER_S)


async def in_schema(connection: Connection, *schemas: str) -> None:
    """Put these schemas first for the rest of the transaction."""
    names = sql.SQL(", ").join(map(sql.Identifier, schemas))
    cursor = await connection.execute(
        "SELECT nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'vector'"
    )
    row = await cursor.fetchone()
    extension = sql.SQL("") if row is None else sql.SQL(", {}").format(sql.Identifier(row[0]))
    await connection.execute(sql.SQL("SET LOCAL search_path TO ") + names + extension)


def index_schema(schema: str, number: int) -> str:
    """The name of the schema of an index. schema: of the catalogue."""
    return f"{schema}_{number}"


def backup_schema(schema: str, number: int) -> str:
    """The name of the schema of a backup. schema: of the catalogue."""
    return f"{schema}_backup_{number}"


async def _number(connection: Connection, query: str) -> int:
    row = await (await connection.execute(query)).fetchone()
    assert row is not None
    return int(row[0])


def _check(done: int, steps: Steps, what: str) -> None:
    if done > len(steps):
        raise FailedPrecondition(
            f"{what} of the database has step {done}, this Pinyon knows up to {len(steps)}; use the newer Pinyon"
        )
