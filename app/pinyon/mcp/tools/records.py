"""Tools about records: store, fetch, and count by the values of a field."""

import msgspec

from pinyon.errors import FailedPrecondition
from pinyon.mcp import arguments, results
from pinyon.mcp.shortening import (
    ANSWER_CHARACTERS,
    VALUE_CHARACTERS,
    WHOLE_VALUE_CHARACTERS,
    fitting,
    names,
    short_fields,
    short_text,
)
from pinyon.mcp.tool import Services, Tool
from pinyon.mcp.tools.indexes import text_index

FACET_CHARACTERS = 300
"""The most characters of a value that is counted."""


async def upsert_records(services: Services, given: arguments.UpsertRecords) -> results.Upserted:
    """Embed and store records, all or none."""
    if services.read_only:
        raise FailedPrecondition("This server only reads its data; no records can be stored")
    index = text_index(services, given.name)
    services.limits.check_body(sum(len(msgspec.json.encode(record)) for record in given.records))
    done = await services.records.upsert(index, given.namespace, given.records)
    notes = []
    if done.truncated:
        notes.append(
            f"{done.truncated} texts are longer than the model reads, so only their beginnings can be found by "
            "meaning. Store long texts as several records."
        )
    return results.Upserted(done.count, done.models, notes)


async def fetch_records(services: Services, given: arguments.FetchRecords) -> results.FetchedRecords:
    """Records by their ids, with long values."""
    index = services.indexes.index(given.name)
    fetched = (await services.vectors.fetch(index, given.namespace, given.ids)).records
    notes, rows = [], []
    for record in fetched:
        chosen = {
            name: value for name, value in record.metadata.items() if given.fields is None or name in given.fields
        }
        fields, cut = short_fields(chosen, WHOLE_VALUE_CHARACTERS, ANSWER_CHARACTERS, given.text_offset)
        rows.append((results.Record(record.id, fields), cut))
    shown = fitting(rows, lambda row: row[0])
    for row, cut in shown:
        if cut:
            notes.append(
                f"Of record '{row.id[:80]}', these fields are cut or left out: {names(cut)}. For the rest, fetch this "
                f"record alone with `fields` and textOffset: {given.text_offset + WHOLE_VALUE_CHARACTERS}."
            )
    if len(shown) < len(rows):
        left = [row.id for row, _ in rows[len(shown) :]]
        notes.append(f"{len(left)} records did not fit into the answer; fetch them by another call: {names(left, 50)}")
    known = {record.id for record in fetched}
    return results.FetchedRecords([row for row, _ in shown], [id for id in given.ids if id not in known], notes)


async def facet_values(services: Services, given: arguments.FacetValues) -> results.Facets:
    """The values of a field, and how many records have each."""
    index = services.indexes.index(given.name)
    counted = await services.facets.count(index, given.namespace, given.field, given.filter, given.limit)
    notes, values = [], []
    for facet in counted.facets:
        value = facet.value
        if isinstance(value, str) and len(value) > FACET_CHARACTERS:
            value = short_text(value, FACET_CHARACTERS)
            note = f"Values with more than {FACET_CHARACTERS} characters are cut; a filter needs them whole."
            notes = [note]
        values.append(results.FacetValue(value, facet.count))
    if len(values) < counted.distinct:
        notes.append(
            f"The {len(values)} most frequent of {counted.distinct:,} values are shown. For others, raise limit (at "
            "most 100) or add a filter."
        )
    return results.Facets(values, counted.distinct, counted.records, counted.missing, notes)


TOOLS = [
    Tool(
        "upsert-records",
        "Store records",
        "Store records in an index that embeds text, all or none. A record with an id that exists is replaced. They "
        "can be found as soon as this tool has answered.",
        arguments.UpsertRecords,
        results.Upserted,
        upsert_records,
        scope="write",
        destroys=True,
    ),
    Tool(
        "fetch-records",
        "Fetch records",
        "Fetch records by their ids, to read texts that search-records has cut. Values longer than "
        f"{WHOLE_VALUE_CHARACTERS:,} characters are shown piece by piece, with textOffset; search-records shows "
        f"{VALUE_CHARACTERS:,} characters.",
        arguments.FetchRecords,
        results.FetchedRecords,
        fetch_records,
    ),
    Tool(
        "facet-values",
        "Count the values of a field",
        "Count exactly how many records of a namespace have which values of a field, the most frequent first. Use it "
        "before you write a filter, or to answer 'how many'.",
        arguments.FacetValues,
        results.Facets,
        facet_values,
    ),
]
