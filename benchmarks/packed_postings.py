"""Measures what postings would take in PostgreSQL if a row held many of them.

    python -m benchmarks.packed_postings [--texts 20000]

The engine does not do this: the table in docs/notes/postgres.md shows what it would save, and what it would cost. The
postings are those of real texts (benchmarks/texts.py), written in batches of 1,000 texts, as an upsert writes them.

rows: the engine's table, a row for each posting. appended: a row for each term of a batch. merged: the same, after the
blocks of each term were joined to blocks of up to BLOCK postings, as upkeep would do it. In a block, a bytea, a posting
is the difference to the record before, the count and the number of words, each in as few groups of 7 bits as it needs.
arrays: merged blocks with three arrays of int in place of the bytea.
"""

import argparse
import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import psycopg
from pinyon.search.text.analysis import analysed
from pinyon.storage.postgres.text.lexical import hashed

from benchmarks import texts
from benchmarks.engines import SERVER
from tests.postgres.server import running

BATCH, BLOCK, ASKED, TIMES = 1_000, 128, 4, 40
Posting = tuple[int, int, int]
"""The number of a record, how often it has the term, and how many words it has."""

ROWS = """CREATE TABLE rows (ns bigint NOT NULL, term bigint NOT NULL, record bigint NOT NULL, count integer NOT NULL,
    words integer NOT NULL, PRIMARY KEY (ns, term, record) INCLUDE (count, words))"""
BLOCKS = """CREATE TABLE {} (ns bigint NOT NULL, term bigint NOT NULL, first bigint NOT NULL, postings bytea NOT NULL,
    PRIMARY KEY (ns, term, first))"""
ARRAYS = """CREATE TABLE arrays (ns bigint NOT NULL, term bigint NOT NULL, first bigint NOT NULL,
    records integer[] NOT NULL, counts integer[] NOT NULL, words integer[] NOT NULL, PRIMARY KEY (ns, term, first))"""


def packed(postings: Sequence[Posting]) -> bytes:
    """A block: see above."""
    numbers = itertools.chain.from_iterable(
        (record - before, count, words)
        for (before, *_), (record, count, words) in itertools.pairwise([(postings[0][0], 0, 0), *postings])
    )
    out = bytearray()
    for number in numbers:
        while number > 127:
            out.append(number & 127 | 128)
            number >>= 7
        out.append(number)
    return bytes(out)


def unpacked(firsts: Sequence[int], parts: Sequence[bytes]) -> np.ndarray:
    """The postings of blocks, int64 [n, 3]. firsts: the first record of each block."""
    octets = np.frombuffer(b"".join(parts), np.uint8)
    ends = np.flatnonzero(octets < 128)
    begins = np.append(0, ends[:-1] + 1)
    shifts = 7 * (np.arange(len(octets)) - np.repeat(begins, ends - begins + 1))
    postings = np.add.reduceat((octets & 127).astype(np.int64) << shifts, begins).reshape(-1, 3)
    heads = np.searchsorted(begins, np.cumsum([0, *map(len, parts[:-1])])) // 3
    records = np.cumsum(postings[:, 0])
    postings[:, 0] = records + np.repeat(np.array(firsts) - records[heads], np.diff(heads, append=len(records)))
    return postings


def batches(rows: Sequence[str]) -> Iterable[dict[int, list[Posting]]]:
    """The postings of each batch of texts, by term."""
    for start in range(0, len(rows), BATCH):
        by_term: dict[int, list[Posting]] = defaultdict(list)
        for record, text in enumerate(analysed(rows[start : start + BATCH], "english"), start + 1):
            for term, count in Counter(text.terms).items():
                by_term[hashed(term)].append((record, count, text.words))
        yield by_term


