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

"""`cooptrack sweep --over bytes`: accuracy against what the messages cost on the air."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

from cooptrack_core.errors import InputError
from cooptrack_core.evaluation.bootstrap import METRICS
from cooptrack_core.files import write_text_atomically
from cooptrack_core.perception import StreamOptions
from cooptrack_core.perception.evaluate import EvaluationOptions, evaluate_dataset
from cooptrack_core.v2x.codec import Wire
from cooptrack_ros.commands.common import (
    disturbed_stream_options,
    load_models,
    method_names,
    open_for_evaluation,
)
from cooptrack_ros.commands.sweep import TITLES
from cooptrack_ros.commands.sweep_file import (
    open_document,
    settings_of,
    without_classes,
    write_document,
)
from cooptrack_ros.console import Terminal, emit_json, number
from cooptrack_ros.report.chart import Line, Panel, line_chart

_KEY = ('form', 'message_hz', 'min_score')


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Evaluate forms x rates x least scores; ``sweep.json`` grows point by point.

    Raises:
        InputError: A form, rate or score is wrong, or the directory holds another sweep.
    """
    dataset = open_for_evaluation(options, terminal)
    base, names = disturbed_stream_options(options), method_names(options.methods)
    settings = _settings(options)
    models = load_models(options)
    target = options.output / 'sweep.json'
    new = {'settings': settings_of(options, dataset, models, names, base), 'points': []}
    document = open_document(target, new, (*_KEY, 'methods'), overwrite=options.overwrite)
    for setting in settings:
        if any(all(p[k] == setting[k] for k in _KEY) for p in document['points']):
            continue
        what = f'{setting["form"]}, {setting["message_hz"]:g} Hz, from {setting["min_score"]:g}'
        with terminal.progress(what) as progress:
            evaluation = EvaluationOptions(
                names, _stream(base, setting), options.scenes, options.rate, options.remotes,
                intervals=True, workers=options.workers,
            )  # fmt: skip
            result = evaluate_dataset(dataset, models, evaluation, progress)
        document['points'].append(_point(setting, result))
        write_document(target, document)
    picture = options.output / 'sweep.svg'
    write_text_atomically(picture, draw(document))
    _show(document, terminal)
    terminal.say(f'written: {target}, {picture}')
    emit_json(document, options.json)
    return 0


def draw(document: dict[str, Any]) -> str:
    """One panel per metric, one line per method, form and rate; SVG."""
    points, names = document['points'], document['settings']['methods']
    panels = [Panel(TITLES[m], 'kB/s of one sender', _lines(points, names, m), log_x=True)
              for m in METRICS]  # fmt: skip
    frames = max((m['frames'] for p in points for m in p['methods'].values()), default=0)
    about = f'{document["settings"]["data"]}: {frames} frames; a point per least score sent; '
    about += 'bands: 95 % intervals over scenes'
    return line_chart('Accuracy against bytes on the air', about, panels)


def _lines(points: Sequence[dict[str, Any]], names: Sequence[str], metric: str) -> list[Line]:
    lines = []
    kinds = list(dict.fromkeys((p['form'], p['message_hz']) for p in points))
    rates = sorted({rate for _, rate in kinds}, reverse=True)
    forms = list(dict.fromkeys(form for form, _ in kinds))
    for index, name in enumerate(names):
        for form, rate in kinds:
            of = [p for p in points if (p['form'], p['message_hz']) == (form, rate)]
            of = [p for p in of if p['bytes_per_second']]
            bands = [p['intervals'].get(name, {}).get(metric, {}) for p in of]
            lines.append(
                Line(
                    f'{name}, {form}, {rate:g} Hz' if len(names) > 1 else f'{form}, {rate:g} Hz',
                    [p['bytes_per_second'] / 1e3 for p in of],
                    [p['methods'][name][metric] for p in of],
                    [b.get('low') for b in bands],
                    [b.get('high') for b in bands],
                    colour=index * len(forms) + forms.index(form),
                    dashed=rate != rates[0],
                )
            )
    return lines


def _settings(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Points to evaluate, the dearest first.

    Raises:
        InputError: A value is wrong.
    """
    forms = [part.strip() for part in options.forms.split(',') if part.strip()]
    for form in forms:
        if form not in get_args(Wire):
            raise InputError(
                f"there is no form '{form}' of a message",
                field='--forms',
                remedy=f'known: {", ".join(get_args(Wire))}',
            )
    rates = _numbers(options.rates, '--rates', 'messages per second, for example 10,2')
    if min(rates) <= 0:
        raise InputError('a rate is not positive', field='--rates', remedy='for example 10,2')
    scores = _numbers(options.values or '0,0.3,0.5,0.7', '--values', 'scores from 0 to 1')
    if min(scores) < 0 or max(scores) > 1:
        raise InputError('a score is out of range', field='--values', remedy='give 0 to 1')
    return [
        {'form': form, 'message_hz': rate, 'min_score': score}
        for form in forms
        for rate in sorted(rates, reverse=True)
        for score in scores
    ]


def _numbers(text: str, field: str, what: str) -> list[float]:
    """Read numbers separated by commas, rising, each once.

    Raises:
        InputError: There is none, or something else.
    """
    try:
        values = sorted({float(part) for part in text.split(',') if part.strip()})
    except ValueError:
        values = []
    if not values or not all(math.isfinite(v) for v in values):
        raise InputError(f"'{text}' are no numbers", field=field, remedy=f'give {what}')
    return values


def _stream(base: StreamOptions, setting: dict[str, Any]) -> StreamOptions:
    """Radio at a point."""
    selection = replace(
        base.selection, min_score=setting['min_score'], message_hz=setting['message_hz']
    )
    return replace(base, dtype=setting['form'], selection=selection)


def _point(setting: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """What is kept of an evaluation; bytes are those of one sender."""
    traffic = result['traffic'].get(setting['form'], {})
    senders = max(1, len(result['protocol']['remote_agents']))
    total = traffic.get('bytes_per_second')
    return {
        **setting,
        'bytes_per_second': None if total is None else total / senders,
        'instances_per_message': traffic.get('mean_instances'),
        'methods': {n: without_classes(m) for n, m in result['methods'].items()},
        'intervals': result.get('intervals', {}).get('methods', {}),
    }


def _show(document: dict[str, Any], terminal: Terminal) -> None:
    """Print one row per point."""
    names = document['settings']['methods']
    rows = [
        [
            p['form'],
            f'{p["message_hz"]:g}',
            f'{p["min_score"]:g}',
            number(p['bytes_per_second'], 0),
            number(p['instances_per_message'], 1),
            *(number(p['methods'][n][m]) for n in names for m in METRICS),
        ]
        for p in document['points']
    ]
    columns = [f'{n} {TITLES[m]}' for n in names for m in METRICS]
    header = ['form', 'Hz', 'least score', 'bytes/s', 'instances', *columns]
    terminal.table('accuracy against bytes', header, rows)
