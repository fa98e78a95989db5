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

"""Losses of maps: cross-entropy with class weights, and the soft IoU of every class.

Source: reference cobevt.md section 7.1 for the cross-entropy; the soft IoU is our addition.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from cooptrack_core.models.cobevt.config import Target
from cooptrack_core.training.map_options import MapLossWeights

_SMOOTH = 1.0  # cells; keeps the loss of a class that is nowhere finite and near zero


def map_losses(
    logits: Mapping[Target, Tensor], truth: Mapping[Target, Tensor], weights: MapLossWeights
) -> dict[str, Tensor]:
    """Named losses of a batch.

    Args:
        logits: By target (``dynamic``, ``static``), (B, classes, rows, columns).
        truth: By target, (B, rows, columns) int64 classes; a target that is absent is not
            supervised.
        weights: Of classes and losses.
    """
    classes: dict[Target, tuple[float, ...]] = {
        'dynamic': (1.0, weights.vehicle),
        'static': (1.0, weights.drivable, weights.lane),
    }
    factors: dict[Target, float] = {'dynamic': weights.dynamic, 'static': weights.static}
    losses: dict[str, Tensor] = {}
    for target, found in logits.items():
        if target not in truth:
            continue
        found, wanted = found.float(), truth[target]
        balance = found.new_tensor(classes[target])
        losses[f'{target}_entropy'] = factors[target] * F.cross_entropy(found, wanted, balance)
        if weights.overlap:
            likely = found.softmax(1)[:, 1:]
            there = F.one_hot(wanted, found.shape[1]).movedim(-1, 1)[:, 1:].to(likely)
            overlap = soft_iou(likely, there)
            losses[f'{target}_overlap'] = weights.overlap * factors[target] * (1 - overlap).mean()
    return losses


def soft_iou(likely: Tensor, there: Tensor) -> Tensor:
    """(K,) IoU of probabilities (B, K, rows, columns) with truth of the same shape, over all B."""
    both = (likely * there).sum((0, 2, 3))
    either = (likely + there).sum((0, 2, 3)) - both
    return torch.div(both + _SMOOTH, either + _SMOOTH)
