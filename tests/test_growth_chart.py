"""The chart of docs/performance.md shows what benchmarks/results.md says."""

from benchmarks import growth

TABLES = """# Results

## Nearest neighbours, 10 vectors (all compared)

As loaded

| k | p50 ms | p95 ms | numpy p50 ms | ratio | recall@k |
|---|---|---|---|---|---|
| 10 | 0.50 | 0.60 | 1.00 | 0.500 | 1.0000 |

## Nearest neighbours, 100 vectors, all compared

As loaded

| k | p50 ms | p95 ms | numpy p50 ms | ratio | recall@k |
|---|---|---|---|---|---|
| 10 | 9.00 | 9.00 | 9.00 | 1.000 | 1.0000 |

## Nearest neighbours, 1,000 vectors

As loaded

| k | p50 ms | p95 ms | numpy p50 ms | ratio | recall@k |
|---|---|---|---|---|---|
| 10 | 2.00 | 2.20 | 8.00 | 0.250 | 0.9990 |

After the changes

| k | p50 ms | p95 ms | numpy p50 ms | ratio | recall@k |
|---|---|---|---|---|---|
| 10 | 7.00 | 7.00 | 7.00 | 1.000 | 0.9990 |
"""


def test_the_chart_in_docs_is_drawn_from_the_results_as_they_are() -> None:
    assert growth.CHART.read_text(encoding="utf-8") == growth.draw(growth.RESULTS.read_text(encoding="utf-8"))


def test_only_the_tables_of_freshly_loaded_records_are_drawn() -> None:
    assert growth.rows(TABLES) == [growth.Row(10, 10, 0.5, 1.0), growth.Row(1000, 10, 2.0, 8.0)]
