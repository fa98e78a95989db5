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

"""Deterministic weights and inputs: every number follows from a name (reference appendix A)."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """U(name): float64 in [0, 1)."""
    count = int(np.prod(shape))
    with np.errstate(over='ignore'):
        x = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1)
        x = x + np.uint32(zlib.crc32(name.encode()))
        x ^= x >> np.uint32(16)
        x *= np.uint32(0x85EBCA6B)
        x ^= x >> np.uint32(13)
        x *= np.uint32(0xC2B2AE35)
        x ^= x >> np.uint32(16)
    return (x / 2.0**32).reshape(shape)


def symmetric(name: str, shape: tuple[int, ...], a: float) -> Tensor:
    """S(name, a): float32 in [-a, a)."""
    return torch.from_numpy((a * (2 * uniform(name, shape) - 1)).astype(np.float32))


def fill(state: Mapping[str, Tensor], salt: str = '') -> dict[str, Tensor]:
    """Weights for the entries of an official state dict; ``salt`` makes another filling."""
    filled = {}
    for name, old in state.items():
        shape, key = tuple(old.shape), salt + name
        if not old.is_floating_point() or name.endswith('code_weights'):
            new = old.clone()
        elif name == 'reference_points.weight':
            new = torch.from_numpy(uniform(key, shape).astype(np.float32))
        elif name.endswith('running_var'):
            new = torch.from_numpy((1 + uniform(key, shape)).astype(np.float32))
        elif name.endswith('running_mean'):
            new = symmetric(key, shape, 0.1)
        elif len(shape) >= 2:
            new = symmetric(key, shape, math.sqrt(3 / (old.numel() / shape[0])))
        elif name.endswith('weight'):
            values = 0.1 * (2 * uniform(key, shape) - 1)
            new = torch.from_numpy((1 + values).astype(np.float32))
        else:
            new = symmetric(key, shape, 0.1)
        if name.startswith('img_backbone') and name.endswith('bn3.weight'):
            new = new * 0.5
        if name == 'STReasoner.track_cls.6.bias':
            new = new - 0.9
        filled[name] = new
    return filled


def image(i: int, height: int = 544, width: int = 960) -> Tensor:
    """Network input of frame i, (1, 1, 3, height, width)."""
    return symmetric(f'img{i}', (1, 1, 3, height, width), 1.0)


def lidar2img() -> np.ndarray:
    """(4, 4) projection of the front camera."""
    k, e = np.eye(4), np.eye(4)
    k[:3, :3] = [[1100, 0, 480], [0, 1100, 270], [0, 0, 1]]
    e[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    e[:3, 3] = [0, 1.5, 0]
    return k @ e


def rotation(yaw: float) -> np.ndarray:
    """(3, 3) counter-clockwise about z."""
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def pose(i: int) -> dict[str, object]:
    """can_bus, l2g_r_mat, l2g_t and timestamp of frame i."""
    yaw = 0.02 * i
    can_bus = np.zeros(18)
    can_bus[:3] = [i, 0.1 * i, 0]
    can_bus[3:7] = [math.cos(yaw / 2), 0, 0, math.sin(yaw / 2)]
    can_bus[16], can_bus[17] = yaw, math.degrees(yaw)
    return {
        'can_bus': can_bus,
        'l2g_r_mat': rotation(yaw).T,
        'l2g_t': np.array([i, 0.1 * i, 0]),
        'timestamp': 0.1 * i,
    }


def veh2inf_rt() -> np.ndarray:
    """(4, 4), stored transposed as in the data set."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(0.5)
    matrix[:3, 3] = [30, 5, 0.5]
    return matrix.T


def message(i: int, count: int = 12) -> dict[str, Tensor]:
    """Message of frame i."""
    fields = {
        name: symmetric(f'msg{i}.{name}', (count, 256), 1.0)
        for name in ('query_feats', 'query_embeds', 'cache_motion_feats')
    }
    refs = 0.4 * uniform(f'msg{i}.ref_pts', (count, 3)) + 0.2
    fields['ref_pts'] = torch.from_numpy(refs.astype(np.float32))
    fields['pred_boxes'] = symmetric(f'msg{i}.pred_boxes', (count, 10), 1.0)
    fields['pred_boxes'][:, 0] += 40
    return fields
