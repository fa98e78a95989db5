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

"""Where the pillars over the BEV cells appear in the images."""

from __future__ import annotations

import torch
from torch import Tensor

from cooptrack_core.geometry import BevGrid
from cooptrack_core.models.precision import full_precision

_MIN_DEPTH = 1e-5


def pillar_points(grid: BevGrid, heights: tuple[float, ...]) -> Tensor:
    """Points (rows * columns, P, 3) over the cell centres, metres, float32."""
    cells = torch.tensor(grid.cell_centers(), dtype=torch.float32).flatten(0, 1)  # (G, 2)
    z = torch.tensor(heights)
    return torch.cat(
        [
            cells[:, None].expand(-1, len(heights), 2),
            z[None, :, None].expand(len(cells), -1, 1),
        ],
        -1,
    )


@full_precision
def project(
    points: Tensor, agent_to_image: Tensor, image_size: tuple[int, int], from_corner: bool
) -> tuple[Tensor, Tensor]:
    """Project pillar points into every camera.

    Args:
        points: (G, P, 3) metres, agent frame.
        agent_to_image: (B, K, 4, 4) into pixels.
        image_size: (height, width) of the network input.
        from_corner: Divide pixels by the size as they are (official quirk) instead of taking
            pixel (0, 0) as the centre of the first pixel.

    Returns:
        Places (B, K, G, P, 2) in [0, 1] of the image, and a mask (B, K, G, P) of the points in
        front of the camera and inside the image.
    """
    m = agent_to_image
    h = torch.einsum('bkij,gpj->bkgpi', m[:, :, :3, :3], points) + m[:, :, None, None, :3, 3]
    depth = h[..., 2:]
    pixels = h[..., :2] / depth.clamp(min=_MIN_DEPTH)
    if not from_corner:
        pixels = pixels + 0.5
    places = pixels / pixels.new_tensor((image_size[1], image_size[0]))
    inside = (places > 0).all(-1) & (places < 1).all(-1) & (depth[..., 0] > _MIN_DEPTH)
    return places, inside


@full_precision
def depths(points: Tensor, agent_to_image: Tensor) -> Tensor:
    """Depth (B, K, G, P) of pillar points before every camera, metres; arguments as above."""
    row = agent_to_image[:, :, 2]  # (B, K, 4)
    return torch.einsum('bkj,gpj->bkgp', row[..., :3], points) + row[..., 3, None, None]
