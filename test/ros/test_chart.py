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


"""SVG charts: well formed, ticks that can be read, gaps and bands where they belong."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_ros.report.chart import COLOURS, Line, Panel, line_chart, log_ticks, ticks

SVG = '{http://www.w3.org/2000/svg}'


def drawn(*lines: Line, title: str = 'title') -> ElementTree.Element:
    text = line_chart(title, 'about', [Panel('panel', 'x, unit', lines)])
    return ElementTree.fromstring(text)  # noqa: S314 - our own text


def words(root: ElementTree.Element) -> list[str]:
    return [element.text or '' for element in root.iter(f'{SVG}text')]


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 10))
def test_ticks_are_few_even_round_and_cover_the_range(low: float, span: float, most: int) -> None:
    high = low + span
    if high - low < 1e-9 * abs(low) or high == low:
        return
    found = ticks(low, high, most)
    step = (found[-1] - found[0]) / (len(found) - 1)
    assert len(found) - 1 <= most + 1
    assert found[0] <= low + 1e-6 * step
    assert found[-1] >= high - 1e-6 * step
    mantissa = float(f'{step:.6e}'.split('e')[0])
    assert mantissa == pytest.approx(min((1, 2, 5, 10), key=lambda m: abs(m - mantissa)), rel=1e-3)


def test_every_line_is_drawn_and_named_once() -> None:
    lines = [Line(name, [0, 1, 2], [0.1, 0.2, 0.3], colour=k) for k, name in enumerate('abc')]
    text = line_chart('t', 's', [Panel(p, 'x', lines) for p in ('one', 'two')])
    root = ElementTree.fromstring(text)  # noqa: S314 - our own text
    assert len(root.findall(f'.//{SVG}polyline')) == 6
    assert len(root.findall(f'.//{SVG}circle')) == 18
    assert [words(root).count(name) for name in 'abc'] == [1, 1, 1]
    assert {p.get('stroke') for p in root.iter(f'{SVG}polyline')} == set(COLOURS[:3])


def test_larger_values_are_higher_and_nothing_leaves_the_axes() -> None:
    (path,) = drawn(Line('a', [0, 5, 10], [0.0, 0.42, 0.13])).iter(f'{SVG}polyline')
    places = [tuple(map(float, p.split(','))) for p in (path.get('points') or '').split()]
    xs, ys = zip(*places, strict=True)
    assert list(xs) == sorted(xs)
    assert ys[1] < ys[2] < ys[0]
    assert all(0 <= x <= 360 and 0 <= y <= 250 for x, y in places)


def test_an_undefined_value_leaves_a_gap() -> None:
    root = drawn(Line('a', [0, 1, 2, 3, 4], [0.1, 0.2, None, 0.3, 0.4]))
    assert len(root.findall(f'.//{SVG}polyline')) == 2
    assert len(root.findall(f'.//{SVG}circle')) == 4


def test_bands_are_drawn_where_both_ends_are_known() -> None:
    bare = drawn(Line('a', [0, 1], [0.1, 0.2]))
    assert bare.findall(f'.//{SVG}polygon') == []
    banded = drawn(Line('a', [0, 1, 2], [0.1, 0.2, 0.3], [0.05, None, 0.2], [0.2, 0.3, 0.4]))
    assert len(banded.findall(f'.//{SVG}polygon')) == 2


def test_points_out_of_order_are_joined_in_order() -> None:
    (path,) = drawn(Line('a', [2, 0, 1], [0.3, 0.1, 0.2])).iter(f'{SVG}polyline')
    xs = [float(p.split(',')[0]) for p in (path.get('points') or '').split()]
    assert xs == sorted(xs)


def test_names_are_escaped() -> None:
    root = drawn(Line('<a & b>', [0, 1], [1, 2]), title='"<&>"')
    assert '<a & b>' in words(root)
    assert '"<&>"' in words(root)


@pytest.mark.parametrize('lines', [[], [Line('a', [3], [0.5])], [Line('a', [1, 2], [None, None])]])
def test_a_single_point_and_nothing_at_all_can_be_drawn(lines: list[Line]) -> None:
    assert 'x, unit' in words(drawn(*lines))


def test_dashed_lines_are_dashed() -> None:
    root = drawn(Line('a', [0, 1], [1, 2]), Line('b', [0, 1], [1, 2], dashed=True))
    dashes = [p.get('stroke-dasharray') for p in root.iter(f'{SVG}polyline')]
    assert dashes == [None, '5 4']


@given(low=st.floats(1e-3, 1e3), ratio=st.floats(1, 1e4))
def test_ticks_of_a_logarithmic_axis_cover_it(low: float, ratio: float) -> None:
    found = log_ticks(low, low * ratio)
    assert found[0] <= low
    assert found[-1] >= low * ratio * (1 - 1e-12)
    assert found == sorted(found)
    assert all(float(f'{t:.1g}') == pytest.approx(t) for t in found)


def test_equal_ratios_are_equally_far_apart_on_a_logarithmic_axis() -> None:
    line = Line('a', [1.0, 10.0, 100.0], [0.1, 0.2, 0.3])
    root = ElementTree.fromstring(line_chart('t', 's', [Panel('p', 'x', [line], log_x=True)]))  # noqa: S314
    places = [float(c.get('cx', '')) for c in root.iter('{http://www.w3.org/2000/svg}circle')]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=0.2)
