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


"""`cooptrack sweep`: one disturbance at several strengths, as numbers, a table and a picture.

Every point is written to ``sweep.json`` as soon as it is there; a sweep that was interrupted goes
on with the points that are missing, and more values can be added later.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cooptrack_core.datasets.v2x_seq import V2XSeqDataset
from cooptrack_core.errors import InputError
from cooptrack_core.evaluation.bootstrap import METRICS
from cooptrack_core.files import write_text_atomically
from cooptrack_core.perception import StreamOptions
from cooptrack_core.perception.evaluate import EvaluationOptions, evaluate_dataset
from cooptrack_ros.commands.common import (
    disturbed_stream_options,
    load_models,
    method_names,
    open_for_evaluation,
)
from cooptrack_ros.commands.sweep_file import (
    open_document,
    settings_of,
    without_classes,
    write_document,
)
from cooptrack_ros.console import Terminal, emit_json, number
from cooptrack_ros.report.chart import Line, Panel, line_chart

TITLES = {'mean_ap': 'mean AP', 'amota': 'AMOTA'}
# A method keeps its colour from picture to picture; others take what is left.
_COLOURS = {
    'no_fusion': 6,
    'roadside_only': 3,
    'late_fusion': 2,
    'rule_matching': 1,
    'cooptrack': 0,
}


@dataclass(frozen=True)
class Axis:
    """What is swept.

    Attributes:
        label: Name and unit, for tables and pictures.
        low: Smallest value.
        high: Largest value.
        whole: Whether values are whole numbers.
        both_ways: Whether each value is also evaluated without compensation.
        deaf: Methods that it cannot change; they run at the first point only.
    """

    label: str
    low: float = 0.0
    high: float = math.inf
    whole: bool = False
    both_ways: bool = False
    deaf: tuple[str, ...] = ('no_fusion', 'roadside_only')


AXES = {
    'latency': Axis('latency, ms', both_ways=True),
    'loss': Axis('share of messages lost', high=1.0),
    'pose': Axis('pose error σ, m and degrees'),
    'rotation': Axis('heading error σ, degrees'),
    'clock': Axis('clocks of the senders ahead, ms', low=-math.inf),
    # Roadside units are remote agents too.
    'agents': Axis('remote agents', whole=True, deaf=('no_fusion',)),
}


@dataclass(frozen=True)
class Setting:
    """One point to evaluate."""

    value: float
    compensate: bool

    def matches(self, point: dict[str, Any]) -> bool:
        """Whether a finished point is this one."""
        return bool(point['value'] == self.value and point['compensate'] == self.compensate)


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Evaluate point by point."""
    if options.map:
        from cooptrack_ros.commands import sweep_map

        return sweep_map.run(options, terminal)
    if options.over == 'bytes':
        from cooptrack_ros.commands import sweep_bytes

        return sweep_bytes.run(options, terminal)
    if options.values is None:
        raise InputError('there is no value', field='--values', remedy='for example 0,100,200')
    if options.over not in AXES:
        raise InputError(
            f'tracks are not swept over {options.over}', field='--over', remedy='say --map'
        )
    dataset = open_for_evaluation(options, terminal)
    base = disturbed_stream_options(options)
    axis = AXES[options.over]
    values = read_values(options.values, axis)
    remotes = len(dataset.agents) - 1
    if options.over == 'agents' and max(values) > remotes:
        raise InputError(
            f'the dataset has {remotes} remote agents',
            path=dataset.root,
            field='--values',
            remedy=f'give numbers from 0 to {remotes}; preset multi_agent simulates more',
        )
    names = method_names(options.methods)
    models = load_models(options)
    target = options.output / 'sweep.json'
    new = {
        'settings': settings_of(options, dataset, models, names, base),
        'axis': axis.label,
        'protocol': None,
        'points': [],
    }
    keys = ('value', 'compensate', 'methods')
    document = open_document(target, new, keys, overwrite=options.overwrite)
    ways = (True, False) if axis.both_ways else (base.compensate,)
    for setting in [Setting(value, way) for value in values for way in ways]:
        if any(setting.matches(point) for point in document['points']):
            continue
        first = document['points'][0] if document['points'] else None
        what = f'{axis.label}: {setting.value:g}' + ('' if setting.compensate else ', no comp.')
        with terminal.progress(what) as progress:
            evaluation = _evaluation(options, names, base, setting, dataset, first)
            result = evaluate_dataset(dataset, models, evaluation, progress)
        document['points'].append(_point(setting, result, first, names))
        document['points'].sort(key=lambda p: (p['value'], not p['compensate']))
        if document['protocol'] is None:
            document['protocol'] = {k: v for k, v in result['protocol'].items() if k != 'radio'}
        write_document(target, document)
    picture = options.output / 'sweep.svg'
    write_text_atomically(picture, draw(document))
    show(document, terminal)
    terminal.say(f'written: {target}, {picture}')
    emit_json(document, options.json)
    return 0


