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

"""CAA, cross-agent alignment: remote features and geometry into the receiver's frame.

Source: reference section 2.10. The relative pose becomes a latent block-diagonal rotation and a
latent translation, which move the features; reference points and boxes move as geometry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from cooptrack_core.geometry import PerceptionRange
from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.config import CooperationConfig, PartsConfig, PlacementConfig
from cooptrack_core.models.cooptrack.interface import RemoteAlignment, RemoteInstances
from cooptrack_core.models.cooptrack.latency import carried_on
from cooptrack_core.models.cooptrack.placement import remote_covariance
from cooptrack_core.models.cooptrack.quirks import OfficialQuirks


def projection(dims: int) -> nn.Sequential:
    """Linear, LayerNorm, ReLU."""
    return nn.Sequential(nn.Linear(dims, dims), nn.LayerNorm(dims), nn.ReLU())


def pose_mlp(inputs: int, dims: int, out: int, nonnegative: bool) -> nn.Sequential:
    """Three [Linear, LayerNorm, ReLU]; the last ReLU only as an official quirk."""
    layers: list[nn.Module] = []
    for a, b in ((inputs, dims), (dims, dims), (dims, out)):
        layers += [nn.Linear(a, b), nn.LayerNorm(b), nn.ReLU()]
    return nn.Sequential(*(layers if nonnegative else layers[:-1]))


@dataclass(frozen=True, eq=False)
class MovedInstances:
    """A message as far as geometry and time carry it; features are still the sender's.

    Attributes:
        kept: (M,) bool, inside the receiver's range and not the receiver itself.
        feats, embeds, motion: (m, D) of the kept instances, m of M, at the receiver's time.
        points: (m, 3) reference points, receiver's agent frame, metres.
        boxes: (m, 10) box codes, receiver's agent frame.
    """

    kept: Tensor
    feats: Tensor
    embeds: Tensor
    motion: Tensor
    points: Tensor
    boxes: Tensor


def moved_instances(
    remote: RemoteInstances,
    like: Tensor,
    range_: PerceptionRange,
    footprint: tuple[float, float, float, float] | None,
) -> MovedInstances:
    """Carry a message on to the receiver's time and move it into its frame.

    Args:
        remote: The message.
        like: Device and precision.
        range_: Where the receiver tracks.
        footprint: x_min, x_max, y_min, y_max of the receiver; None keeps what lies inside.
    """
    ego_T_remote = torch.tensor(remote.ego_T_remote).to(like)
    refs, boxes = remote.ref_pts.to(like), remote.boxes.to(like)
    points = box_code.denormalise(refs, remote.range)
    feats, motion, points, boxes = carried_on(remote, points, boxes)
    points = box_code.transform_points(points, ego_T_remote)
    kept = _kept(points, range_, footprint)
    return MovedInstances(
        kept=kept,
        feats=feats.to(like)[kept],
        embeds=remote.query_embeds.to(like)[kept],
        motion=motion.to(like)[kept],
        points=points[kept],
        boxes=box_code.transform(boxes[kept], ego_T_remote),
    )


def _kept(
    points: Tensor, range_: PerceptionRange, footprint: tuple[float, float, float, float] | None
) -> Tensor:
    """Mask (M,) of points inside the receiver's range that are not the receiver."""
    r, (x, y) = range_, points[:, :2].unbind(-1)
    kept = (r.x_min <= x) & (x <= r.x_max) & (r.y_min <= y) & (y <= r.y_max)
    if footprint is not None:
        x0, x1, y0, y1 = footprint
        kept = kept & ~((x0 <= x) & (x <= x1) & (y0 <= y) & (y <= y1))
    return kept


class CrossAgentAlignment(nn.Module):
    """Latent transforms for semantic features, positional embeddings and motion features."""

    def __init__(
        self,
        dims: int,
        config: CooperationConfig,
        range_: PerceptionRange,
        quirks: OfficialQuirks,
        parts: PartsConfig,
    ) -> None:
        super().__init__()
        self.parts = parts
        self.block, self.range = config.block, range_
        self.placement = config.placement or PlacementConfig()
        self.footprint = None if quirks.keep_ego_in_remotes else config.ego_footprint
        nonnegative = quirks.nonnegative_alignment
        self.rotation_mlp = pose_mlp(6, dims, dims * config.block, nonnegative)
        self.translation_mlp = pose_mlp(3, dims, dims, nonnegative)
        names = ('feats', 'embeds', 'motion')
        self.inputs = nn.ModuleDict({name: projection(dims) for name in names})
        self.outputs = nn.ModuleDict({name: projection(dims) for name in names})

    def forward(self, remote: RemoteInstances) -> RemoteAlignment:
        """Align one remote agent's instances; pairs and affinity are still empty."""
        like = next(self.parameters())
        moved = moved_instances(remote, like, self.range, self.footprint)
        believed = remote.ego_T_remote if remote.caa_T_remote is None else remote.caa_T_remote
        rotation, translation = self.latent_pose(torch.tensor(believed).to(like))
        aligned = {'feats': moved.feats, 'embeds': moved.embeds, 'motion': moved.motion}
        if self.parts.caa:
            aligned = {n: self._move(n, x, rotation, translation) for n, x in aligned.items()}
        if not self.parts.mdfe:
            aligned['motion'] = torch.zeros_like(aligned['motion'])
        none = torch.zeros(0, dtype=torch.int64, device=like.device)
        return RemoteAlignment(
            agent_id=remote.agent_id,
            kept=moved.kept,
            refs=box_code.normalise(moved.points, self.range),
            boxes=moved.boxes,
            logits=None if remote.logits is None else remote.logits.to(like)[moved.kept],
            covariance=remote_covariance(moved.points[:, :2], remote, self.placement),
            affinity=None,
            candidates=none,
            ego_rows=none,
            remote_rows=none,
            **aligned,
        )

    def latent_pose(self, ego_T_remote: Tensor) -> tuple[Tensor, Tensor]:
        """Blocks of the latent rotation (D / b, b, b) and latent translation (D,)."""
        # First two columns of the rotation, read row by row (the 6-D rotation code).
        six = ego_T_remote[:3, :2].reshape(1, 6)
        rotation = self.rotation_mlp(six).view(-1, self.block, self.block)
        return rotation, self.translation_mlp(ego_T_remote[None, :3, 3])[0]

    def _move(self, name: str, x: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
        """out(in(x) R^T + t + x) for (m, D) features of one stream."""
        blocks = torch.unflatten(self.inputs[name](x), -1, (-1, self.block))  # (m, D / b, b)
        turned = torch.einsum('mkj,kij->mki', blocks, rotation).flatten(1)
        return cast(Tensor, self.outputs[name](turned + translation + x))
