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

"""Where a sender really stands: its pose error, found from objects both sides know.

All instances of a message share the error of the sender's pose (and of the receiver's). A sender
that admits an uncertain pose is therefore fitted onto the receiver's tracks and detections: the
most probable shift and turn given the pose covariance of the message and the uncertainty of every
object. A relative of CoAlign's box alignment (Lu et al., ICRA 2023) for one receiver and normal
errors; three numbers are estimated from a dozen objects. A sender without covariance is believed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from cooptrack_core.models.precision import full_precision

Array = NDArray[np.float64]

_ROUNDS = 4
_GATE = 3.5  # standard deviations within which two objects may be one
_DOUBT = 1.5  # standard deviations beyond which a pair counts less (Huber)


@dataclass(frozen=True, eq=False)
class PoseFit:
    """Error of a sender's pose in the receiver's axes.

    Attributes:
        shift: (3,) x, y (m) and yaw (rad) to add.
        covariance: (3, 3) what remains uncertain.
        pairs: Number of objects it rests on.
    """

    shift: Tensor
    covariance: Tensor
    pairs: int


def lever(points: Tensor, origin: Tensor) -> Tensor:
    """(n, 2, 3) how x, y of points move with x, y, yaw of a sender that stands at ``origin``."""
    arm = points - origin
    turn = torch.stack([-arm[:, 1], arm[:, 0]], -1)[..., None]
    return torch.cat([torch.eye(2).to(points).expand(len(points), 2, 2), turn], -1)


@full_precision
@torch.no_grad()
def fit_pose(
    own: Tensor, own_cov: Tensor, theirs: Tensor, their_cov: Tensor, prior: Tensor, origin: Tensor
) -> PoseFit:
    """Fit a sender's objects onto the receiver's.

    Args:
        own: (n, 2) objects of the receiver, metres.
        own_cov: (n, 2, 2).
        theirs: (m, 2) objects of the sender by its stated pose, receiver's frame.
        their_cov: (m, 2, 2) without the part of the pose.
        prior: (3, 3) covariance of the stated pose; zero leaves the pose as it is.
        origin: (2,) where the sender says it stands.
    """
    own, theirs, origin = own.double(), theirs.double(), origin.double()
    own_cov, their_cov, prior = own_cov.double(), their_cov.double(), prior.double()
    shift, covariance, pairs = prior.new_zeros(3), prior, 0
    if not len(own) or not len(theirs) or not prior.any():
        return PoseFit(shift, covariance, pairs)
    levers = lever(theirs, origin)
    floor = torch.diag(prior.new_tensor([1e-4, 1e-4, 1e-8]))  # 1 cm, 0.1 mrad
    trust = torch.linalg.inv(prior + floor)
    for _ in range(_ROUNDS):
        moved = theirs + levers @ shift
        noise = own_cov[:, None] + their_cov  # (n, m, 2, 2)
        wide = noise + levers @ covariance @ levers.transpose(1, 2)
        gap = (own[:, None] - moved)[..., None]
        distance = (gap.transpose(2, 3) @ torch.linalg.inv(wide) @ gap)[..., 0, 0]
        rows, columns = linear_sum_assignment(distance.clamp(max=2 * _GATE**2).numpy())
        row, column = torch.from_numpy(rows), torch.from_numpy(columns)
        near = distance[row, column] <= _GATE**2
        row, column = row[near], column[near]
        pairs = len(row)
        weight = torch.linalg.inv(noise[row, column])
        miss = gap[row, column]
        sigma = (miss.transpose(1, 2) @ weight @ miss)[:, 0, 0].clamp(min=1e-12).sqrt()
        weight = weight * (_DOUBT / sigma).clamp(max=1.0)[:, None, None]
        arms = levers[column]
        turned = arms.transpose(1, 2) @ weight
        covariance = torch.linalg.inv(trust + (turned @ arms).sum(0))
        there = (own[row] - theirs[column])[..., None]
        shift = covariance @ (turned @ there).sum(0)[:, 0]
    return PoseFit(shift, covariance, pairs)


def shifted(matrix: Array, shift: Array) -> Array:
    """Pose (4, 4) of a sender moved by x, y and turned by yaw where it stands, float64."""
    cos, sin = np.cos(shift[2]), np.sin(shift[2])
    turn = np.eye(3)
    turn[:2, :2] = [[cos, -sin], [sin, cos]]
    moved: Array = matrix.copy()
    moved[:3, :3] = turn @ matrix[:3, :3]
    moved[:2, 3] += shift[:2]
    return moved
