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


"""V2X room: what a receiver takes from a peer at all: sizes, finite values, possible values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.errors import MessageError
from cooptrack_core.geometry import SE3, PerceptionRange
from cooptrack_core.structures import InstanceMessage
from cooptrack_core.v2x.reasons import Reason

# Physical sanity of what a peer claims, in SI units.
_MAX_WORLD = 1e8
_MAX_SIZE = 1e3
_MAX_SPEED = 1e3


@dataclass(frozen=True)
class Limits:
    """What a receiver takes; checked before anything is allocated.

    Attributes:
        max_bytes: Largest message.
        max_instances: Most instances per message.
        max_feature_size: Largest D.
        max_classes: Largest C.
        max_sections: Most sections, extensions included.
    """

    max_bytes: int = 4 * 1024 * 1024
    max_instances: int = 2048
    max_feature_size: int = 1024
    max_classes: int = 64
    max_sections: int = 64


def refuse(reason: Reason, detail: str) -> NoReturn:
    """Raise the MessageError of a reason."""
    raise MessageError(reason, detail)


def read_pose(wxyz: Sequence[float], translation: Sequence[float]) -> SE3:
    """Build a peer's pose.

    Raises:
        MessageError: The quaternion is no unit quaternion or the place is not on this planet.
    """
    q = np.clip(wxyz, -2.0, 2.0)  # a huge number must not overflow in the norm
    if abs(float(np.linalg.norm(q)) - 1.0) > 1e-3 or np.abs(translation).max() > _MAX_WORLD:
        refuse(Reason.OUT_OF_BOUNDS, f'pose {translation} {wxyz}')
    return SE3.from_quaternion(wxyz, translation)


def read_range(values: Sequence[float]) -> PerceptionRange:
    """Build a peer's range.

    Raises:
        MessageError: The range is empty or huge.
    """
    try:
        around = PerceptionRange(*values)
    except ValueError as error:
        raise MessageError(Reason.OUT_OF_BOUNDS, str(error)) from error
    if np.abs(values).max() > 1e5:
        refuse(Reason.OUT_OF_BOUNDS, f'range {values}')
    return around


def check_boxes(rows: NDArray[np.float64]) -> None:
    """Check a peer's boxes (n, 7) before they become Boxes3D.

    Raises:
        MessageError: A value is not finite, or a size or place is impossible.
    """
    if not np.isfinite(rows).all():
        refuse(Reason.NOT_FINITE, 'boxes')
    sizes = rows[:, 3:6]
    if (sizes <= 0).any() or (sizes > _MAX_SIZE).any() or (np.abs(rows[:, :3]) > 1e5).any():
        refuse(Reason.OUT_OF_BOUNDS, 'boxes')


def check_values(message: InstanceMessage) -> None:
    """Check that every number of a peer's message is finite and possible.

    Raises:
        MessageError: It is not; ``detail`` names the field.
    """
    for name in (
        'query_features', 'query_embeddings', 'motion_features', 'reference_points',
        'class_scores', 'pose_covariance',
    ):  # fmt: skip
        if not np.isfinite(getattr(message, name)).all():
            refuse(Reason.NOT_FINITE, name)
    velocities = message.boxes.velocities
    if np.isinf(velocities).any():
        refuse(Reason.NOT_FINITE, 'velocities')
    # Points may leave the range a little when the sender predicted them forward.
    points, scores = message.reference_points, message.class_scores
    for name, bad in (
        ('velocities', np.abs(np.nan_to_num(velocities)) > _MAX_SPEED),
        ('reference_points', (points < -1) | (points > 2)),
        ('class_scores', (scores < 0) | (scores > 1)),
        ('pose_covariance', np.diag(message.pose_covariance) < 0),
    ):
        if bad.any():
            refuse(Reason.OUT_OF_BOUNDS, name)
