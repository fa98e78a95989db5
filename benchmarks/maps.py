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
"""Times of map models: ``python -m benchmarks.maps``.

The model of official size beside its own backbone, a plain eager ResNet-34 in the layout
(N, C, H, W), on the same images in the same run; and how often a second ``cobevt_tiny`` maps what
two agents with four cameras see. Weights are seeded, which times do not notice; images are ready.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from cooptrack_core.models.backbones.resnet import resnet34
from cooptrack_core.models.cobevt.config import CobevtConfig, official
from cooptrack_core.models.cobevt.inference import for_inference
from cooptrack_core.models.cobevt.interface import MapInputs, RingInputs
from cooptrack_core.models.cobevt.model import Cobevt
from cooptrack_core.training.map_run import map_config
from cooptrack_ros.console import Terminal, emit_json

FLOOR_OFFICIAL, FLOOR_HZ = 1.9, 3.0


def scene(config: CobevtConfig, agents: int, cameras: int = 4) -> MapInputs:
    """Agents ten metres apart, each with a ring of cameras that look around."""
    draw = torch.Generator().manual_seed(0)
    size = (config.image.height, config.image.width)
    images = torch.randn(agents, cameras, 3, *size, generator=draw)
    focal = 0.42 * size[1]
    k = torch.tensor([[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]])
    poses = np.tile(np.eye(4, dtype=np.float32), (agents, cameras, 1, 1))
    for camera in range(cameras):
        yaw = 2 * np.pi * camera / cameras
        c, s = np.cos(yaw), np.sin(yaw)
        poses[:, camera, :3, :3] = [[s, 0, c], [-c, 0, s], [0, -1, 0]]
        poses[:, camera, 2, 3] = 1.6
    rings = RingInputs(
        images,
        k.expand(agents, cameras, 3, 3),
        torch.from_numpy(poses),
        torch.ones(agents, cameras, dtype=torch.bool),
    )
    ego_T_agent = torch.eye(4).repeat(agents, 1, 1)
    ego_T_agent[:, 0, 3] = 10.0 * torch.arange(agents)
    return MapInputs(rings, ego_T_agent, (agents,))


def medians(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each call; they take turns, so that a slow minute hits all."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if round_:  # the first round warms up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog='python -m benchmarks.maps', description=__doc__)
    parser.add_argument('--threads', type=int, default=2, help='CPU threads of torch')
    parser.add_argument('--agents', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=7)
    parser.add_argument('--json', help='also write the numbers here')
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    terminal = Terminal()
    torch.manual_seed(0)
    full, tiny = map_config('cobevt'), map_config('cobevt_tiny')
    models = {
        'official size, as released': for_inference(Cobevt(official())),
        'official size, repaired': for_inference(Cobevt(full)),
        'cobevt_tiny': for_inference(Cobevt(tiny)),
    }
    plain = resnet34().eval()
    inputs = scene(full, options.agents)
    small = scene(tiny, options.agents)
    with torch.inference_mode():
        found = medians(
            {
                'plain ResNet-34': lambda: plain(inputs.rings.images.flatten(0, 1)),
                **{
                    name: lambda model=model, given=given: model(given)  # type: ignore[misc]
                    for (name, model), given in zip(
                        models.items(), (inputs, inputs, small), strict=True
                    )
                },
            },
            options.repeats,
        )
    yardstick = found['plain ResNet-34']
    rows = [
        [name, f'{seconds * 1e3:.0f}', f'{seconds / yardstick:.2f}', f'{1 / seconds:.1f}']
        for name, seconds in found.items()
    ]
    title = f'{options.agents} agents x 4 cameras, {options.threads} threads, fp32'
    terminal.table(title, ['model', 'median ms', 'x ResNet-34', 'Hz'], rows)
    terminal.say(
        f'floors: official size {FLOOR_OFFICIAL} x the ResNet-34, tiny {FLOOR_HZ:g} Hz; the tiny '
        'model has smaller images of its own'
    )
    emit_json(
        {'threads': options.threads, 'agents': options.agents, 'seconds': found}, options.json
    )
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
