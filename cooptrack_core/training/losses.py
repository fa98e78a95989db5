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

"""The losses of CoopTrack: focal, L1, memory bank, association (reference section 4.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cooptrack_core.training.matching import Matching
from cooptrack_core.training.targets import GroundTruth

CODE_WEIGHTS = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2)
CLASS_WEIGHT = 2.0
BOX_WEIGHT = 0.25
ASSOCIATION_WEIGHT = 10.0


@dataclass(frozen=True, eq=False)
class Share:
    """A loss before averaging: its sum and how many items it is averaged over.

    Keeping the two apart makes the mean over a batch the mean over its items, as the official
    code does it, and not the mean of per-sample means.
    """

    total: Tensor
    count: float

    def mean(self) -> Tensor:
        """Average over the items; an empty share averages over one."""
        return torch.nan_to_num(self.total / max(self.count, 1.0))


def combine(shares: Sequence[Share]) -> Tensor:
    """Sum(loss x factor) / sum(factor) over the samples of a batch (reference section 4.4)."""
    if not shares:
        raise ValueError('no samples to average')
    total = torch.stack([s.total for s in shares]).sum()
    return Share(total, sum(s.count for s in shares)).mean()


def sigmoid_focal(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """Elementwise focal loss of logits against {0, 1} targets of the same shape.

    Args:
        logits: Any shape.
        targets: As ``logits``.
        alpha: Weight of positives, 1 - alpha of negatives; negative switches weighting off.
        gamma: Focusing exponent.
    """
    p = logits.sigmoid()
    miss = (1 - p) * targets + p * (1 - targets)
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction='none')
    loss = loss * miss.pow(gamma)
    if alpha >= 0:
        loss = loss * (alpha * targets + (1 - alpha) * (1 - targets))
    return loss


def placement_quality(codes: Tensor, wanted: Tensor, distance: float) -> Tensor:
    """Class target of matched predictions: exp(-d / distance), d the offset of the BEV centres.

    A score then says how far the box can be trusted, and not only that something is there.
    Source: quality focal loss (Li et al., NeurIPS 2020), with placement in place of IoU.

    Args:
        codes: (..., k, 10) matched predictions, metres.
        wanted: (k, 10) their objects.
        distance: Metres; 0 gives the released targets, 1 for every match.

    Returns:
        (..., k), without gradient.
    """
    offset = (codes[..., :2] - wanted[:, :2]).detach().norm(dim=-1)
    return torch.exp(-offset / distance) if distance > 0 else torch.ones_like(offset)


def class_loss(logits: Tensor, targets: Tensor, quality: float) -> Tensor:
    """Elementwise class loss: focal (gamma 2, alpha 0.25), for soft targets the quality one.

    The quality focal loss is |t - p|^2 times cross entropy, without weights for the two sides;
    a factor of a half keeps it at the size of the other.
    """
    if quality <= 0:
        return sigmoid_focal(logits, targets, 0.25, 2.0)
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction='none')
    return 0.5 * entropy * (targets - logits.sigmoid()).square()


def class_share(
    logits: Tensor,
    codes: Tensor,
    matching: Matching,
    truth: GroundTruth,
    count: float,
    quality: float = 0.0,
) -> Share:
    """Class loss (x 2.0) of all predictions, background included."""
    targets = torch.zeros_like(logits)
    rows = torch.nonzero(matching.targets >= 0)[:, 0]
    owner = matching.targets[rows]
    aim = placement_quality(codes[rows], truth.codes[owner], quality)
    targets[rows, truth.labels[owner]] = aim.to(targets)
    return Share(CLASS_WEIGHT * class_loss(logits, targets, quality).sum(), count)


def box_share(codes: Tensor, matching: Matching, truth: GroundTruth) -> Share:
    """L1 (x 0.25, code weights) of predictions with an object; NaN targets do not count."""
    rows = torch.nonzero(matching.targets >= 0)[:, 0]
    target = truth.codes[matching.targets[rows]]
    known = torch.isfinite(target)
    difference = (codes[rows] - torch.where(known, target, codes[rows].detach())).abs()
    weights = codes.new_tensor(CODE_WEIGHTS)
    return Share(BOX_WEIGHT * (difference * weights * known).sum(), float(len(rows)))


def matched_losses(
    logits: Tensor, codes: Tensor, matching: Matching, truth: GroundTruth, quality: float = 0.0
) -> tuple[Share, Share]:
    """Class and box loss of one decoder layer (or the fused output) after ``match_tracks``.

    The class loss is averaged over matched and disappeared tracks, the box loss over matched.
    """
    count = float(matching.positives + matching.disappeared)
    share = class_share(logits, codes, matching, truth, count, quality)
    return share, box_share(codes, matching, truth)


def memory_bank_losses(
    logits: Tensor, codes: Tensor, matching: Matching, truth: GroundTruth, quality: float = 0.0
) -> tuple[Share, Share]:
    """Class and box loss of the reasoned output with the ids just assigned (LOSS memory bank).

    Same losses, but averaged over positives alone: disappeared tracks do not count.
    """
    share = class_share(logits, codes, matching, truth, float(matching.positives), quality)
    return share, box_share(codes, matching, truth)


def association_loss(
    affinity_logits: Tensor, labels: Tensor, *, alpha: float = -1.0, gamma: float = 1.0
) -> Tensor:
    """10 x mean focal loss over all (vehicle candidate, remote instance) pairs.

    Args:
        affinity_logits: (v, m) before the sigmoid.
        labels: (v, m) of ``association_labels``.
        alpha: -1 as released (no weighting); 0.5 as the paper says.
        gamma: Focusing exponent.

    Returns:
        Scalar; exactly 0 when no pair is positive.
    """
    if labels.numel() == 0 or not bool((labels > 0).any()):
        return affinity_logits.sum() * 0.0
    return ASSOCIATION_WEIGHT * sigmoid_focal(affinity_logits, labels, alpha, gamma).mean()
