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

"""`cooptrack sweep --map`: IoU with fewer agents, fewer cameras, or smaller messages."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import Any

import torch

from cooptrack_core.errors import InputError
from cooptrack_core.evaluation.map_protocol import MapProtocol
from cooptrack_core.files import write_text_atomically
from cooptrack_core.perception.map_loading import load_map_model
from cooptrack_core.perception.map_scoreboard import MapEvaluationOptions, evaluate_maps
from cooptrack_core.structures import MAP_CLASSES
from cooptrack_ros.commands.evaluate_map import evaluation_options, map_methods, map_scenes
from cooptrack_ros.console import Terminal, emit_json, number
from cooptrack_ros.report.chart import Line, Panel, line_chart

AXES = {
    'agents': 'agents, the ego included',
    'cameras': 'cameras of the ego lost',
    'compression': 'compression of the channels, times',
}


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Evaluate value by value; ``sweep.json`` grows with each, ``sweep.svg`` is drawn at the end.

    Raises:
        InputError: The axis is none of maps, a value is wrong, or data or weights are unusable.
    """
    torch.set_num_threads(options.threads)
    if options.over not in AXES:
        raise InputError(
            f'maps are not swept over {options.over}',
            field='--over',
            remedy=f'known: {", ".join(AXES)}',
        )
    protocol = MapProtocol(vehicles=options.map_vehicles)
    base, target = evaluation_options(options, protocol), options.output / 'sweep.json'
    document: dict[str, Any] = {'axis': AXES[options.over], 'over': options.over, 'points': []}
    for value, weights in _points(options):
        setting = _at(base, options.over, value)
        # Methods count their messages, so every point has its own.
        methods = map_methods(options, protocol, weights)
        scenes = map_scenes(options.data, options.split, setting.max_agents)[: options.scenes]
        with terminal.progress(f'{AXES[options.over]}: {value}') as progress:
            result = evaluate_maps(scenes, methods, setting, progress)
        document['points'].append({'value': value, **result})
        write_text_atomically(target, json.dumps(document, indent=2, allow_nan=False) + '\n')
    names = list(document['points'][0]['methods'])
    for key in MAP_CLASSES:
        rows = [
            [str(p['value']), *(number(p['methods'][n][key]) for n in names)]
            for p in document['points']
        ]
        terminal.table(f'IoU, {key}', [document['axis'], *names], rows)
    picture = options.output / 'sweep.svg'
    write_text_atomically(picture, draw(document))
    terminal.say(f'written: {target}, {picture}')
    emit_json(document, options.json)
    return 0


def draw(document: dict[str, Any]) -> str:
    """One panel per class, one line per method; SVG."""
    points = document['points']
    x = [float(p['value']) for p in points]
    names = list(points[0]['methods'])
    panels = [
        Panel(
            f'IoU, {key}',
            document['axis'],
            [Line(n, x, *_values_and_band(points, n, key), colour=i) for i, n in enumerate(names)],
        )
        for key in MAP_CLASSES
    ]
    about = points[0]['protocol']
    subtitle = f'{about["moments"]} moments of {about["scenes"]} scenes; {about["vehicles"]}'
    return line_chart(f'Maps: {document["axis"]}', subtitle, panels)


def _values_and_band(points: list[dict[str, Any]], name: str, key: str) -> tuple[Any, ...]:
    """Values of a line; of several training runs also one deviation below and above."""
    found = [p['methods'][name] for p in points]
    values = [one[key] for one in found]
    spread = [one.get('deviation', {}).get(key) for one in found]
    if any(s is None for s in spread):
        return (values,)
    low, high = ([v + sign * s for v, s in zip(values, spread, strict=True)] for sign in (-1, 1))
    return values, low, high


def _points(options: argparse.Namespace) -> list[tuple[int, list[str]]]:
    """Values and the weights that are evaluated at each."""
    if options.over != 'compression':
        if options.values is None:
            raise InputError('there is no value', field='--values', remedy='for example 0,1,2')
        return [(value, options.map_weights) for value in _values(options)]
    packed: dict[int, list[str]] = {}
    others = []
    for text in options.map_weights:
        model = load_map_model(text.rpartition('=')[2]).network
        if model.fusion is None:
            others.append(text)
        else:
            packed.setdefault(max(model.config.compression, 1), []).append(text)
    if not packed:
        raise InputError(
            'there are no messages to compress',
            field='--map-weights',
            remedy='give weights of "train --stage map_cooperative --compression N", several N',
        )
    return [(value, others + packed[value]) for value in sorted(packed)]


def _values(options: argparse.Namespace) -> list[int]:
    least = 1 if options.over == 'agents' else 0
    try:
        values = sorted({int(part) for part in options.values.split(',') if part.strip()})
    except ValueError:
        values = []
    if not values or values[0] < least:
        raise InputError(
            f"'{options.values}' are no numbers of {options.over}",
            field='--values',
            remedy=f'give whole numbers from {least}, separated by commas',
        )
    return values


def _at(base: MapEvaluationOptions, over: str, value: int) -> MapEvaluationOptions:
    if over == 'agents':
        return replace(base, max_agents=value)
    return replace(base, lost_cameras=value) if over == 'cameras' else base
