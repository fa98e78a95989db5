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

"""Camera rings without a simulator, and a small map model with random weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from small_rings import CONFIG

from cooptrack_core.geometry import SE3, CameraModel
from cooptrack_core.models.cobevt import Cobevt, CobevtConfig
from cooptrack_core.models.cobevt.checkpoint import save_weights
from cooptrack_core.perception import MapModel, load_map_model
from cooptrack_core.structures import AgentFrame, CameraImage, Role

SECOND = 1_000_000_000
NAMES = ('front', 'right', 'left', 'back')
SMALL = replace(CONFIG, compression=2)
_OPTICAL = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)


def ring_frame(
    agent_id: str = 'ego',
    x: float = 0.0,
    yaw: float = 0.0,
    stamp_ns: int = SECOND,
    cameras: tuple[str, ...] = NAMES,
    seed: int = 0,
    scene: str = 'scene',
) -> AgentFrame:
    """A frame of noise; the LiDAR lies half a metre behind the body."""
    random = np.random.default_rng([seed, sum(agent_id.encode())])
    k = np.array([[60.0, 0, 47.5], [0, 60, 35.5], [0, 0, 1]])
    images = []
    for number, name in enumerate(NAMES):
        pixels = random.integers(0, 255, (72, 96, 3), dtype=np.uint8)
        pose = SE3.from_yaw(np.pi / 2 * number, (0.5, 0.0, 1.5))
        camera = CameraModel(name, 96, 72, k, _OPTICAL @ pose.inverse().matrix)
        if name in cameras:
            images.append(CameraImage(pixels, camera, stamp_ns))
    body = SE3.from_yaw(yaw, (500_000.0 + x, 4_000_000.0, 20.0))
    lidar = body @ SE3(np.eye(3), np.array([-0.5, 0.0, 1.9]))
    return AgentFrame(
        agent_id, Role.VEHICLE, scene, f'{stamp_ns}', stamp_ns, tuple(images), lidar, body
    )


def weights_file(path: Path, config: CobevtConfig = SMALL) -> Path:
    """Random weights whose classes are not all the same."""
    torch.manual_seed(3)
    model = Cobevt(config)
    for head in model.heads.values():
        torch.nn.init.normal_(head.weight, std=2.0)
    save_weights(model, path)
    return path


def small_model(path: Path, config: CobevtConfig = SMALL) -> MapModel:
    """The same, loaded."""
    return load_map_model(weights_file(path, config))
