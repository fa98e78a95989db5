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

"""GBA, graph-based association: which remote instance is which query.

Source: reference section 2.11; edge-augmented attention after ADA-Track. Nodes are the agents'
instances, edges the differences of their reference points, and a Hungarian assignment on the
affinity picks the pairs.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from cooptrack_core.models.cooptrack.interface import QuerySet, RemoteAlignment


def two_layers(inputs: int, dims: int) -> nn.Sequential:
    """Linear, ReLU, Linear."""
    return nn.Sequential(nn.Linear(inputs, dims), nn.ReLU(), nn.Linear(dims, dims))


class GraphAssociation(nn.Module):
    """Affinity of every query with every aligned remote instance."""

    def __init__(self, dims: int, unscaled: bool) -> None:
        super().__init__()
        self.scale = 1.0 if unscaled else 1 / math.sqrt(dims)
        self.ego_node = two_layers(2 * dims, dims)
        self.remote_node = two_layers(2 * dims, dims)
        self.edge = two_layers(3, dims)
        self.query_weight = nn.Parameter(torch.empty(dims, dims))
        self.key_weight = nn.Parameter(torch.empty(dims, dims))
        self.edge_weight = nn.Parameter(torch.empty(dims, dims))
        self.affinity = nn.Sequential(
            nn.Linear(dims, dims), nn.LayerNorm(dims), nn.ReLU(), nn.Linear(dims, 1)
        )

    def forward(self, queries: QuerySet, remote: RemoteAlignment) -> Tensor:
        """Affinity logits (n, m)."""
        ego = self.ego_node(torch.cat([queries.feats, queries.motion], -1))
        other = self.remote_node(torch.cat([remote.feats, remote.motion], -1))
        edges = self.edge(queries.refs[:, None] - remote.refs)  # (n, m, D)
        product = (ego @ self.query_weight) @ (other @ self.key_weight).T * self.scale
        # The scalar product is added to every channel of the edge.
        attention = product[..., None] + edges @ self.edge_weight
        return cast(Tensor, self.affinity(attention)[..., 0])


def assign(cost: Tensor, accepted: Tensor) -> tuple[Tensor, Tensor]:
    """Hungarian assignment, then only accepted pairs.

    Args:
        cost: (n, m).
        accepted: (n, m) bool, pairs that may be used.

    Returns:
        Row and column indices (p,) int64, in row order.
    """
    rows, columns = linear_sum_assignment(cost.detach().cpu().numpy())
    row = torch.from_numpy(np.asarray(rows, dtype=np.int64)).to(cost.device)
    column = torch.from_numpy(np.asarray(columns, dtype=np.int64)).to(cost.device)
    good = accepted[row, column]
    return row[good], column[good]


def match_by_affinity(logits: Tensor, threshold: float, near: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of the highest total affinity, at least ``threshold`` each and ``near`` each other.

    Args:
        logits: (n, m) affinity logits.
        threshold: Lowest accepted affinity.
        near: (n, m) bool, pairs within the distance gate.
    """
    affinity = logits.detach().float().sigmoid()
    return assign(1 - affinity, (affinity >= threshold) & near)


def match_by_distance(points: Tensor, remote_points: Tensor, gate: float) -> tuple[Tensor, Tensor]:
    """Rule matching: Hungarian on the 3-D distance in metres, gated.

    Args:
        points: (n, 3) metres.
        remote_points: (m, 3) metres.
        gate: Largest accepted distance, metres.
    """
    distance = torch.cdist(
        points.detach().double(),
        remote_points.detach().double(),
        compute_mode='donot_use_mm_for_euclid_dist',
    )
    inside = distance <= gate
    return assign(torch.where(inside, distance, 1e6), inside)
