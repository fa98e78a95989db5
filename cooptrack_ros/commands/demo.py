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

"""`cooptrack demo`: a held-out simulated scene, from nothing to tracks, in one command."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from cooptrack_core.errors import InputError
from cooptrack_ros.commands import run as run_command
from cooptrack_ros.console import Terminal

# Scenes of the shipped weights' training have smaller seeds.
FIRST_HELD_OUT_SEED = 2000


def run(options: argparse.Namespace, terminal: Terminal) -> int:
    """Simulate, run, compare."""
    if options.seed < FIRST_HELD_OUT_SEED:
        raise InputError(
            f'seed {options.seed} may be among the training scenes',
            field='--seed',
            remedy=f'use {FIRST_HELD_OUT_SEED} or more',
        )
    scene = simulated_scene(options.output / 'scene', options.seed, terminal)
    # By the parser, so that the demo is exactly `cooptrack run` with its defaults.
    from cooptrack_ros.cli import build_parser

    arguments = build_parser().parse_args(
        ['run', str(scene), '-o', str(options.output), '--threads', '2']
    )
    arguments.json, arguments.quiet = options.json, options.quiet
    return run_command.run(arguments, terminal)


def simulated_scene(directory: Path, seed: int, terminal: Terminal) -> Path:
    """Return a directory with the benchmark scene of that seed; simulate it when it is new."""
    from cooptrack_core.simulation import simulate

    mark = directory / '.seed'
    if mark.is_file() and mark.read_text(encoding='utf-8') == str(seed):
        terminal.say(f'scene of seed {seed}: already in {directory}')
        return directory
    if directory.exists() and not mark.is_file():
        raise InputError(
            'exists and was not made by the demo',
            path=directory,
            remedy='choose another --output or move it away',
        )
    if directory.exists():
        shutil.rmtree(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with terminal.progress(f'simulating the scene of seed {seed}') as progress:
        simulate(directory, 'benchmark', 1, seed, workers=2, progress=progress)
    mark.write_text(str(seed), encoding='utf-8')
    return directory
