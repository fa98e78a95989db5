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

"""Untrained models small enough for tests, and frames for them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from cooptrack_core.config import from_mapping, load_yaml
from cooptrack_core.geometry import SE3, BevGrid, CameraModel
from cooptrack_core.models.checkpoint import save_weights
from cooptrack_core.models.cooptrack.config import ImageConfig, ModelConfig
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.resources import config_path
from cooptrack_core.structures import AgentFrame, CameraImage, Role

MS = 1_000_000


def small_config(cooperative: bool) -> ModelConfig:
    """The shipped tiny configuration on a smaller image, with fewer queries."""
    tiny = from_mapping(ModelConfig, load_yaml(config_path('models/tiny.yaml')))
    grid = dataclasses.replace(tiny.bev.grid, columns=8, rows=8)
    assert isinstance(grid, BevGrid)
    return dataclasses.replace(
        tiny,
        name='small_cooperative' if cooperative else 'small_agent',
        image=ImageConfig(height=64, width=96),
        bev=dataclasses.replace(tiny.bev, grid=grid),
        decoder=dataclasses.replace(tiny.decoder, queries=24),
        tracking=dataclasses.replace(tiny.tracking, max_output=24),
        cooperation=tiny.cooperation if cooperative else None,
        latency=None,  # only its own stage adds the flow
    )


def small_model(cooperative: bool, seed: int = 0, bias: float = -0.6) -> CoopTrack:
    """Random weights; by default class biases with which some queries live and some do not."""
    torch.manual_seed(seed)
    model = CoopTrack(small_config(cooperative)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith('bias') and parameter.shape == (3,):
                parameter.fill_(bias)
            elif name.endswith('weight') and parameter.ndim == 2 and parameter.shape[0] == 3:
                parameter.normal_(0.0, 0.2)
    return model


def save_pair(directory: Path, bias: float = -0.6) -> tuple[Path, Path]:
    """Write agent and cooperative weights that belong together."""
    agent, cooperative = directory / 'agent.safetensors', directory / 'cooperative.safetensors'
    sender = save_weights(small_model(False, bias=bias), agent)
    save_weights(small_model(True, bias=bias), cooperative, metadata={'sender_model_id': sender})
    return agent, cooperative


def camera_frame(
    agent_id: str,
    ms: float,
    *,
    position: tuple[float, float, float] = (400.0, -200.0, 20.0),
    yaw: float = 0.3,
    sequence_id: str = 'a',
    image: bool = True,
    seed: int = 0,
) -> AgentFrame:
    """A frame of random pixels of an agent at a place in the world."""
    k = np.array([[100.0, 0, 95.5], [0, 100.0, 53.5], [0, 0, 1]])
    extrinsic = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    camera = CameraModel('front', 192, 108, k, extrinsic)
    random = np.random.default_rng([seed, round(ms)])
    pixels = random.integers(0, 256, (108, 192, 3), dtype=np.uint8)
    stamp_ns = round(ms * MS)
    pose = SE3.from_yaw(yaw, position)
    role = Role.VEHICLE if agent_id.startswith('vehicle') else Role.ROADSIDE
    images = (CameraImage(pixels, camera, stamp_ns),) if image else ()
    return AgentFrame(agent_id, role, sequence_id, f'{ms:.0f}', stamp_ns, images, pose, pose)
