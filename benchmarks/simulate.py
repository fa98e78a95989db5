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

"""How fast the simulator writes frame pairs, as a ratio to the speed it has to reach.

``python benchmarks/simulate.py`` measures; ``--statistics`` prints what the preset contains
instead, from every tenth frame of its scenes (the tables of docs/simulator.md).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from cooptrack_core.geometry import SE3
from cooptrack_core.simulation import load_preset, scene, simulate
from cooptrack_core.simulation.camera import Lens, Picture
from cooptrack_core.simulation.light import Light
from cooptrack_core.simulation.raycast import Geometry
from cooptrack_core.simulation.textures import Texture

# Frame pairs per second on two cores that the project asks for.
LIMITS = {'benchmark': 3.0, 'train': 10.0}


def cpu_seconds() -> float:
    """CPU time of this process and its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def measure(
    preset_name: str, scenes: int, frames: int, workers: int, seed: int
) -> dict[str, object]:
    """Write scenes into a temporary directory and time it."""
    preset = load_preset(preset_name)
    preset = replace(preset, frames=frames or preset.frames)
    with tempfile.TemporaryDirectory() as directory:
        wall, cpu = time.perf_counter(), cpu_seconds()
        summary = simulate(Path(directory) / 'out', preset, scenes, seed, workers=workers)
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    rate = summary.pairs / wall
    busy = summary.pairs / cpu * workers
    limit = LIMITS.get(preset_name, LIMITS['benchmark'])
    return {
        'preset': preset_name,
        'size': f'{preset.camera.width}x{preset.camera.height}',
        'pairs': summary.pairs,
        'workers': workers,
        'cores': os.cpu_count(),
        'load_average': round(os.getloadavg()[0], 1),
        'pairs_per_second': round(rate, 2),
        'pairs_per_second_of_idle_cores': round(busy, 2),
        'limit_pairs_per_second': limit,
        'ratio_to_limit': round(rate / limit, 2),
        'ratio_to_limit_by_cpu_time': round(busy / limit, 2),
    }


def _objects_only(
    geometry: Geometry,
    ground: Texture,
    light: Light,
    lens: Lens,
    pose: SE3,
    *_: object,
    **__: object,
) -> Picture:
    """What take_picture says about objects and depth, without the colours."""
    turn = pose.rotation.T.astype(np.float32)
    origin = pose.translation.astype(np.float32)
    quads, depth = geometry.cast(origin, np.einsum('ij,jk->ik', lens.directions, turn))
    shape = lens.height, lens.width
    blank = np.zeros((*shape, 3), np.uint8)
    return Picture(blank, geometry.objects[quads].reshape(shape), depth.reshape(shape))


def statistics(preset_name: str, scenes: int, seed: int) -> str:
    """What every tenth frame of the preset's scenes contains, as a table."""
    preset = load_preset(preset_name)
    stride = min(10, preset.frames)
    thinned = replace(preset, frames=preset.frames // stride, rate_hz=preset.rate_hz / stride)
    scene.take_picture = _objects_only  # the numbers need no colours, and this is quicker
    with tempfile.TemporaryDirectory() as directory:
        summary = simulate(Path(directory) / 'out', thinned, scenes, seed, workers=1)
    return summary.as_markdown()


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--preset', default='benchmark')
    parser.add_argument('--scenes', type=int, default=2)
    parser.add_argument('--frames', type=int, default=0, help='per scene; 0: as in the preset')
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--statistics', action='store_true')
    parser.add_argument('--json', type=Path)
    options = parser.parse_args()
    if options.statistics:
        sys.stdout.write(statistics(options.preset, options.scenes, options.seed) + '\n')
        return 0
    result = measure(options.preset, options.scenes, options.frames, options.workers, options.seed)
    for name, value in result.items():
        sys.stdout.write(f'{name:34} {value}\n')
    if options.json:
        options.json.write_text(json.dumps(result, indent=1), encoding='utf-8')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
