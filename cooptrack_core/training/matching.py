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

"""Who explains what: predictions are assigned to ground truth (reference section 4.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from cooptrack_core.training.targets import GroundTruth

CLASS_COST = 2.0
BOX_COST = 0.25
COST_DIMENSIONS = 8  # velocity does not take part in matching
_EPSILON = 1e-12


@dataclass(frozen=True, eq=False)
class Matching:
    """The assignment of one set of predictions of one frame.

    Attributes:
        targets: (n,) int64 index into the ground truth, -1 background.
        ids: (n,) int64 track id after matching: a carried track keeps its id, a new match takes
            the id of its object, everything else is -1.
        disappeared: Number of carried tracks whose object is not in this frame.
        new: Number of objects matched for the first time.
    """

    targets: Tensor
    ids: Tensor
    disappeared: int
    new: int

    @property
    def positives(self) -> int:
        """Number of predictions that have an object."""
        return int((self.targets >= 0).sum())


def class_cost(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """(n, m) focal classification cost of giving prediction i the label of object j."""
    p = logits.sigmoid()
    positive = -(p + _EPSILON).log() * alpha * (1 - p).pow(gamma)
    negative = -(1 - p + _EPSILON).log() * (1 - alpha) * p.pow(gamma)
    return (positive - negative)[:, labels]


def matching_cost(logits: Tensor, codes: Tensor, truth: GroundTruth) -> Tensor:
    """(n, m) Hungarian cost: 2.0 x focal + 0.25 x L1 over the first eight code numbers."""
    boxes = torch.cdist(codes[:, :COST_DIMENSIONS], truth.codes[:, :COST_DIMENSIONS], p=1)
    return CLASS_COST * class_cost(logits, truth.labels) + BOX_COST * boxes


def assign(cost: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows and columns of the cheapest one-to-one assignment of a cost matrix.

    A cost that is not finite (a prediction that overflowed) is made very expensive instead of
    stopping the training; the gradient clip deals with its cause.
    """
    table = cost.detach().float().cpu().numpy().astype(np.float64)
    rows, columns = linear_sum_assignment(np.nan_to_num(table, nan=1e8, posinf=1e8, neginf=-1e8))
    return torch.as_tensor(rows, device=cost.device), torch.as_tensor(columns, device=cost.device)


@torch.no_grad()
def match_tracks(logits: Tensor, codes: Tensor, ids: Tensor, truth: GroundTruth) -> Matching:
    """Match one set of predictions, honouring the identities that tracks carry.

    Carried tracks (id >= 0) keep their object if it is present, else they have disappeared and
    are taught background. The rest (id -1) compete for the objects nobody owns.

    Args:
        logits: (n, C).
        codes: (n, 10), metres.
        ids: (n,) int64 ids at the start of the frame.
        truth: The objects of the frame.

    Source: reference section 4.4 (ClipMatcher).
    """
    targets = torch.full_like(ids, -1)
    new_ids = ids.clone()
    carried = ids >= 0
    same = (ids[:, None] == truth.ids[None]) & carried[:, None]  # (n, m)
    found = same.any(1)
    if len(truth):
        targets[found] = same[found].long().argmax(1)
    free_rows = torch.nonzero(ids == -1)[:, 0]
    free_truth = torch.nonzero(~same.any(0))[:, 0]
    new = 0
    if len(free_rows) and len(free_truth):
        cost = matching_cost(logits[free_rows], codes[free_rows], truth.select(free_truth))
        rows, columns = assign(cost)
        targets[free_rows[rows]] = free_truth[columns]
        new_ids[free_rows[rows]] = truth.ids[free_truth[columns]]
        new = len(rows)
    return Matching(targets, new_ids, int((carried & ~found).sum()), new)


@torch.no_grad()
def match_ids(ids: Tensor, truth: GroundTruth) -> Matching:
    """Match by identity alone, as the memory-bank loss does."""
    same = (ids[:, None] == truth.ids[None]) & (ids >= 0)[:, None]
    found = same.any(1) if len(truth) else torch.zeros_like(ids, dtype=torch.bool)
    targets = torch.full_like(ids, -1)
    if len(truth):
        targets[found] = same[found].long().argmax(1)
    return Matching(targets, ids, int(((ids >= 0) & ~found).sum()), 0)


def gated_assignment(a: Tensor, b: Tensor, gate: float) -> tuple[Tensor, Tensor]:
    """Hungarian between points (n, d) and (m, d), metres; pairs farther than ``gate`` dropped."""
    distance = torch.cdist(a.float(), b.float())
    cost = torch.where(distance <= gate, distance, torch.full_like(distance, 1e6))
    rows, columns = assign(cost)
    near = distance[rows, columns] <= gate
    return rows[near], columns[near]


@torch.no_grad()
def association_labels(
    vehicle_xy: Tensor, remote_xy: Tensor, truth: GroundTruth, gate: float = 3.0
) -> Tensor:
    """(v, m) float labels: 1 where vehicle and remote instance own the same object.

    Args:
        vehicle_xy: (v, 2) BEV centres of the vehicle's candidates, metres, vehicle frame.
        remote_xy: (m, 2) BEV centres of the aligned remote instances, likewise.
        truth: Cooperative objects inside the vehicle's range.
        gate: Largest distance between instance and object, metres.

    Source: reference section 4.4.
    """
    labels = vehicle_xy.new_zeros(len(vehicle_xy), len(remote_xy))
    if 0 in (len(vehicle_xy), len(remote_xy), len(truth)):
        return labels
    objects = truth.codes[:, :2]
    rows, owned = gated_assignment(vehicle_xy, objects, gate)
    columns, owned_remote = gated_assignment(remote_xy, objects, gate)
    pair = owned[:, None] == owned_remote[None]  # (matched vehicles, matched remotes)
    i, j = torch.nonzero(pair, as_tuple=True)
    labels[rows[i], columns[j]] = 1.0
    return labels
