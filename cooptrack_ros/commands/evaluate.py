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

"""`cooptrack evaluate`."""

from __future__ import annotations

import argparse
from typing import Any

from cooptrack_core.errors import InputError
from cooptrack_core.evaluation import Protocol
from cooptrack_core.models.cooptrack.variants import VARIANTS
from cooptrack_core.perception.evaluate import EvaluationOptions, evaluate_dataset
from cooptrack_ros.commands.common import (
    disturbed_stream_options,
    load_models,
    method_names,
    open_for_evaluation,
)
from cooptrack_ros.console import Terminal, emit_json, number, number_of_runs


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Evaluate the methods on a dataset and print the table."""
    if options.map:
        from cooptrack_ros.commands import evaluate_map

        return evaluate_map.run(options, terminal)
    dataset = open_for_evaluation(options, terminal)
    names = method_names(options.methods) + (VARIANTS if options.ablation else ())
    evaluation = EvaluationOptions(
        names,
        disturbed_stream_options(options),
        options.scenes,
        options.rate,
        options.remotes,
        per_scene=options.per_scene,
        compare=options.compare,
        workers=options.workers,
        protocol=_protocol(options.recall_levels),
    )
    models = load_models(options)
    with terminal.progress('evaluating') as progress:
        result = evaluate_dataset(dataset, models, evaluation, progress)
    show(result, terminal)
    if 'comparison' in result:
        show_comparison(result['comparison'], terminal)
    tell_what_was_dropped(result['inbox'], terminal)
    emit_json(result, options.json)
    return 0


def _protocol(levels: int) -> Protocol:
    if levels < 1:
        raise InputError(
            f'{levels} recall levels have no mean',
            field='--recall-levels',
            remedy='give 1 or more',
        )
    return Protocol(recall_thresholds=levels)


def show_comparison(comparison: dict[str, Any], terminal: Terminal) -> None:
    """Print how much better one method is than each other one."""

    def cell(interval: dict[str, Any]) -> str:
        if interval['value'] is None:
            return number(None)
        low, high = (f'{interval[key]:+.3f}' for key in ('low', 'high'))
        return f'{interval["value"]:+.3f}  [{low}, {high}]'

    rows = [
        [f'{comparison["method"]} - {other}', cell(by['mean_ap']), cell(by['amota'])]
        for other, by in comparison['minus'].items()
    ]
    if rows:
        title = f'{comparison["level"]:.0%} intervals over {comparison["scenes"]} scenes'
        terminal.table(title, ['difference', 'mean AP', 'AMOTA'], rows)
        terminal.say(f'{comparison["how"]}; {comparison["resamples"]} draws')


def tell_what_was_dropped(inbox: dict[str, int], terminal: Terminal) -> None:
    """Say why messages did not reach the fusion, if they were late or ahead of time."""
    for reason, remedy in (('too_old', '--max-age-ms'), ('from_future', '--future-tolerance-ms')):
        if inbox.get(reason):
            terminal.say(
                f'{inbox[reason]} of {inbox["received"]} messages were dropped as {reason}, as '
                f'the nodes would; {remedy} lets them in'
            )


def show(result: dict[str, Any], terminal: Terminal) -> None:
    """Print the metrics of every method, the traffic and the protocol."""
    columns = {
        'mean AP': 'mean_ap',
        'AMOTA': 'amota',
        'AMOTP m': 'amotp',
        'MOTA': 'mota',
        'IDS': 'ids',
        'recall': 'recall',
        'hidden recall': 'hidden_recall',
        'hidden prec.': 'hidden_precision',
    }
    rows = [
        [name, *(number_of_runs(metrics, key) for key in columns.values())]
        for name, metrics in result['methods'].items()
    ]
    if rows:
        terminal.table('cars within 50 m of the ego', ['method', *columns], rows)
    else:
        terminal.say('no ground truth: no metrics')
    traffic = result['traffic']
    rows = [
        [
            dtype,
            number(summary['bytes_per_second'], 0),
            number(summary['mean_instances'], 1),
            number(summary['bytes_per_message'], 0),
            number(summary['header_share'], 3),
        ]
        for dtype, summary in traffic.items()
    ]
    header = ['format', 'bytes/s', 'instances', 'bytes/message', 'header share']
    terminal.table('on the air, all senders', header, rows)
    evaluation = result['protocol']['evaluation']
    terminal.say(f'protocol: {evaluation["detection"]}; {evaluation["tracking"]}')
    terminal.say(f'hidden: {evaluation["hidden"]}')
