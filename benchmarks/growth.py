"""Draw docs/growth.svg: how the time of a search grows with the number of records.

    python -m benchmarks.growth

The numbers are those of benchmarks/results.md: the tables "As loaded" of its sections about nearest neighbours, which
`python -m benchmarks nearest-10k nearest-100k nearest-1m` measures. Nothing is measured here. The picture has colours
of its own for light and dark pages.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).parent
RESULTS = HERE / "results.md"
CHART = HERE.parent / "docs" / "growth.svg"

WIDTH, HEIGHT = 760, 424
LEFT, RIGHT, TOP, BOTTOM = 70, 545, 84, 350
"""Edges of the plot; the lines have their names to the right of it."""
LEAST_MS, MOST_MS = 0.1, 300.0
TICKS_MS = (0.1, 1, 10, 100)
MARKER = 4
LABEL_PX = 17
"""Distance between two labels at the ends of lines."""

STYLE = """
    text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; fill: #52514e }
    .title { font-size: 16px; font-weight: 600; fill: #0b0b0b }
    .paper { fill: #fcfcfb } .grid { stroke: #e4e3df } .line { fill: none; stroke-width: 2 }
    .numpy { stroke: #898781; stroke-dasharray: 5 4 } .dot-numpy { fill: #898781 }
    .k10 { stroke: #2a78d6 } .dot-k10 { fill: #2a78d6 }
    .k100 { stroke: #1baf7a } .dot-k100 { fill: #1baf7a }
    .k1000 { stroke: #4a3aa7 } .dot-k1000 { fill: #4a3aa7 }
    .dot { stroke: #fcfcfb; stroke-width: 2 }
    @media (prefers-color-scheme: dark) {
      text { fill: #c3c2b7 } .title { fill: #ffffff }
      .paper { fill: #1a1a19 } .grid { stroke: #383835 }
      .k10 { stroke: #3987e5 } .dot-k10 { fill: #3987e5 }
      .k100 { stroke: #199e70 } .dot-k100 { fill: #199e70 }
      .k1000 { stroke: #9085e9 } .dot-k1000 { fill: #9085e9 }
      .dot { stroke: #1a1a19 }
    }
"""


@dataclass(frozen=True)
class Row:
    """One row of a table "As loaded": records, k, and the medians of Pinyon and of numpy in milliseconds."""

    records: int
    k: int
    p50_ms: float
    numpy_ms: float


def rows(results: str) -> list[Row]:
    """The rows of all sizes that results.md has. Raises ValueError if it has none."""
    parsed = []
    for section in re.split(r"^## ", results, flags=re.MULTILINE):
        title, _, body = section.partition("\n")
        # "100,000 vectors, all compared" is another measurement of a size that there is already.
        size = re.match(r"Nearest neighbours, ([\d,]+) vectors(?!, all compared)", title)
        table = re.search(r"^As loaded\n\n(\|.*?)(?:\n\n|\Z)", body, re.MULTILINE | re.DOTALL)
        if size is None or table is None:
            continue
        header, _, *lines = ([cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines())
        for line in lines:
            cell = dict(zip(header, line, strict=True))
            records = int(size[1].replace(",", ""))
            parsed.append(Row(records, int(cell["k"]), float(cell["p50 ms"]), float(cell["numpy p50 ms"])))
    if not parsed:
        raise ValueError(f"{RESULTS.name} has no table of nearest neighbours; run `python -m benchmarks nearest-10k`")
    return sorted(parsed, key=lambda row: (row.records, row.k))


def machine(results: str) -> str:
    """The machine that the numbers were measured on, as results.md names it."""
    named = re.search(r"for one\)\. (.*?), Python", results)
    return named[1] if named else "see benchmarks/results.md"


def draw(results: str) -> str:
    """The chart as SVG, from the text of results.md."""
    measured = rows(results)
    sizes = sorted({row.records for row in measured})
    series = [
        ("numpy", "numpy, 10 hits", {row.records: row.numpy_ms for row in measured if row.k == 10}),
        *(
            (f"k{k}", f"Pinyon, {k:,} hits", {row.records: row.p50_ms for row in measured if row.k == k})
            for k in (1000, 100, 10)
        ),
    ]

    def x(records: int) -> float:
        first, last = math.log10(sizes[0]), math.log10(sizes[-1])
        return LEFT + 20 + (RIGHT - LEFT - 30) * (math.log10(records) - first) / max(last - first, 1e-9)

    def y(ms: float) -> float:
        low, high = math.log10(LEAST_MS), math.log10(MOST_MS)
        return BOTTOM - (BOTTOM - TOP) * (math.log10(ms) - low) / (high - low)

    summary = "; ".join(
        f"{name}: " + ", ".join(f"{ms:.2f} ms among {size:,}" for size, ms in times.items())
        for _, name, times in series
    )
    subtitle = f"Median in milliseconds, both axes logarithmic; 384 dimensions; {machine(results)}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img"'
        ' aria-labelledby="t d">',
        "  <!-- Drawn by `python -m benchmarks.growth` from benchmarks/results.md. -->",
        '  <title id="t">Time of one search by number of records</title>',
        f'  <desc id="d">{escape(summary)}</desc>',
        f"  <style>{STYLE}  </style>",
        f'  <rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="8"/>',
        '  <text class="title" x="24" y="34">Time of one search by number of records</text>',
        f'  <text x="24" y="56">{escape(subtitle)}</text>',
    ]
    for ms in TICKS_MS:
        parts.append(f'  <line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y(ms):.1f}" y2="{y(ms):.1f}"/>')
        parts.append(f'  <text x="{LEFT - 10}" y="{y(ms) + 4:.1f}" text-anchor="end">{ms:g} ms</text>')
    for size in sizes:
        parts.append(f'  <text x="{x(size):.1f}" y="{BOTTOM + 24}" text-anchor="middle">{size:,}</text>')
    parts.append(f'  <text x="{(LEFT + RIGHT) / 2:.0f}" y="{BOTTOM + 50}" text-anchor="middle">records</text>')
    lowest_free = 0.0
    for key, name, times in series:
        points = [(x(size), y(ms)) for size, ms in times.items()]
        way = " ".join(f"{left:.1f},{top:.1f}" for left, top in points)
        parts.append(f'  <polyline class="line {key}" points="{way}"/>')
        parts += [
            f'  <circle class="dot dot-{key}" cx="{left:.1f}" cy="{top:.1f}" r="{MARKER}"/>' for left, top in points
        ]
        end, last_ms = points[-1], list(times.values())[-1]
        lowest_free = max(end[1] + 4, lowest_free)
        parts.append(f'  <text x="{end[0] + 14:.1f}" y="{lowest_free:.1f}">{name}: {last_ms:.3g} ms</text>')
        lowest_free += LABEL_PX
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Write the file."""
    CHART.write_text(draw(RESULTS.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
