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


"""Line charts as SVG text: no library, no script, no font file; light and printable."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

# Okabe and Ito's colours, told apart by readers with any colour vision; yellow is left out.
COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00', '#000000')
_INK, _FAINT, _GRID = '#1f2328', '#59636e', '#e4e7eb'
_PLOT_W, _PLOT_H = 360, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 18, 40, 50
_HEAD, _ROW = 62, 20
_MOST_TICKS = 6


@dataclass(frozen=True)
class Line:
    """One line of a panel.

    Attributes:
        name: For the legend; lines of the same name in several panels share an entry.
        x: Places.
        y: Values there; None leaves a gap.
        low, high: Ends of the interval around each value, drawn as a band; empty for none.
        colour: Index into COLOURS.
        dashed: Whether it is dashed.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    colour: int = 0
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """One pair of axes; the vertical one starts at zero.

    Attributes:
        title: Heading.
        x_label: Below the horizontal axis.
        lines: What is drawn; of a logarithmic panel all places are positive.
        log_x: Whether equal ratios of places are equally far apart.
    """

    title: str
    x_label: str
    lines: Sequence[Line]
    log_x: bool = False


def line_chart(title: str, subtitle: str, panels: Sequence[Panel]) -> str:
    """Draw panels side by side with one legend below them.

    Returns:
        A whole SVG document.
    """
    step = _LEFT + _PLOT_W + _RIGHT
    width = step * max(len(panels), 1)
    entries = list({line.name: line for panel in panels for line in panel.lines}.values())
    legend, rows = _legend(entries, width)
    height = _HEAD + _TOP + _PLOT_H + _BOTTOM + _ROW * rows + 14
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">',
        f'<title>{html.escape(title)}</title>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(_LEFT, 28, title, size=17, weight=600),
        _text(_LEFT, 48, subtitle, size=12, fill=_FAINT),
    ]
    for index, panel in enumerate(panels):
        parts.append(f'<g transform="translate({index * step + _LEFT},{_HEAD + _TOP})">')
        parts += _panel(panel)
        parts.append('</g>')
    parts.append(f'<g transform="translate({_LEFT},{_HEAD + _TOP + _PLOT_H + _BOTTOM})">')
    parts += [*legend, '</g>', '</svg>']
    return '\n'.join(parts) + '\n'


