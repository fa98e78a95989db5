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

from cooptrack_ros.commands import evaluate
from cooptrack_ros.commands.common import load_models, stream_options
from cooptrack_ros.console import Terminal, emit_json
from cooptrack_ros.recordings import OpenRecording
from cooptrack_ros.runner import run_recording


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Run cooperative perception over a recording."""
    models = load_models(options)
    opened = OpenRecording(
        options.input, scene=options.scene, ego_id=options.ego, on_warning=terminal.say
    )
    with opened as recording, terminal.progress('running') as progress:
        outputs = run_recording(
            recording,
            models,
            options.output,
            stream_options(options),
            provenance={'command': shlex.join(['cooptrack', *sys.argv[1:]])},
            progress=progress,
        )
    evaluate.show(outputs.result, terminal)
    terminal.say(f'{outputs.frames} ego frames; written:')
    for path, what in (
        (outputs.report, 'open it in a browser'),
        (outputs.bag, 'ros2 bag play, RViz, Foxglove'),
        (outputs.metrics, 'all numbers'),
    ):
        terminal.say(f'  {path}  ({what})')
    emit_json(outputs.result, options.json)
    return 0
