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

"""`cooptrack simulate`."""

from __future__ import annotations

import argparse

from cooptrack_ros.console import Terminal, emit_json


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Write the scenes and print their statistics."""
    from cooptrack_core.simulation import simulate

    with terminal.progress('simulating') as progress:
        summary = simulate(
            options.output,
            options.preset,
            options.scenes,
            options.seed,
            layout=options.layout,
            workers=options.workers,
            progress=progress,
            overwrite=options.overwrite,
        )
    terminal.say(str(summary))
    terminal.say(f'written: {options.output}')
    emit_json(summary.as_dict(), options.json)
    return 0
