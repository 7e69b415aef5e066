"""What a reproduction consists of: CSV tables, figures and two paragraphs; how they become files."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from weighbridge.app.charts import Chart, svg

__all__ = ["Item", "files", "shown"]

_HEAD = """# Reproduction and errata

<!-- Written by `python docs/reproduction/reproduce.py`; a test fails if this differs from what it computes. -->

Two papers' numbers, computed again from their formulas, with nothing fitted. *Printed* is what the paper shows;
everything else was computed here. Each section can be checked by hand from its two paragraphs, or by running
`python docs/reproduction/reproduce.py`, which rewrites every file in this folder. The formulas are in
[shavit.py](shavit.py) and [agreement.py](agreement.py), written again from the papers and independent of the library;
the tests compare the two.

- Shavit 2023, *What does it take to catch a Chinchilla?*, arXiv 2303.11341
- Scher, Abecassis, Barnett and Abeyta 2025, *An international agreement to prevent the premature creation of
  artificial superintelligence*, arXiv 2511.10783, version 2
"""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing reproduced.

    Attributes:
        name: stem of its files.
        title: heading.
        tables: file name to columns and rows.
        figure: one chart.
        paragraphs: what was found, and how to check it in ten minutes.
    """

    name: str
    title: str
    tables: dict[str, tuple[Sequence[str], Sequence[Sequence[object]]]]
    figure: Chart
    paragraphs: tuple[str, str]


def shown(value: object) -> str:
    """Returns a cell: numbers with ten significant digits, so that the last bits of a machine do not show."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value)


def files(items: Sequence[Item]) -> dict[str, str]:
    """Returns every file's name and text."""
    found = {}
    sections = [_HEAD]
    for item in items:
        for name, (columns, rows) in item.tables.items():
            found[name] = _csv(columns, rows)
        figure = f"{item.name}.svg"
        found[figure] = svg([item.figure], title=item.figure.title)
        links = ", ".join(f"[{name}]({name})" for name in item.tables)
        body = "\n\n".join(_wrapped(paragraph) for paragraph in item.paragraphs)
        sections.append(f"## {item.title}\n![{item.figure.title}]({figure})\n\n{body}\n\nData: {links}.\n")
    found["README.md"] = "\n".join(sections)
    return found


def _csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([shown(cell) for cell in row] for row in rows)
    return text.getvalue()


def _wrapped(paragraph: str) -> str:
    import textwrap

    return textwrap.fill(" ".join(paragraph.split()), width=120, break_long_words=False, break_on_hyphens=False)
