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

"""Losses of every decoder layer of a batch of independent frames, computed at once.

The same numbers as matching and averaging layer by layer and frame by frame, in a fraction of the
operations: on a CPU their bookkeeping would cost as much as the network.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cooptrack_core.models.cooptrack.interface import DecoderOutputs
from cooptrack_core.training.auxiliary import NoisedQueries
from cooptrack_core.training.losses import (
    BOX_WEIGHT,
    CLASS_WEIGHT,
    CODE_WEIGHTS,
    class_loss,
    placement_quality,
)
from cooptrack_core.training.matching import assign, matching_cost
from cooptrack_core.training.options import Auxiliary
from cooptrack_core.training.targets import GroundTruth


def layer_losses(
    outputs: DecoderOutputs, truths: list[GroundTruth], skip: int = 0, quality: float = 0.0
) -> dict[str, Tensor]:
    """Class and box loss of every decoder layer; all queries are free.

    Args:
        outputs: Of B frames.
        truths: Objects per frame.
        skip: Number of noised queries in front.
        quality: See ``StageRecipe.quality_distance``.
    """
    logits, codes = outputs.logits[:, :, skip:].float(), outputs.boxes[:, :, skip:].float()
    every, offsets = _together(truths)
    with torch.no_grad():
        layer, frame, row, owner = _matches(logits, codes, every, offsets)
    wanted, labels = every.codes[owner], every.labels[owner]
    found = codes[layer, frame, row]
    targets = torch.zeros_like(logits)
    targets[layer, frame, row, labels] = placement_quality(found, wanted, quality)
    classes = class_loss(logits, targets, quality).sum((1, 2, 3))  # (L,)
    known = torch.isfinite(wanted)
    difference = (found - torch.where(known, wanted, found.detach())).abs()
    each = (difference * codes.new_tensor(CODE_WEIGHTS) * known).sum(1)
    boxes = torch.zeros_like(classes).index_add(0, layer, each)
    counts = torch.bincount(layer, minlength=len(logits)).clamp(min=1)
    losses: dict[str, Tensor] = {}
    for i in range(len(logits)):
        losses[f'frame_0_loss_cls_{i}'] = CLASS_WEIGHT * classes[i] / counts[i]
        losses[f'frame_0_loss_bbox_{i}'] = BOX_WEIGHT * boxes[i] / counts[i]
    return losses


def noised_losses(
    outputs: DecoderOutputs,
    truths: list[GroundTruth],
    noised: NoisedQueries,
    plan: Auxiliary,
    quality: float = 0.0,
) -> dict[str, Tensor]:
    """Denoising losses: averaged over objects and groups, summed over decoder layers."""
    count = noised.refs.shape[1]
    logits, codes = outputs.logits[:, :, :count].float(), outputs.boxes[:, :, :count].float()
    every, offsets = _together(truths)
    frame, row = torch.nonzero(noised.index.to(logits.device) >= 0, as_tuple=True)
    owner = noised.index.to(logits.device)[frame, row] + offsets.to(logits.device)[frame]
    wanted, labels = every.codes[owner], every.labels[owner]
    found = codes[:, frame, row]  # (L, k, 10)
    targets = logits.new_zeros(found.shape[:2] + logits.shape[3:])
    number = torch.arange(len(owner), device=logits.device)
    targets[:, number, labels] = placement_quality(found, wanted, quality)
    known = torch.isfinite(wanted)
    difference = (found - torch.where(known, wanted, found.detach())).abs()
    scale = plan.denoising / (max(len(every), 1) * plan.denoising_groups)
    first = class_loss(logits[:, frame, row], targets, quality).sum()
    second = (difference * codes.new_tensor(CODE_WEIGHTS) * known).sum()
    return {
        'denoising_cls': scale * CLASS_WEIGHT * first,
        'denoising_box': scale * BOX_WEIGHT * second,
    }


def _together(truths: list[GroundTruth]) -> tuple[GroundTruth, Tensor]:
    """All objects of a batch in one set, and (B + 1,) where each frame's begin."""
    every = GroundTruth(
        torch.cat([t.codes for t in truths]),
        torch.cat([t.labels for t in truths]),
        torch.cat([t.ids for t in truths]),
    )
    sizes = torch.tensor([0] + [len(t) for t in truths])
    return every, sizes.cumsum(0)


def _matches(
    logits: Tensor, codes: Tensor, every: GroundTruth, offsets: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Layer, frame, query and object (k,) of all Hungarian matches of a batch."""
    layers, frames, queries = logits.shape[:3]
    found: list[Tensor] = []
    for frame in range(frames):
        begin, end = int(offsets[frame]), int(offsets[frame + 1])
        if begin == end:
            continue
        here = every.select(torch.arange(begin, end, device=logits.device))
        cost = matching_cost(logits[:, frame].flatten(0, 1), codes[:, frame].flatten(0, 1), here)
        for layer, table in enumerate(cost.view(layers, queries, -1).cpu()):
            rows, columns = assign(table)
            place = torch.tensor([layer, frame])[:, None].expand(2, len(rows))
            found.append(torch.cat([place, rows[None], columns[None] + begin]))
    if not found:
        found = [torch.zeros(4, 0, dtype=torch.int64)]
    layer, frame_, row, owner = torch.cat(found, 1).to(logits.device)
    return layer, frame_, row, owner
