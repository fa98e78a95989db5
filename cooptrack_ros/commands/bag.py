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

"""`cooptrack bag`."""

from __future__ import annotations

import argparse
import dataclasses

from cooptrack_core.datasets.v2x_seq import V2XSeqDataset
from cooptrack_ros.commands.common import choose_scene
from cooptrack_ros.console import Terminal, emit_json


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Write one scene of a dataset as a rosbag2."""
    from cooptrack_ros.bags import write_dataset_bag

    scene = choose_scene(V2XSeqDataset(options.data), options.scene)
    with terminal.progress(f'writing {options.output}') as progress:
        summary = write_dataset_bag(
            scene, options.output, storage=options.storage, progress=progress
        )
    terminal.say(f'written: {options.output}')
    emit_json(dataclasses.asdict(summary), options.json)
    return 0
