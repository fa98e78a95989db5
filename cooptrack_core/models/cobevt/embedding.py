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

"""Camera-aware positional encoding: where tokens look, and where BEV cells lie from a camera.

Source: cross-view transformers (Zhou and Kraehenbuehl, 2022); reference sections 2.1 and 2.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cooptrack_core.geometry import MapGrid
from cooptrack_core.models.precision import full_precision


def pixel_plane(size: tuple[int, int], image: tuple[int, int], from_edges: bool) -> Tensor:
    """(3, h * w) float32 homogeneous pixels of the cells of a feature map.

    Args:
        size: h, w of the feature map.
        image: Height and width of the image, pixels.
        from_edges: Official quirk: the outer cells sit on the edges of the image.
    """
    axes = []
    for cells, pixels in zip(size, image, strict=True):
        if from_edges:
            axes.append(torch.linspace(0, 1, cells) * pixels)
        else:
            axes.append((torch.arange(cells) + 0.5) * (pixels / cells) - 0.5)
    v, u = torch.meshgrid(*axes, indexing='ij')
    return torch.stack([u, v, torch.ones_like(u)]).flatten(1)


def cell_plane(grid: MapGrid, from_edges: bool) -> Tensor:
    """(rows, columns, 2) float32 x, y of BEV cells, metres; ``from_edges`` is a quirk."""
    if not from_edges:
        return torch.from_numpy(grid.cell_centers()).float()
    length, width = grid.extent
    x = length / 2 - length * torch.linspace(0, 1, grid.rows)
    y = width / 2 - width * torch.linspace(0, 1, grid.columns)
    return torch.stack(torch.meshgrid(x, y, indexing='ij'), -1)


class CameraEmbedding(nn.Module):
    """Learnt encodings of viewing directions, camera positions and BEV cells.

    Args:
        dims: Channels C.
        grid: Cells of the queries; None for stages whose queries carry no position.
        from_edges: Official quirk, for the cells.
    """

    cells: Tensor

    def __init__(self, dims: int, grid: MapGrid | None, from_edges: bool) -> None:
        super().__init__()
        self.direction = nn.Conv2d(4, dims, 1, bias=False)
        self.position = nn.Conv2d(4, dims, 1, bias=False)
        self.cell = None if grid is None else nn.Conv2d(2, dims, 1)
        plane = torch.zeros(0) if grid is None else cell_plane(grid, from_edges)
        self.register_buffer('cells', plane, persistent=False)

    @full_precision
    def camera(self, agent_T_camera: Tensor) -> Tensor:
        """(A, N, C) encoded positions of the cameras (A, N, 4, 4)."""
        return nn.functional.linear(agent_T_camera[..., 3], self.position.weight.flatten(1))

    @full_precision
    def images(self, pixels: Tensor, intrinsics: Tensor, agent_T_camera: Tensor) -> Tensor:
        """Encode the viewing directions of pixels (3, p) of cameras (A, N, ...).

        A ray is K^-1 pixel, its end seen from the agent E [ray, 1]. Both are linear in the pixel,
        so the encoding is one (C, 3) matrix per camera.

        Returns:
            (A, N, p, C), unit length.
        """
        rays = agent_T_camera[..., :3] @ torch.linalg.inv(intrinsics)  # (A, N, 4, 3)
        ends = rays + nn.functional.pad(agent_T_camera[..., 3:], (2, 0))
        matrix = self.direction.weight.flatten(1) @ ends  # (A, N, C, 3)
        codes = (matrix @ pixels).transpose(-1, -2) - self.camera(agent_T_camera)[..., None, :]
        return _unit(codes)

    @full_precision
    def queries(self, agent_T_camera: Tensor) -> Tensor:
        """(A, N, H, W, C) encoded BEV cells as seen from each camera, unit length.

        Raises:
            ValueError: The queries of this stage carry no position.
        """
        if self.cell is None:
            raise ValueError('there are no cells here')
        cells = nn.functional.linear(self.cells, self.cell.weight.flatten(1), self.cell.bias)
        return _unit(cells - self.camera(agent_T_camera)[:, :, None, None])


def _unit(x: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / (length + 1e-7)
