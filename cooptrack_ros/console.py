# Copyright 2026 cooptrack_ros contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""What the commands print: progress of long work, tables of results, JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cooptrack_core.files import write_text_atomically

# (done, total): what every long function of the library reports to.
ProgressCallback = Callable[[int, int], None]


class Terminal:
    """Output of one command: progress and results on stderr, JSON on stdout or in a file.

    Args:
        quiet: Print errors only.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        """Open the terminal; see the class."""
        self.quiet = quiet
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        if not self.console.is_terminal:
            # A log has no width of its own, and rich's 80 columns would cut the tables.
            self.console = Console(stderr=True, quiet=quiet, highlight=False, width=120)

    def say(self, text: str) -> None:
        """Print a line for the person who runs the command."""
        self.console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def progress(self, what: str) -> Iterator[ProgressCallback]:
        """Show a progress bar and hand out the function that moves it."""
        columns = (
            TextColumn('{task.description}'),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, disable=self.quiet) as bar:
            task = bar.add_task(what, total=None)

            def move(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            yield move

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """Print a table; the first column is text, the others are numbers."""
        table = Table(title=title, title_justify='left')
        for index, column in enumerate(columns):
            left = index == 0
            table.add_column(column, justify='left' if left else 'right', no_wrap=left)
        for row in rows:
            table.add_row(*row)
        self.console.print(table)


def number_of_runs(found: Mapping[str, Any], key: str) -> str:
    """A number, and how much it differs between training runs if there are several."""
    deviation = found.get('deviation', {}).get(key)
    return number(found.get(key)) + ('' if deviation is None else f' ± {number(deviation)}')


def number(value: float | int | None, digits: int = 3) -> str:
    """Format a metric; an undefined one is a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return '–'
    return str(value) if isinstance(value, int) else f'{value:.{digits}f}'


def emit_json(data: Mapping[str, Any], target: str | None) -> None:
    """Write JSON to a file, to stdout for ``-``, or nowhere for None.

    Raises:
        ValueError: The data hold NaN or infinity, which is no JSON.
    """
    if target is None:
        return
    text = json.dumps(data, indent=2, allow_nan=False) + '\n'
    if target == '-':
        sys.stdout.write(text)
    else:
        write_text_atomically(Path(target), text)
