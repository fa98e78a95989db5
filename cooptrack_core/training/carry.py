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

"""Which instances live on to the next training frame (reference section 4.5)."""

from __future__ import annotations

import torch
from torch import Tensor

from cooptrack_core.geometry import PerceptionRange
from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.interface import QuerySet
from cooptrack_core.training.matching import Matching
from cooptrack_core.training.options import Streaming
from cooptrack_core.training.targets import GroundTruth


def nearest_bev_rectangles(codes: Tensor) -> Tensor:
    """(n, 4) x_min, y_min, x_max, y_max of boxes turned to the nearest axis.

    ``w`` lies along local x and ``l`` along local y (reference section 2.6); the two swap when
    the yaw is closer to the other axis.
    """
    psi = box_code.psi(codes)
    folded = psi - torch.floor(psi / torch.pi + 0.5) * torch.pi  # [-pi/2, pi/2)
    size = codes[:, 2:4].exp()
    size = torch.where((folded.abs() > torch.pi / 4)[:, None], size.flip(1), size)
    return torch.cat([codes[:, :2] - size / 2, codes[:, :2] + size / 2], 1)


def paired_bev_iou(a: Tensor, b: Tensor) -> Tensor:
    """(n,) intersection over union of row i of ``a`` with row i of ``b``, both box codes."""
    first, second = nearest_bev_rectangles(a), nearest_bev_rectangles(b)
    low = torch.maximum(first[:, :2], second[:, :2])
    high = torch.minimum(first[:, 2:], second[:, 2:])
    overlap = (high - low).clamp(min=0).prod(1)
    area = (first[:, 2:] - first[:, :2]).prod(1) + (second[:, 2:] - second[:, :2]).prod(1)
    return overlap / (area - overlap).clamp(min=1e-6)


@torch.no_grad()
def refresh_iou(
    iou: Tensor, codes: Tensor, matching: Matching, truth: GroundTruth, *, stale: bool = False
) -> Tensor:
    """(n,) IoU of every matched prediction with its object.

    Args:
        iou: (n,) values of the previous frame (0 for fresh instances).
        codes: (n, 10) predictions of the last matcher call.
        matching: Its result.
        truth: The objects.
        stale: As released: values are only refreshed when some object was newly matched.
    """
    if stale and not matching.new:
        return iou
    result = iou.clone()
    rows = torch.nonzero(matching.targets >= 0)[:, 0]
    result[rows] = paired_bev_iou(codes[rows], truth.codes[matching.targets[rows]])
    return result


@torch.no_grad()
def well_placed(
    iou: Tensor, codes: Tensor, matching: Matching, truth: GroundTruth, plan: Streaming
) -> Tensor:
    """(n,) bool: matched, and near enough to its object to be followed.

    As released: IoU above 0.5. ``plan.carry_distance`` lets matches within so many metres live
    on too; at inference they would, by their score.
    """
    placed = (matching.targets >= 0) & (iou > plan.carry_iou)
    rows = torch.nonzero(matching.targets >= 0)[:, 0]
    offset = codes[rows, :2] - truth.codes[matching.targets[rows], :2]
    placed[rows] |= offset.norm(dim=1) < plan.carry_distance
    return placed


@torch.no_grad()
def carried_rows(
    matching: Matching,
    placed: Tensor,
    scores: Tensor,
    plan: Streaming,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Row indices that become track queries of the next frame.

    Well-placed matches live on; each is dropped with ``drop_probability`` (the network must find
    it again), and for each that stays one false positive, the best scored instance without an
    object, is added with probability ``false_positive_ratio`` (the network must let it go).

    Args:
        matching: Of the last matcher call.
        placed: (n,) bool of ``well_placed``.
        scores: (n,) of the output.
        plan: The two probabilities.
        generator: Source of randomness on the CPU.
    """
    active = torch.nonzero(placed)[:, 0]
    if len(active) and plan.drop_probability > 0:
        draw = torch.rand(len(active), generator=generator).to(active.device)
        active = active[draw >= plan.drop_probability]
    if not len(active) or plan.false_positive_ratio <= 0:
        return active
    draw = torch.rand(len(active), generator=generator)
    wanted = int((draw < plan.false_positive_ratio).sum())
    free = torch.nonzero(matching.ids < 0)[:, 0]
    best = scores[free].argsort(descending=True, stable=True)[:wanted]
    return torch.cat([active, free[best]])


@torch.no_grad()
def displaced(
    live: QuerySet,
    range_: PerceptionRange,
    plan: Streaming,
    generator: torch.Generator | None = None,
) -> QuerySet:
    """Half of the tracks, drawn at random, at wrong places, as errors of a long drive would.

    Args:
        live: Tracks, agent frame.
        range_: Range of their reference points.
        plan: ``track_noise`` and ``track_range_noise``; both 0 change nothing and draw nothing.
        generator: Source of randomness on the CPU.
    """
    if not len(live) or (plan.track_noise <= 0 and plan.track_range_noise <= 0):
        return live
    count = len(live)
    chosen = (torch.rand(count, 1, generator=generator) < 0.5).to(live.refs)
    around = torch.randn(count, 2, generator=generator).clamp(-2, 2).to(live.refs)
    along = torch.randn(count, 1, generator=generator).clamp(-2, 2).to(live.refs)
    sight = box_code.centre(live.boxes)[:, :2].to(live.refs)  # its length is the distance
    shift = chosen * (plan.track_noise * around + plan.track_range_noise * along * sight)
    extent = box_code.range_tensors(range_, live.refs)[1]
    refs = torch.cat([live.refs[:, :2] + shift / extent[:2], live.refs[:, 2:]], 1)
    boxes = torch.cat([live.boxes[:, :2] + shift, live.boxes[:, 2:]], 1)
    return live.replace(refs=refs, boxes=boxes)
