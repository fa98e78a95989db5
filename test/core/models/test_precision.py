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

from __future__ import annotations

import numpy as np
import torch

from cooptrack_core.geometry import BevGrid
from cooptrack_core.models.bev_encoder.motion import warp
from cooptrack_core.models.bev_encoder.projection import pillar_points, project
from cooptrack_core.models.cooptrack import box_code

GRID = BevGrid(0.0, -32.0, 64.0, 32.0, columns=32, rows=32)


def a_pose() -> torch.Tensor:
    pose = torch.eye(4)
    c, s = np.cos(0.7), np.sin(0.7)
    pose[:2, :2] = torch.tensor([[c, -s], [s, c]])
    pose[:2, 3] = torch.tensor([37.3, -21.9])
    return pose


def test_mixed_precision_moves_no_projected_pixel():
    points = pillar_points(GRID, (-1.8, 0.0))
    camera = torch.tensor([[420.0, 0, 224], [0, 420.0, 128], [0, 0, 1]])
    axes = torch.tensor([[0, -1.0, 0, 0], [0, 0, -1.0, -0.2], [1.0, 0, 0, 0.3]])
    matrix = torch.cat([camera @ axes, torch.tensor([[0, 0, 0, 1.0]])])[None, None]
    exact, seen = project(points, matrix, (256, 448), False)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        mixed, also = project(points, matrix, (256, 448), False)
    assert torch.equal(exact, mixed) and torch.equal(seen, also)


def test_mixed_precision_moves_no_box_and_no_map():
    codes = torch.randn(20, 10) * 30
    maps = torch.randn(1, GRID.rows * GRID.columns, 4)
    pose = a_pose()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        moved = box_code.transform(codes, pose)
        carried = warp(maps.bfloat16(), GRID, pose[None])
    assert torch.equal(moved, box_code.transform(codes, pose))
    assert torch.equal(carried, warp(maps.bfloat16().float(), GRID, pose[None]))
