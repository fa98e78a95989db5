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

"""`cooptrack run`."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import Any

from cooptrack_core.errors import InputError
from cooptrack_core.structures import MAP_CLASSES
from cooptrack_ros.commands import evaluate
from cooptrack_ros.commands.common import load_map, load_models, stream_options
from cooptrack_ros.console import Terminal, emit_json, number
from cooptrack_ros.recordings import OpenRecording
from cooptrack_ros.runner import run_recording


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Run cooperative perception over a recording."""
    map_model = load_map(options)
    opened = OpenRecording(
        options.input, scene=options.scene, ego_id=options.ego, on_warning=terminal.say
    )
    with opened as recording, terminal.progress('running') as progress:
        if recording.rings and map_model is None:
            raise InputError(
                'the trackers take one camera per agent, these agents have rings of cameras',
                path=options.input,
                remedy='say --map to make maps of them',
            )
        outputs = run_recording(
            recording,
            None if recording.rings else load_models(options),
            options.output,
            stream_options(options),
            map_model=map_model,
            provenance={'command': shlex.join(['cooptrack', *sys.argv[1:]])},
            progress=progress,
        )
    if not recording.rings:
        evaluate.show(outputs.result, terminal)
    if map_model is not None:
        show_maps(outputs.result['maps'], terminal)
    terminal.say(f'{outputs.frames} ego frames; written:')
    for path, what in (
        (outputs.report, 'open it in a browser'),
        (outputs.bag, 'ros2 bag play, RViz, Foxglove'),
        (outputs.metrics, 'all numbers'),
    ):
        terminal.say(f'  {path}  ({what})')
    emit_json(outputs.result, options.json)
    return 0


def show_maps(maps: dict[str, Any], terminal: Terminal) -> None:
    """Print the IoU of the maps, what they cost on the air, and what was left out."""
    rows = [
        [name, *(number(found[key]) for key in MAP_CLASSES)]
        for name, found in maps['methods'].items()
    ]
    if rows:
        terminal.table('IoU of the maps', ['maps', *MAP_CLASSES], rows)
    for dtype, air in maps['traffic'].items():
        terminal.say(
            f'maps on the air, {dtype}: {number(air["bytes_per_second"], 0)} bytes/s, '
            f'{number(air["bytes_per_message"], 0)} bytes/map, {air["messages"]} maps'
        )
    for agent_id, counts in maps['agents'].items():
        missing = ', '.join(f'{camera} {n}' for camera, n in counts['cameras_missing'].items())
        dropped = ', '.join(f'{reason} {n}' for reason, n in counts['left_out'].items())
        told = [f'{counts[key]} frames {key}' for key in ('blind', 'unusable') if counts[key]]
        told += [f'cameras missing: {missing}'] if missing else []
        told += [f'maps left out: {dropped}'] if dropped else []
        if told:
            terminal.say(f'{agent_id}: {"; ".join(told)}')
    rejected = ', '.join(f'{reason} {n}' for reason, n in maps['inbox']['rejected'].items())
    if rejected:
        terminal.say(f'maps rejected on arrival: {rejected}')