def read_values(text: str, axis: Axis) -> tuple[float, ...]:
    """Read the values to evaluate, rising, each once.

    Raises:
        InputError: One is no number, or out of range.
    """
    values = []
    for part in (p.strip() for p in text.split(',') if p.strip()):
        try:
            value = float(part)
        except ValueError:
            value = math.nan
        if not (axis.low <= value <= axis.high and math.isfinite(value)) or (
            axis.whole and value != round(value)
        ):
            end = '' if math.isinf(axis.high) else f' to {axis.high:g}'
            begin = '' if math.isinf(axis.low) else f' from {axis.low:g}'
            kind = 'whole numbers' if axis.whole else 'numbers'
            raise InputError(
                f"'{part}' is no value of: {axis.label}",
                field='--values',
                remedy=f'give {kind}{begin}{end}, separated by commas',
            )
        values.append(value)
    if not values:
        raise InputError('there is no value', field='--values', remedy='for example 0,100,200')
    return tuple(sorted(set(values)))


def stream_at(over: str, setting: Setting, base: StreamOptions, period_ms: float) -> StreamOptions:
    """Settings of the radio at a point.

    Args:
        over: What is swept, see AXES.
        setting: The point.
        base: Everything else.
        period_ms: Time between two frames of the ego.
    """
    value, wrong = setting.value, base.disturbance
    stream = replace(base, compensate=setting.compensate)
    if over == 'latency':
        # What the inbox would drop says nothing about fusing late messages: they must get in. A
        # message waits up to a period for the next ego frame.
        needed = value + 3 * base.jitter_ms + 1.5 * period_ms
        return replace(stream, latency_ms=value, max_age_ms=max(base.max_age_ms, needed))
    if over == 'loss':
        return replace(stream, loss=value)
    if over == 'pose':
        wrong = replace(wrong, pose_noise_m=value, pose_noise_deg=value)
    elif over == 'rotation':
        wrong = replace(wrong, pose_noise_deg=value)
    elif over == 'clock':
        wrong = replace(wrong, clock_skew_ms=value)
    return replace(stream, disturbance=wrong)


def _evaluation(
    options: argparse.Namespace,
    names: tuple[str, ...],
    base: StreamOptions,
    setting: Setting,
    dataset: V2XSeqDataset,
    first: dict[str, Any] | None,
) -> EvaluationOptions:
    """What is run at a point; methods that cannot change are not run again."""
    axis, rate = AXES[options.over], options.rate or dataset.protocol['frequency_hz'] or 10.0
    needed = names if first is None else tuple(n for n in names if n not in axis.deaf)
    return EvaluationOptions(
        needed,
        stream_at(options.over, setting, base, 1000.0 / rate),
        options.scenes,
        options.rate,
        int(setting.value) if options.over == 'agents' else options.remotes,
        intervals=True,
        timing=True,
        workers=options.workers,
    )


def _point(
    setting: Setting, result: dict[str, Any], first: dict[str, Any] | None, names: Sequence[str]
) -> dict[str, Any]:
    """What is kept of an evaluation."""
    ran = result['methods']
    copied = [n for n in names if first is not None and n not in ran and n in first['methods']]
    source = {n: first['methods'][n] for n in copied} if first else {}
    intervals = {n: first['intervals'][n] for n in copied if first and n in first['intervals']}
    # Without any message a format may be absent.
    traffic = result['traffic'].get(result['protocol']['radio']['dtype'], {'messages': 0})
    frames = max((m['frames'] for m in {**source, **ran}.values()), default=0)
    sent = traffic['messages'] * (traffic.get('bytes_per_message') or 0.0)
    return {
        'value': setting.value,
        'compensate': setting.compensate,
        'radio': result['protocol']['radio'],
        'remote_agents': result['protocol']['remote_agents'],
        'methods': {n: without_classes((ran | source)[n]) for n in names if n in ran | source},
        'intervals': intervals | result.get('intervals', {}).get('methods', {}),
        'copied_from_first_point': copied,
        'bytes_per_second': traffic.get('bytes_per_second'),
        'bytes_per_frame': sent / frames if frames else None,
        'seconds_per_frame': result['seconds_per_frame'],
        'inbox': result['inbox'],
    }