def ticks(low: float, high: float, most: int = _MOST_TICKS) -> list[float]:
    """Round numbers (steps of 1, 2 or 5 times a power of ten) that cover [low, high].

    Args:
        low: Lowest value to cover.
        high: Highest; above ``low``.
        most: Most steps.
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten that cover [low, high], both positive."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = [m * 10.0**power for power in powers for m in (1, 2, 5)]
    first = max((s for s in steps if s <= low), default=low)
    last = min((s for s in steps if s >= high), default=high)
    return [s for s in steps if first <= s <= last]


def _panel(panel: Panel) -> list[str]:
    xs = sorted({x for line in panel.lines for x in line.x})
    values = [v for s in panel.lines for v in (*s.y, *s.high) if v is not None]
    y_ticks = ticks(0.0, max([0.0, *values]) or 1.0)
    x_low, x_high = (xs[0], xs[-1]) if xs else (1.0, 2.0)
    if panel.log_x:
        x_ticks = log_ticks(x_low, x_high)
    else:
        if x_low == x_high:
            x_low, x_high = x_low - 0.5, x_high + 0.5
        # The places that were measured are the ticks, unless they are too many to read.
        x_ticks = xs if 0 < len(xs) <= _MOST_TICKS + 3 else ticks(x_low, x_high)
    place = math.log10 if panel.log_x else float
    first = place(min(x_low, x_ticks[0]))
    width = (place(max(x_high, x_ticks[-1])) - first) or 1.0
    edge = 0.03 * width

    def px(x: float) -> float:
        return _PLOT_W * (place(x) - first + edge) / (width + 2 * edge)

    def py(y: float) -> float:
        return _PLOT_H * (1 - y / y_ticks[-1])

    parts = [_text(0, -16, panel.title, size=14, weight=600)]
    for y in y_ticks:
        stroke = _FAINT if y == 0 else _GRID
        parts.append(
            f'<line x1="0" x2="{_PLOT_W}" y1="{py(y):.1f}" y2="{py(y):.1f}" stroke="{stroke}"/>'
        )
        parts.append(_text(-9, py(y) + 4, _label(y), size=12, fill=_FAINT, anchor='end'))
    taken = -math.inf
    for x in x_ticks:
        parts.append(
            f'<line x1="{px(x):.1f}" x2="{px(x):.1f}" y1="{_PLOT_H}" y2="{_PLOT_H + 5}" '
            f'stroke="{_FAINT}"/>'
        )
        label, half = _label(x), 3.6 * len(_label(x))
        if px(x) - half > taken + 4:  # labels must not touch
            parts.append(_text(px(x), _PLOT_H + 20, label, size=12, fill=_FAINT, anchor='middle'))
            taken = px(x) + half
    parts.append(
        _text(_PLOT_W / 2, _PLOT_H + 38, panel.x_label, size=12, fill=_INK, anchor='middle')
    )
    for line in panel.lines:
        for band in _runs(line, with_band=True):
            there = [(px(x), py(max(h, 0.0))) for x, _, _, h in band]
            back = [(px(x), py(max(low, 0.0))) for x, _, low, _ in reversed(band)]
            parts.append(
                f'<polygon points="{_points([*there, *back])}" '
                f'fill="{_colour(line)}" fill-opacity="0.13"/>'
            )
    for line in panel.lines:
        for run in _runs(line, with_band=False):
            path = _points([(px(x), py(y)) for x, y, _, _ in run])
            parts.append(
                f'<polyline points="{path}" fill="none" stroke="{_colour(line)}" '
                f'stroke-width="2" stroke-linejoin="round"{_dash(line)}/>'
            )
            for x, y, _, _ in run:
                fill = '#ffffff' if line.dashed else _colour(line)
                parts.append(
                    f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="3.2" fill="{fill}" '
                    f'stroke="{_colour(line)}" stroke-width="1.6">'
                    f'<title>{html.escape(line.name)}: {_label(x)} → {y:.4g}</title></circle>'
                )
    return parts


def _runs(line: Line, *, with_band: bool) -> list[list[tuple[float, float, float, float]]]:
    """Stretches (x, y, low, high) without a gap, in the order of x."""
    n = len(line.x)
    lows, highs = line.low or [None] * n, line.high or [None] * n
    runs: list[list[tuple[float, float, float, float]]] = [[]]
    for x, y, low, high in sorted(
        zip(line.x, line.y, lows, highs, strict=True), key=lambda row: row[0]
    ):
        known = y is not None and (not with_band or (low is not None and high is not None))
        if known and y is not None:
            runs[-1].append((x, y, y if low is None else low, y if high is None else high))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _legend(entries: Sequence[Line], width: int) -> tuple[list[str], int]:
    """Entries from left to right in as many rows as they need."""
    parts: list[str] = []
    x, row = 0.0, 0
    for line in entries:
        wide = 44 + 6.6 * len(line.name)
        if x and x + wide > width - _LEFT - _RIGHT:
            x, row = 0.0, row + 1
        y = row * _ROW + 10
        parts.append(
            f'<line x1="{x:.1f}" x2="{x + 26:.1f}" y1="{y}" y2="{y}" stroke="{_colour(line)}" '
            f'stroke-width="2"{_dash(line)}/>'
        )
        parts.append(_text(x + 32, y + 4, line.name, size=12))
        x += wide
    return parts, row + 1


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int,
    weight: int = 400,
    fill: str = _INK,
    anchor: str = 'start',
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{fill}" '
        f'text-anchor="{anchor}">{html.escape(text)}</text>'
    )


def _points(places: Sequence[tuple[float, float]]) -> str:
    return ' '.join(f'{x:.1f},{y:.1f}' for x, y in places)


def _colour(line: Line) -> str:
    return COLOURS[line.colour % len(COLOURS)]


def _dash(line: Line) -> str:
    return ' stroke-dasharray="5 4"' if line.dashed else ''


def _label(value: float) -> str:
    """Shortest way to write a tick; rounding of the steps does not show."""
    return f'{round(value, 10):g}'.replace('-', '−')
