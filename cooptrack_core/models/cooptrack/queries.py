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

"""Learnt queries, their positional embedding, and the query set of a frame.

Source: reference sections 2.7 and 2.13 ("next frame").
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from cooptrack_core.geometry import PerceptionRange
from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.config import DecoderConfig
from cooptrack_core.models.cooptrack.interface import QuerySet
from cooptrack_core.models.precision import full_precision


def sinusoid(x: Tensor, dims: int) -> Tensor:
    """Sinusoidal code of numbers, temperature 10000, period 2 pi at 1.

    Args:
        x: (...) numbers, usually in [0, 1].
        dims: Even length of the code.

    Returns:
        (..., dims) with sine and cosine interleaved.
    """
    k = torch.arange(dims, dtype=x.dtype, device=x.device)
    frequency = 10000 ** (2 * torch.div(k, 2, rounding_mode='floor') / dims)
    angle = (x * (2 * math.pi))[..., None] / frequency
    return torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], -1).flatten(-2)


class LearntQueries(nn.Module):
    """Reference points and contents a frame starts with, and the positional embedding.

    Args:
        count: Number of queries N.
        dims: Embedding size D.
        start: (N, 3) normalised reference points to start from; None for random ones.
    """

    def __init__(self, count: int, dims: int, start: Tensor | None = None) -> None:
        super().__init__()
        self.refs = nn.Embedding(count, 3)
        self.feats = nn.Embedding(count, dims)
        half = dims // 2
        self.code_dims = half
        self.position_mlp = nn.Sequential(
            nn.Linear(3 * half, dims), nn.ReLU(), nn.Linear(dims, dims)
        )
        nn.init.uniform_(self.refs.weight)
        if start is not None:
            self.refs.weight.data.copy_(start)
        nn.init.zeros_(self.feats.weight)

    def embed(self, refs: Tensor) -> Tensor:
        """Positional embedding (..., D) of reference points (..., 3) in [0, 1]."""
        codes = sinusoid(refs, self.code_dims)  # (..., 3, half)
        yxz = torch.cat([codes[..., 1, :], codes[..., 0, :], codes[..., 2, :]], -1)
        return cast(Tensor, self.position_mlp(yxz))

    def fresh(self, keep: Tensor, classes: int, history: int) -> QuerySet:
        """Query set of the learnt queries with index ``keep`` (n,)."""
        refs, feats = self.refs.weight[keep], self.feats.weight[keep]
        n, dims = feats.shape
        number = keep.new_zeros(n)
        return QuerySet(
            feats=feats,
            embeds=self.embed(refs),
            motion=torch.zeros_like(feats),
            refs=refs,
            boxes=refs.new_zeros(n, box_code.CODE_SIZE),
            logits=refs.new_zeros(n, classes),
            scores=refs.new_zeros(n),
            ids=number - 1,
            missed=number,
            tracked=number > 0,
            learnt=keep,
            hist_feats=feats.new_zeros(n, history, dims),
            hist_motion=feats.new_zeros(n, history, dims),
            hist_padding=torch.ones(n, history, dtype=torch.bool, device=feats.device),
            remote_bits=number,
            best=refs.new_zeros(n),
        )


def start_references(config: DecoderConfig, range_: PerceptionRange) -> Tensor | None:
    """Evenly spread start (N, 3) of the learnt reference points, normalised; None for random.

    A low-discrepancy sequence (Roberts' R3) over the start area, cut to the wedge.
    """
    if config.start_area is None:
        return None
    ratio = 1.22074408460575947536  # the real root of x^4 = x + 1
    step = torch.tensor([ratio**-1, ratio**-2, ratio**-3], dtype=torch.float64)
    area = torch.tensor(config.start_area, dtype=torch.float64)
    unit = (0.5 + torch.arange(100 * config.queries)[:, None] * step) % 1
    points = area[:3] + unit * (area[3:] - area[:3])
    if config.start_wedge is not None:
        points = points[torch.atan2(points[:, 1], points[:, 0]).abs() < config.start_wedge]
    if len(points) < config.queries:
        raise ValueError('the start wedge leaves hardly anything of the start area')
    return box_code.normalise(points[: config.queries], range_).float()


@full_precision
def choose_learnt(learnt_refs: Tensor, live_refs: Tensor, random: bool) -> Tensor:
    """Which learnt queries stay when live tracks take their places.

    Args:
        learnt_refs: (N, 3) normalised.
        live_refs: (m, 3) normalised reference points of the live tracks.
        random: Official behaviour, ``torch.randperm``.

    Returns:
        (max(N - m, 0),) int64. By default the queries nearest to a track make room, since the
        track covers their place; the order is that of the learnt queries.
    """
    count, device = len(learnt_refs), learnt_refs.device
    room = max(count - len(live_refs), 0)
    if len(live_refs) == 0:
        return torch.arange(count, device=device)
    if random:
        return torch.randperm(count)[:room].to(device)
    distance = torch.cdist(learnt_refs.detach(), live_refs.detach()).min(1).values
    order = distance.argsort(descending=True, stable=True)
    return order[:room].sort().values


@full_precision
def propagate(
    live: QuerySet,
    current_T_previous: Tensor,
    seconds: float,
    range_: PerceptionRange,
    heading_stays: bool,
    float32_poses: tuple[Tensor, Tensor] | None = None,
) -> QuerySet:
    """Move tracks to the next frame: constant velocity, then the ego's own motion.

    Args:
        live: Tracks at the previous frame.
        current_T_previous: (4, 4) previous agent frame to the current one.
        seconds: Time between the frames.
        range_: Range of the reference points.
        heading_stays: Leave yaw and velocity in the old frame (official quirk).
        float32_poses: world_T_agent (4, 4) then and now, float32: go through the world in
            float32 as the official code does (quirk), instead of by ``current_T_previous``.
    """
    low, extent = box_code.range_tensors(range_, live.refs)
    step = live.boxes[:, 8:10] * seconds / extent[:2]
    refs = torch.cat([live.refs[:, :2] + step, live.refs[:, 2:]], -1)
    points = refs * extent + low
    if float32_poses is None:
        points = points @ current_T_previous[:3, :3].T + current_T_previous[:3, 3]
    else:
        then, now = float32_poses
        points = points @ then[:3, :3].T + then[:3, 3] - now[:3, 3]
        points = points @ torch.linalg.inv(now[:3, :3].T)
    boxes = box_code.with_centre(live.boxes, points)
    if not heading_stays:
        boxes = box_code.rotate_heading(boxes, current_T_previous[:3, :3])
    return live.replace(refs=(points - low) / extent, boxes=boxes)