def show(document: dict[str, Any], terminal: Terminal) -> None:
    """Print one table per metric, and what the radio did."""
    names, points = document['settings']['methods'], document['points']
    both = len({point['compensate'] for point in points}) > 1

    def head(point: dict[str, Any]) -> str:
        return f'{point["value"]:g}' + (' no comp.' if both and not point['compensate'] else '')

    for metric, title in TITLES.items():
        rows = [
            [head(p), *(number(p['methods'].get(n, {}).get(metric)) for n in names)]
            for p in points
        ]
        terminal.table(title, [document['axis'], *names], rows)
    rows = []
    for point in points:
        inbox = point['inbox']
        dropped = {k: n for k, n in inbox.items() if k not in ('received', 'accepted')}
        slowest = max(point['seconds_per_frame'].values(), default=None)
        rows.append(
            [
                head(point),
                str(inbox.get('received', 0)),
                str(inbox.get('accepted', 0)),
                ', '.join(f'{k} {n}' for k, n in dropped.items()) or '–',
                number(point['radio']['max_age_ms'], 0),
                number(point['bytes_per_frame'], 0),
                number(None if slowest is None else slowest * 1e3, 1),
            ]
        )
    header = ['received', 'accepted', 'dropped', 'max age ms', 'bytes/frame', 'ms/frame']
    terminal.table('messages', [document['axis'], *header], rows)


def draw(document: dict[str, Any]) -> str:
    """Draw the sweep: both metrics, and for numbers of agents also bytes and time."""
    settings, points = document['settings'], document['points']
    panels = [Panel(TITLES[m], document['axis'], _lines(document, m)) for m in METRICS]
    if settings['over'] == 'agents':
        x = [point['value'] for point in points]
        kilobytes = [_scaled(point['bytes_per_frame'], 1e-3) for point in points]
        panels.append(
            Panel('kB per frame', document['axis'], [Line('messages', x, kilobytes, colour=4)])
        )
        times = [
            Line(
                name,
                x,
                [_scaled(point['seconds_per_frame'].get(name), 1e3) for point in points],
                colour=_COLOURS.get(name, index),
            )
            for index, name in enumerate(settings['methods'])
            if name not in AXES['agents'].deaf
        ]
        panels.append(Panel('ms per frame of the ego', document['axis'], times))
    frames = {m['frames'] for p in points for m in p['methods'].values()}
    several = any(point['intervals'] for point in points) and _scene_count(document) > 1
    count = _scene_count(document)
    about = f'{settings["data"]}: {count} scene{"s" * (count != 1)}, '
    about += f'{max(frames, default=0)} frames'
    about += '; bands: 95 % intervals over scenes' if several else ''
    return line_chart(f'Accuracy over {document["axis"]}', about, panels)


def _lines(document: dict[str, Any], metric: str) -> list[Line]:
    settings, axis = document['settings'], AXES[document['settings']['over']]
    lines = []
    for index, name in enumerate(settings['methods']):
        deaf = name in axis.deaf
        for compensate in (True, False):
            points = [p for p in document['points'] if p['compensate'] == compensate]
            # What takes no message is one line, not two upon each other.
            if not points or (deaf and not compensate and axis.both_ways):
                continue
            bands = [p['intervals'].get(name, {}).get(metric, {}) for p in points]
            banded = _scene_count(document) > 1
            lines.append(
                Line(
                    name if compensate or not axis.both_ways else f'{name}, not compensated',
                    [p['value'] for p in points],
                    [p['methods'].get(name, {}).get(metric) for p in points],
                    [b.get('low') for b in bands] if banded else (),
                    [b.get('high') for b in bands] if banded else (),
                    colour=_COLOURS.get(name, index),
                    dashed=axis.both_ways and not compensate,
                )
            )
    return lines


def _scene_count(document: dict[str, Any]) -> int:
    protocol = document['protocol'] or {}
    return int(protocol.get('scenes', 0))


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
