"""Tables that fit the terminal: long columns break lines, or go below their row where there is no room for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text

GAP = 2
HEAD_LINES = 2
LEAST_WRAP = 24
"""Letters that a column which may break lines needs at least, before it goes below its row."""


@dataclass
class Sheet:
    """A table of plain text.

    Attributes
    ----------
    columns : their headings; no heading is shown when all are empty.
    words : places of the columns of words; the others are numbers, on the right.
    wrap : places of the columns that may break lines.
    """

    columns: tuple[str, ...]
    words: Sequence[int] = (0,)
    wrap: Sequence[int] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """Add a row."""
        self.rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        every = range(len(self.columns))
        kept = [i for i in every if i not in self.wrap]
        if self._least_width(every) <= options.max_width:
            yield self._grid(every, self.wrap)
        elif self.wrap and self._least_width(kept) <= options.max_width:
            yield from self._hung(console, options, kept)
        else:
            yield self._grid(every, every)

    def _least_width(self, columns: Iterable[int]) -> int:
        """Letters of a line that holds these columns."""
        widths = []
        for i in columns:
            cells = [self.columns[i], *(row[i] for row in self.rows)]
            longest = max(cell_len(cell) for cell in cells)
            if i in self.wrap:
                word = max((cell_len(word) for cell in cells for word in cell.split()), default=0)
                longest = min(longest, max(word, LEAST_WRAP))
            widths.append(longest + GAP)
        return sum(widths) - GAP

    def _grid(self, columns: Iterable[int], wrap: Iterable[int]) -> Table:
        chosen, broken = list(columns), set(wrap)
        made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True, header_style="bold")
        made.show_header = any(self.columns)
        for i in chosen:
            made.add_column(
                Text(self.columns[i]),
                justify="left" if i in self.words else "right",
                overflow="fold",
                no_wrap=i not in broken,
            )
        for row in self.rows:
            made.add_row(*(Text(row[i]) for i in chosen))
        return made

    def _hung(self, console: Console, options: ConsoleOptions, kept: Sequence[int]) -> Iterator[RenderableType]:
        """The columns that need no breaks as a table, the others below each row."""
        lines = console.render_lines(self._grid(kept, ()), options, pad=False)
        head = HEAD_LINES if any(self.columns) else 0
        for line in lines[:head]:
            yield Segments([*line, Segment.line()])
        for row, line in zip(self.rows, lines[head:], strict=True):
            yield Segments([*line, Segment.line()])
            for i in self.wrap:
                if row[i]:
                    yield Padding(Text(f"{self.columns[i]}: {row[i]}"), (0, 0, 0, 2 * GAP))


def put(console: Console, content: RenderableType, indent: int = 0) -> None:
    """Print something some columns in, without blanks at the end of a line."""
    room = console.options.update_width(max(1, console.width - indent))
    for line in console.render_lines(content, room, pad=False):
        while line and not line[-1].text.strip():
            line.pop()
        if line:
            last = line[-1]
            line[-1] = Segment(last.text.rstrip(), last.style)
            line.insert(0, Segment(" " * indent))
        console.print(Segments([*line, Segment.line()]), end="")
