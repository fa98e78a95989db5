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

"""How well agents place objects, and where two of them meet.

A camera tells the direction of an object far better than its distance, so two agents that look
from different sides complement each other: each is believed most across its own line of sight.
Positions are normal variables in the receiver's plane; a pair meets at the mean weighted by the
inverse covariances, and the sum of the covariances gates the association. Uncertainty of the
sender's pose comes with its message. Not part of the official code, where pairs meet halfway.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cooptrack_core.models.cooptrack.config import PlacementConfig
from cooptrack_core.models.cooptrack.interface import RemoteInstances
from cooptrack_core.models.cooptrack.pose_fit import lever
from cooptrack_core.models.precision import full_precision
from cooptrack_core.structures import Role


@full_precision
def sight_covariance(points: Tensor, spread: tuple[float, float, float, float]) -> Tensor:
    """Covariance (n, 2, 2), square metres, of what a camera at the origin places.

    Args:
        points: (n, 2) x, y in the agent frame, metres.
        spread: Standard deviation along the line of sight (metres, and per metre of distance),
            then across it likewise.
    """
    distance = points.norm(dim=1)
    sight = points / distance.clamp(min=1e-6)[:, None]
    along = (spread[0] + spread[1] * distance) ** 2
    across = (spread[2] + spread[3] * distance) ** 2
    outer = sight[:, :, None] * sight[:, None]
    plane = torch.eye(2).to(points)
    covariance: Tensor = across[:, None, None] * plane + (along - across)[:, None, None] * outer
    return covariance


@full_precision
def remote_covariance(points: Tensor, remote: RemoteInstances, config: PlacementConfig) -> Tensor:
    """Covariance (m, 2, 2) of a sender's objects in the receiver's plane.

    Args:
        points: (m, 2) the objects, receiver's agent frame, metres.
        remote: The message: role and pose of the sender, its covariance, and the age.
        config: Spreads.
    """
    matrix = torch.from_numpy(remote.ego_T_remote).to(points)
    origin = matrix[:2, 3]
    spread = config.roadside if remote.role is Role.ROADSIDE else config.vehicle
    # Seen from the sender, but in the receiver's axes: no turn is needed.
    seen = sight_covariance(points - origin, spread)
    jacobian = lever(points, origin)
    pose = torch.from_numpy(remote.pose_covariance).to(points)
    moved = jacobian @ pose @ jacobian.transpose(1, 2)
    waited = (config.speed * abs(remote.age_s)) ** 2 * torch.eye(2).to(points)
    return seen + moved + waited


@full_precision
def meet(own: Tensor, theirs: Tensor, own_cov: Tensor, their_cov: Tensor) -> tuple[Tensor, Tensor]:
    """Where pairs meet, and how sure that is.

    Args:
        own: (p, 3) metres.
        theirs: (p, 3) metres.
        own_cov: (p, 2, 2).
        their_cov: (p, 2, 2).

    Returns:
        (p, 3) and (p, 2, 2); the height takes the mean share of the plane.
    """
    share = own_cov @ torch.linalg.inv(own_cov + their_cov)  # of theirs
    gap = theirs - own
    plane = (share @ gap[:, :2, None])[..., 0]
    height = share.diagonal(dim1=1, dim2=2).mean(1, keepdim=True) * gap[:, 2:]
    return own + torch.cat([plane, height], 1), own_cov - share @ own_cov


@full_precision
def within_gate(
    own: Tensor, theirs: Tensor, own_cov: Tensor, their_cov: Tensor, gate: float
) -> Tensor:
    """(n, m) bool: pairs whose distance in the plane is at most ``gate`` standard deviations.

    Args:
        own: (n, 2) metres.
        theirs: (m, 2) metres.
        own_cov: (n, 2, 2).
        their_cov: (m, 2, 2).
        gate: Mahalanobis distance.
    """
    gap = (own[:, None] - theirs)[..., None]  # (n, m, 2, 1)
    inverse = torch.linalg.inv(own_cov[:, None] + their_cov)
    near: Tensor = (gap.transpose(2, 3) @ inverse @ gap)[..., 0, 0] <= gate**2
    return near