def copy(connection: psycopg.Connection, table: str, types: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Insert rows by COPY, in a transaction of their own."""
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT BINARY)") as writer:
        writer.set_types(types)
        for row in rows:
            writer.write_row(row)


def blocks(by_term: dict[int, list[Posting]]) -> Iterable[tuple[int, list[Posting]]]:
    """Each term with its postings, at most BLOCK at a time."""
    for term in sorted(by_term):
        for start in range(0, len(by_term[term]), BLOCK):
            yield term, by_term[term][start : start + BLOCK]


def main(count: int) -> None:
    rows = list(itertools.islice((text for text in texts.passages() if text), count))
    whole: dict[int, list[Posting]] = defaultdict(list)
    seconds = Counter[str]()
    block_types = ("int8", "int8", "int8", "bytea")
    with running(**SERVER) as server, psycopg.connect(server.dsn, autocommit=True) as connection:
        for statement in (ROWS, BLOCKS.format("appended"), BLOCKS.format("merged"), ARRAYS):
            connection.execute(statement)
        for by_term in batches(rows):
            for term, postings in by_term.items():
                whole[term] += postings
            begun = time.perf_counter()
            one_by_one = sorted((1, term, *posting) for term, postings in by_term.items() for posting in postings)
            copy(connection, "rows", ("int8", "int8", "int8", "int4", "int4"), one_by_one)
            seconds["rows"] += time.perf_counter() - begun
            begun = time.perf_counter()
            copy(connection, "appended", block_types, [(1, t, p[0][0], packed(p)) for t, p in blocks(by_term)])
            seconds["appended"] += time.perf_counter() - begun
        begun = time.perf_counter()
        copy(connection, "merged", block_types, [(1, t, p[0][0], packed(p)) for t, p in blocks(whole)])
        seconds["merged"] = time.perf_counter() - begun
        begun = time.perf_counter()
        listed = [(1, term, part[0][0], *map(list, zip(*part, strict=True))) for term, part in blocks(whole)]
        copy(connection, "arrays", (*block_types[:3], "int4[]", "int4[]", "int4[]"), listed)
        seconds["arrays"] = time.perf_counter() - begun
        connection.execute("VACUUM (ANALYZE)")
        number = sum(map(len, whole.values()))
        content = sum(len(packed(part)) for _, part in blocks(whole))
        print(f"{count:,} texts, {number:,} postings, {number / count:.0f} each; {len(whole):,} terms.")
        print(f"A posting in a block of {BLOCK} has {content / number:.1f} bytes.\n")
        print("| | bytes per posting | of them index | rows | written, postings/s | read, ms |")
        print("|---|---|---|---|---|---|")
        asked = questions(whole)
        check(whole[asked[0][0]])
        milliseconds = read(connection, asked, whole)
        for table, took in seconds.items():
            size, index = connection.execute(
                f"SELECT pg_total_relation_size('{table}'), pg_indexes_size('{table}')"
            ).fetchone()
            stored = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            print(
                f"| {table} | {size / number:.1f} | {index / number:.1f} | {stored:,} | {number / took:,.0f} |"
                f" {milliseconds[table]:.2f} |",
                flush=True,
            )


def check(postings: list[Posting]) -> None:
    """Blocks hold what was put into them."""
    parts = [postings[start : start + BLOCK] for start in range(0, len(postings), BLOCK)]
    assert unpacked([part[0][0] for part in parts], [packed(part) for part in parts]).tolist() == [*map(list, postings)]


QUERIES = {
    "rows": "SELECT term, string_agg(int8send(record) || int4send(count) || int4send(words), '' ORDER BY record)"
    " FROM rows WHERE ns = 1 AND term = ANY(%s) GROUP BY term",
    **{
        table: f"SELECT term, first, postings FROM {table} WHERE ns = 1 AND term = ANY(%s) ORDER BY first"
        for table in ("appended", "merged")
    },
    "arrays": "SELECT term, records, counts, words FROM arrays WHERE ns = 1 AND term = ANY(%s) ORDER BY first",
}


def grouped(rows: Iterable[tuple]) -> dict[int, list[tuple]]:
    """Rows without their first value, a term, by this value."""
    by_term: dict[int, list[tuple]] = defaultdict(list)
    for term, *rest in rows:
        by_term[term].append(tuple(rest))
    return by_term


def questions(whole: dict[int, list[Posting]]) -> list[list[int]]:
    """Terms that are asked for together, drawn as often as texts have them."""
    terms = np.array(sorted(whole))
    often = np.array([len(whole[term]) for term in terms.tolist()], float)
    dice = np.random.default_rng(0)
    return dice.choice(terms, (TIMES, ASKED), p=often / often.sum()).tolist()


def read(
    connection: psycopg.Connection, asked: Sequence[list[int]], whole: dict[int, list[Posting]]
) -> dict[str, float]:
    """By table, the median time in ms until the inverted lists of ASKED terms are arrays of numpy. Tables in turns."""
    times: dict[str, list[float]] = {table: [] for table in QUERIES}
    posting = np.dtype([("record", ">i8"), ("count", ">i4"), ("words", ">i4")])
    for terms in asked:
        for table, query in QUERIES.items():
            begun = time.perf_counter()
            found = connection.cursor(binary=True).execute(query, (terms,)).fetchall()
            if table == "rows":
                lists = {term: np.frombuffer(each, posting) for term, each in found}
            else:
                columns = {term: list(zip(*rows, strict=True)) for term, rows in grouped(found).items()}
                join = joined if table == "arrays" else unpacked
                lists = {term: join(*of_term) for term, of_term in columns.items()}
            times[table].append(time.perf_counter() - begun)
            assert {term: len(each) for term, each in lists.items()} == {term: len(whole[term]) for term in terms}
    return {table: float(np.median(each) * 1e3) for table, each in times.items()}


def joined(*columns: Sequence[list[int]]) -> np.ndarray:
    """The postings of blocks of arrays, int64 [n, 3]."""
    return np.stack([np.array(list(itertools.chain.from_iterable(column))) for column in columns], axis=1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=20_000)
    main(parser.parse_args().texts)
