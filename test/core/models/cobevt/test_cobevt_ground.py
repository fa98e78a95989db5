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
"""Queries begin with what the images show where they lie."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.geometry import MapGrid
from cooptrack_core.models.cobevt.ground import GroundSampling

IMAGE = (48, 96)
GRID = MapGrid(8, 8, 2.0)


def sampling(heights: tuple[float, ...] = (0.0, 0.8), samples: int = 2) -> GroundSampling:
    torch.manual_seed(0)
    return GroundSampling(GRID, IMAGE, 3, 8, heights, samples)


def ring(yaws: tuple[float, ...], height: float = 1.5) -> tuple[torch.Tensor, torch.Tensor]:
    """Cameras at the origin that look along the ground."""
    k = torch.tensor([[40.0, 0, 47.5], [0, 40.0, 20.0], [0, 0, 1]])
    poses = []
    for yaw in yaws:
        c, s = np.cos(yaw), np.sin(yaw)
        pose = np.eye(4)
        pose[:3, :3] = np.array([[s, 0, c], [-c, 0, s], [0, -1, 0]])  # x right, y down, z ahead
        pose[2, 3] = height
        poses.append(pose)
    agent_T_camera = torch.from_numpy(np.stack(poses).astype(np.float32))[None]
    return k.expand(1, len(yaws), 3, 3), agent_T_camera


@settings(deadline=None, max_examples=25)
@given(yaw=st.floats(-3.1, 3.1), height=st.floats(0.5, 6.0))
def test_every_point_is_looked_up_where_the_camera_sees_it(yaw: float, height: float):
    module = sampling()
    intrinsics, poses = ring((yaw,), height)
    places = module.places(intrinsics, poses)
    camera_T_agent = torch.linalg.inv(poses[0, 0].double())
    points = module.points.double() @ camera_T_agent[:3, :3].T + camera_T_agent[:3, 3]
    uvw = points @ intrinsics[0, 0].double().T
    held = places.weight[0, 0] > 0
    pixels = uvw[..., :2][held] / uvw[..., 2:][held]
    size = torch.tensor([IMAGE[1], IMAGE[0]])
    wanted = 2 * (pixels + 0.5) / size - 1
    torch.testing.assert_close(places.grid[0][held].double(), wanted, atol=1e-4, rtol=1e-4)
    behind = uvw[..., 2] <= 0.5
    assert not bool((held & behind).any())


def test_points_fill_their_cells_at_every_height():
    module = sampling(heights=(0.0, 1.0, 2.0), samples=2)
    assert module.points.shape == (64, 12, 3)
    centres = torch.from_numpy(GRID.cell_centers().reshape(-1, 2)).float()
    offset = (module.points[..., :2] - centres[:, None]).abs()
    assert torch.all(offset == 0.5)  # a quarter of the cell from its centre
    assert sorted(set(module.points[..., 2].flatten().tolist())) == [0.0, 1.0, 2.0]


def test_a_camera_that_is_not_valid_is_not_looked_at():
    module = sampling()
    intrinsics, poses = ring((0.0, 2.0))
    places = module.places(intrinsics, poses)
    features = torch.randn(2, 3, 12, 24)
    valid = torch.tensor([[True, False]])
    before = module(features, places, valid)
    features[1] += 100.0
    assert torch.equal(module(features, places, valid), before)
    assert not torch.equal(module(features, places, None), before)


def test_cells_that_no_camera_shows_get_nothing():
    module = sampling()
    intrinsics, poses = ring((0.0,))
    places = module.places(intrinsics, poses)
    out = module(torch.randn(1, 3, 12, 24), places, None)
    assert out.shape == (1, 8, 8, 8)
    assert bool((out[0, 5:] == 0).all())  # behind
    assert bool((out[0, 0, 3:5] != 0).any())  # ahead


@pytest.mark.parametrize('row', [0, 1, 2])
def test_what_stands_at_a_place_arrives_at_its_query(row: int):
    module = sampling(heights=(0.0,), samples=1)
    intrinsics, poses = ring((0.0,))
    places = module.places(intrinsics, poses)
    x, y = (places.grid[0].view(8, 8, 2)[row, 3]).tolist()
    features = torch.zeros(1, 3, 48, 96)
    u, v = round((x + 1) * 48 - 0.5), round((y + 1) * 24 - 0.5)
    dark = module(features, places, None)
    features[0, :, max(v - 1, 0) : v + 2, max(u - 1, 0) : u + 2] = 5.0
    changed = (module(features, places, None) != dark).any(-1)[0]
    assert bool(changed[row, 3])
    assert int(changed.sum()) < 8
