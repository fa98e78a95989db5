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

"""SinBEVT: from one agent's camera ring to its BEV feature map.

Source: CoBEVT, section 3.3; reference section 2.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cooptrack_core.models.attention.fax_cross import FaxCrossAttention, fit
from cooptrack_core.models.attention.fax_self import MapSelfAttention
from cooptrack_core.models.backbones.resnet import Bottleneck
from cooptrack_core.models.cobevt.config import CobevtConfig
from cooptrack_core.models.cobevt.embedding import CameraEmbedding, pixel_plane
from cooptrack_core.models.cobevt.ground import GroundSampling, Places
from cooptrack_core.models.precision import full_precision

# Calibrations a frozen module remembers; one of official size takes 45 MB per agent.
_REMEMBERED = 4


@dataclass(frozen=True, eq=False)
class StageGeometry:
    """What a stage needs of the calibration.

    Attributes:
        codes: (A, N, h, w, C) encoded viewing directions of the image tokens.
        query: Projected queries of the first attention with their positions, cut into windows;
            None for stages whose queries carry no position.
        places: Where the images show the places of the queries; None if they are not looked up.
    """

    codes: Tensor
    query: Tensor | None
    places: Places | None


class SinBevtStage(nn.Module):
    """FAX cross-attention on one level of image features, then convolutions.

    Args:
        config: The whole model's.
        stage: Index of the stage.
        image_channels: Channels of the image features.
    """

    def __init__(self, config: CobevtConfig, stage: int, image_channels: int) -> None:
        super().__init__()
        sin, quirks = config.sinbevt, config.quirks
        dims, window = sin.dims[stage], sin.query_windows[stage]
        grid = config.queries(stage)
        self.image = (config.image.height, config.image.width)
        self.groups = (grid.rows // window, grid.columns // window)
        self.window = sin.image_windows[stage]
        self.pixels_from_edges = quirks.pixels_from_edges
        self.padding_is_seen = quirks.padding_is_seen
        self.embedding = CameraEmbedding(
            dims, grid if stage == 0 else None, quirks.cells_from_edges
        )
        self.keys = _projection(image_channels, dims)
        self.values = _projection(image_channels, dims)
        self.ground = None
        if sin.ground_heights:
            self.ground = GroundSampling(
                grid, self.image, image_channels, dims, sin.ground_heights, sin.ground_samples
            )
        heads = dims // sin.head_dims
        self.attention = FaxCrossAttention(
            dims, heads, (window, window), self.window, sin.global_attention
        )
        self.refine = nn.Sequential(*(Bottleneck(dims, dims // 4) for _ in range(sin.refinements)))
        last = stage + 1 == len(sin.dims)
        self.downsample = None if last else _downsample(dims, sin.dims[stage + 1])

    def geometry(
        self, bev: Tensor | None, size: tuple[int, int], intrinsics: Tensor, agent_T_camera: Tensor
    ) -> StageGeometry:
        """What follows from the calibration alone.

        Args:
            bev: (H, W, C) learnt queries, for the first stage.
            size: h, w of the image features.
            intrinsics: (A, N, 3, 3).
            agent_T_camera: (A, N, 4, 4).
        """
        pixels = pixel_plane(size, self.image, self.pixels_from_edges).to(intrinsics)
        codes = self.embedding.images(pixels, intrinsics, agent_T_camera)
        codes = torch.unflatten(codes, 2, size)
        shown = None if self.ground is None else self.ground.places(intrinsics, agent_T_camera)
        if bev is None or self.embedding.cell is None:
            return StageGeometry(codes, None, shown)
        places = self.embedding.queries(agent_T_camera)
        return StageGeometry(codes, self.attention.local_query(bev + places), shown)

    def forward(
        self,
        bev: Tensor,
        features: Tensor,
        geometry: StageGeometry,
        cameras_valid: Tensor | None,
    ) -> Tensor:
        """Look at the images.

        Args:
            bev: (A, H, W, C).
            features: (A * N, C_f, h, w).
            geometry: Of this stage.
            cameras_valid: (A, N) bool; None for all.

        Returns:
            (A, H', W', C'), half the size and the next stage's channels but for the last stage.
        """
        codes = geometry.codes
        ring, size = codes.shape[:2], (codes.shape[2], codes.shape[3])
        keys = codes + torch.unflatten(self.keys(features).permute(0, 2, 3, 1), 0, ring)
        values = torch.unflatten(self.values(features).permute(0, 2, 3, 1), 0, ring)
        keys, values = fit(keys, self.window), fit(values, self.window)
        groups = (keys.shape[2] // self.window[0], keys.shape[3] // self.window[1])
        if groups != self.groups:
            raise ValueError(
                f'image features {size} make {groups} windows of {self.window}, the BEV queries '
                f'{self.groups}'
            )
        keep = self._keep(size, keys, cameras_valid)
        if self.ground is not None and geometry.places is not None:
            bev = bev + self.ground(features, geometry.places, cameras_valid)
        bev = self.attention(bev, geometry.query, keys, values, keep, cameras_valid)
        maps = self.refine(bev.permute(0, 3, 1, 2))
        if self.downsample is not None:
            maps = self.downsample(maps)
        out: Tensor = maps.permute(0, 2, 3, 1)
        return out

    def _keep(
        self, size: tuple[int, int], keys: Tensor, cameras_valid: Tensor | None
    ) -> Tensor | None:
        """Tokens (A, N, h, w) that attention may look at; None for all."""
        agents, cameras, rows, columns = keys.shape[:4]
        padded = size != (rows, columns) and not self.padding_is_seen
        if cameras_valid is None and not padded:
            return None
        keep = keys.new_ones(agents, cameras, rows, columns, dtype=torch.bool)
        if padded:
            keep[:, :, size[0] :] = False
            keep[:, :, :, size[1] :] = False
        return keep if cameras_valid is None else keep & cameras_valid[:, :, None, None]


class SinBevt(nn.Module):
    """Learnt BEV queries pass the levels of the image features, finest first.

    Args:
        config: The whole model's.
        image_channels: Channels of the levels.
    """

    def __init__(self, config: CobevtConfig, image_channels: Sequence[int]) -> None:
        super().__init__()
        sin, grid = config.sinbevt, config.queries(0)
        self.queries = nn.Parameter(torch.randn(sin.dims[0], grid.rows, grid.columns))
        self.stages = nn.ModuleList(
            SinBevtStage(config, s, channels) for s, channels in enumerate(image_channels)
        )
        self.frozen = False
        self._known: OrderedDict[tuple[bytes | str, ...], list[StageGeometry]] = OrderedDict()
        self.residual = sin.residual
        self.self_attention = None
        if sin.self_attention:
            self.self_attention = MapSelfAttention(
                sin.dims[-1], sin.dims[-1] // sin.head_dims, config.features.rows, sin.dropout
            )

    def forward(
        self,
        features: Sequence[Tensor],
        intrinsics: Tensor,
        agent_T_camera: Tensor,
        cameras_valid: Tensor | None = None,
    ) -> Tensor:
        """Encode the rings of A agents.

        Args:
            features: Levels (A * N, C_f, h, w).
            intrinsics: (A, N, 3, 3), pixels of the network's images.
            agent_T_camera: (A, N, 4, 4).
            cameras_valid: (A, N) bool; None for all.

        Returns:
            (A, C, H, W).
        """
        bev = self.queries.permute(1, 2, 0)
        sizes = [(level.shape[-2], level.shape[-1]) for level in features]
        geometry = self._geometry(bev, sizes, intrinsics, agent_T_camera)
        bev = bev.expand(agent_T_camera.shape[0], -1, -1, -1)
        for stage, level, known in zip(self.stages, features, geometry, strict=True):
            bev = stage(bev, level, known, cameras_valid)
        if self.self_attention is not None:
            seen = self.self_attention(bev)
            bev = bev + seen if self.residual else seen
        return bev.permute(0, 3, 1, 2).contiguous()

    @full_precision
    def _geometry(
        self,
        bev: Tensor,
        sizes: list[tuple[int, int]],
        intrinsics: Tensor,
        agent_T_camera: Tensor,
    ) -> list[StageGeometry]:
        """Geometry of all stages; a frozen module remembers that of the latest calibrations."""
        key = None
        if self.frozen:
            parts = (intrinsics, agent_T_camera, intrinsics.shape, sizes, bev.dtype, bev.device)
            key = tuple(
                p.cpu().numpy().tobytes() if isinstance(p, Tensor) else str(p) for p in parts
            )
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        geometry = [
            stage.geometry(bev if s == 0 else None, sizes[s], intrinsics, agent_T_camera)  # type: ignore[operator]
            for s, stage in enumerate(self.stages)
        ]
        if key is not None:
            self._known[key] = geometry
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return geometry


def _projection(channels: int, dims: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, dims, 1, bias=False)
    )


def _downsample(dims: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(dims, out // 4, 3, padding=1, bias=False),
        nn.PixelUnshuffle(2),
        nn.Conv2d(out, out, 3, padding=1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(),
        nn.Conv2d(out, out, 1, bias=False),
        nn.BatchNorm2d(out),
    )
