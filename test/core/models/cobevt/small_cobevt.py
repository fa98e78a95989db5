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

"""Small models of every kind, and scenes for them."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from cooptrack_core.geometry import MapGrid
from cooptrack_core.models.cobevt import Cobevt, CobevtConfig, MapInputs, RingInputs
from cooptrack_core.models.cobevt.config import (
    FuseBevtConfig,
    MapDecoderConfig,
    RingBackboneConfig,
    RingImageConfig,
    SinBevtConfig,
)

SMALL = CobevtConfig(
    name='small',
    image=RingImageConfig(height=64, width=96),
    map=MapGrid(64, 64, 1.0),
    backbone=RingBackboneConfig('residual', (8, 8, 16, 16), (1, 1, 1, 1), levels=(1, 2)),
    sinbevt=SinBevtConfig(
        dims=(16, 32),
        scale=4,
        query_windows=(8, 8),
        image_windows=((4, 6), (4, 6)),
        head_dims=16,
        refinements=1,
        dropout=0.0,
    ),
    fusion=FuseBevtConfig(depth=1, window=4, agents=3, hidden=16, head_dims=16, dropout=0.0),
    decoder=MapDecoderConfig('nearest', (16, 8, 8)),
)


def model(seed: int = 0, **changes: object) -> Cobevt:
    """A small model in which signals keep their size, and batch norms have something to do."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        result = Cobevt(dataclasses.replace(SMALL, **changes))  # type: ignore[arg-type]
        for name, parameter in result.named_parameters():
            if parameter.ndim > 1 and name != 'sinbevt.queries':
                limit = math.sqrt(3 * parameter.shape[0] / parameter.numel())
                torch.nn.init.uniform_(parameter, -limit, limit)
        for module in result.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return result.eval()


def pose(x: float, y: float, yaw: float) -> Tensor:
    """(4, 4) in the plane."""
    c, s = math.cos(yaw), math.sin(yaw)
    return torch.tensor([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, 0], [0, 0, 0, 1]])


def ring(agents: int, cameras: int = 4, seed: int = 0) -> RingInputs:
    """Rings of cameras that look in all directions."""
    generator = torch.Generator().manual_seed(seed)
    optical = torch.tensor([[0, 0, 1.0, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    looks = [pose(1.0, 0.2 * c, 2 * math.pi * c / cameras) @ optical for c in range(cameras)]
    k = torch.tensor([[50.0, 0, 48], [0, 50, 32], [0, 0, 1]])
    images = torch.randn(agents, cameras, 3, 64, 96, generator=generator)
    return RingInputs(
        images,
        k.expand(agents, cameras, 3, 3).clone(),
        torch.stack(looks).expand(agents, cameras, 4, 4).clone(),
        torch.ones(agents, cameras, dtype=torch.bool),
    )


def scene(counts: tuple[int, ...] = (2,), seed: int = 0) -> MapInputs:
    """Scenes whose agents stand apart and look another way each."""
    poses = [pose(9.0 * i, -4.0 * i, 0.4 * i) for count in counts for i in range(count)]
    return MapInputs(ring(sum(counts), seed=seed), torch.stack(poses), counts)
