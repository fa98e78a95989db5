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

from cooptrack_core.datasets.v2x_seq import V2XSeqDataset
from cooptrack_core.errors import InputError
from cooptrack_core.perception.scoreboard import EvaluationOptions, evaluate_dataset
from cooptrack_ros.commands.common import load_models, stream_options
from cooptrack_ros.console import Terminal, emit_json, number


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Evaluate the methods on a dataset and print the table."""
    dataset = V2XSeqDataset(
        options.data,
        split=options.split,
        remove_ego_from_cooperative=True,
        on_image_error='drop',
        on_warning=terminal.say,
    )
    models = load_models(options)
    if options.rate is not None and not options.rate > 0:
        raise InputError(
            f'{options.rate} Hz is no frame rate', field='--rate', remedy='give a number above 0'
        )
    names = tuple(name.strip() for name in options.methods.split(',') if name.strip())
    with terminal.progress('evaluating') as progress:
        result = evaluate_dataset(
            dataset,
            models,
            EvaluationOptions(names, stream_options(options), options.scenes, options.rate),
            progress,
        )
    show(result, terminal)
    emit_json(result, options.json)
    return 0


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
        [name, *(number(metrics.get(key)) for key in columns.values())]
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
