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

"""Weights and inputs of the golden run, and others like it: every number follows from a name."""

from __future__ import annotations

import math
from collections.abc import Mapping

import filler
import numpy as np
import torch
from torch import Tensor

from cooptrack_core.models.cobevt import MapInputs, official_inputs

CAMERA_DEGREES = (0.0, 100.0, -100.0, 180.0)


def fill(state: Mapping[str, Tensor], salt: str = '') -> dict[str, Tensor]:
    """Weights for the entries of an official state dict; ``salt`` makes another filling."""
    filled = filler.fill(state, salt)
    for name in state:
        if name.startswith('encoder') and name.endswith('bn2.weight'):
            filled[name] = filled[name] * 0.5
    queries = 'fax.bev_embedding.learned_features'
    if queries in state:
        filled[queries] = filler.symmetric(salt + queries, tuple(state[queries].shape), 1.0)
    return filled


def turn(yaw: float) -> np.ndarray:
    """(4, 4) rotation about z."""
    matrix = np.eye(4)
    matrix[:3, :3] = filler.rotation(yaw)
    return matrix


def scene(counts: tuple[int, ...] = (3,), slots: int = 5, image: str = 'images') -> MapInputs:
    """Scenes of agents that stand ten metres apart, each turned a little more."""
    agents = sum(counts)
    images = filler.symmetric(image, (agents, 1, 4, 512, 512, 3), 1.0)
    k = torch.tensor([[335.639852, 0, 400], [0, 335.639852, 300], [0, 0, 1]])
    extrinsic = np.zeros((agents, 1, 4, 4, 4))
    transforms = np.tile(np.eye(4), (len(counts), slots, 1, 1))
    a = 0
    for b, count in enumerate(counts):
        for i in range(count):
            for c, degrees in enumerate(CAMERA_DEGREES):
                angle = math.radians(degrees)
                extrinsic[a, 0, c] = turn(angle)
                x, y = 2.5 * math.cos(angle) + 10 * i, 2.5 * math.sin(angle)
                extrinsic[a, 0, c, :3, 3] = x, y, 1.0
            if i:
                transforms[b, i] = turn(0.3 * i)
                transforms[b, i, :3, 3] = 10 * i, -4 * i, 0
            a += 1
    return official_inputs.batch(
        inputs=images,
        intrinsic=k.expand(agents, 1, 4, 3, 3),
        extrinsic=torch.from_numpy(extrinsic).float(),
        transformation_matrix=torch.from_numpy(transforms).float(),
        record_len=torch.tensor(counts),
    )
