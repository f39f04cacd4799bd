"""Whether the tables of an index file agree with each other."""

from pathlib import Path

import msgspec
from pinyon.domain import IndexSpec
from pinyon.search import token_codes
from pinyon.search.text.analysis import analysed, analysed_as, detects
from pinyon.storage.shared.lexical import text_of
from pinyon.storage.shared.postings import postings
from pinyon.storage.sqlite.connection.connections import connect
from pinyon.storage.sqlite.schema import tables, token_vectors
from pinyon.storage.sqlite.text import learned_vectors


def _terms(spec: IndexSpec | None, fields: str, language: str | None) -> list[str] | None:
    text = None if spec is None else text_of(spec, msgspec.json.decode(fields))
    if text is None or spec is None or spec.embed is None:
        return None
    if detects(spec.embed.analysis):
        return analysed_as(text, language or "", spec.embed.analysis).terms
    return analysed([text], spec.embed.analysis)[0].terms


def problems(file: Path) -> list[str]:
    """Everything that does not fit; empty when all is well."""
    connection = connect(file, 0, "write")  # replays the log, as the server does at its next start
    told = [str(row) for row in connection.execute("PRAGMA integrity_check") if row != ("ok",)]
    records = connection.execute("SELECT record, ns, id, metadata FROM records").fetchall()
    # A copy of an earlier version's file has no languages yet.
    columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(records)")]
    language = "language" if "language" in columns else "NULL"
    languages: dict[int, str | None] = dict(connection.execute(f"SELECT record, {language} FROM records"))

    spec = tables.index_spec(connection)
    sparse = spec is not None and spec.sparse
    vectors = set() if sparse else {row for (row,) in connection.execute("SELECT rowid FROM vectors")}
    if not sparse and vectors != {record for record, *_ in records}:
        told.append(f"{len(vectors)} vectors for {len(records)} records")

    fields = dict(connection.execute("SELECT name, field FROM fields"))
    wanted = {
        (ns, fields.get(field), int(kind), value, record)
        for record, ns, _, text in records
        for field, kind, value in postings(msgspec.json.decode(text))
    }
    stored = set(connection.execute("SELECT ns, field, kind, value, record FROM postings"))
    if wanted != stored:
        told.append(f"{len(wanted - stored)} postings missing, {len(stored - wanted)} too many")

    in_terms = {record: _terms(spec, fields, languages[record]) for record, *_, fields in records}
    texts = {record: terms for record, terms in in_terms.items() if terms is not None}
    lexical = connection.execute("SELECT count(*), count(DISTINCT doc) FROM lexical_instances").get
    wanted_terms = sum(map(len, texts.values())), sum(1 for words in texts.values() if words)
    if lexical != wanted_terms:
        told.append(f"{lexical} terms and texts in the lexical index, {wanted_terms} in the records")

    if "learned" in [name for _, name, *_ in connection.execute("PRAGMA table_info(namespaces)")]:
        numbers: list[int] = [ns for (ns,) in connection.execute("SELECT ns FROM namespaces")]
        told += [f"sums of learned vectors in {ns}" for ns in numbers if not learned_vectors.are_right(connection, ns)]
        lost = "SELECT count(*) FROM learned_vectors WHERE record NOT IN (SELECT record FROM records)"
        if number := connection.execute(lost).get:
            told.append(f"{number} learned vectors without a record")

    if spec is not None and token_vectors.field(spec) is not None:
        told += token_vectors.problems(connection, spec)
        codes: list[bytes] = [code for (code,) in connection.execute("SELECT codes FROM token_vectors")]
        windows = [window for code in codes for window in token_codes.decode(code)]
        dimensions = {token_codes.vectors(window).shape[1] for window in windows}
        if not dimensions <= {spec.dimension}:
            told.append(f"token vectors of {dimensions} numbers in an index of {spec.dimension}")

    cut: dict[int, int] = dict(connection.execute("SELECT ns, sum(truncated) FROM records GROUP BY ns"))
    for ns, name, count in connection.execute("SELECT ns, name, truncated FROM namespaces").fetchall():
        if count != cut.get(ns, 0):
            told.append(f"namespace {name} counts {count} texts that were cut and has {cut.get(ns, 0)}")

    for ns, name, count in connection.execute("SELECT ns, name, record_count FROM namespaces").fetchall():
        number = sum(1 for _, record_ns, *_ in records if record_ns == ns)
        if number != count:
            told.append(f"namespace {name} counts {count} records and has {number}")
    connection.close()
    return told
