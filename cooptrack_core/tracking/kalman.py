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

"""The Kalman filter of AB3DMOT: a box that moves with constant velocity, many at a time.

State (10): x, y, z of the bottom centre, yaw, length, width, height, and the change of x, y, z per
step. Measured (7): the first seven. Frame: a fixed world, z up, metres and radians. A step is the
period of the sensor, for which the noise is given; a gap of another length counts as that many
steps. With one step per frame this is the filter of Weng et al., "3D Multi-Object Tracking: A
Baseline and New Evaluation Metrics", IROS 2020, in the axes of this package.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry.se3 import wrap_angle

Array = NDArray[np.float64]

STATE, MEASURED, YAW = 10, 7, 3
# Variances of the original, in m^2 and rad^2 (velocities: per step), for one step.
INITIAL_VARIANCE = np.array([10.0] * MEASURED + [10_000.0] * 3)
PROCESS_VARIANCE = np.array([1.0] * MEASURED + [0.01] * 3)
MEASUREMENT_VARIANCE = np.ones(MEASURED)


def start(measured: Array) -> tuple[Array, Array]:
    """Begin at rest at the measured boxes.

    Args:
        measured: (n, 7).

    Returns:
        Means (n, 10) and covariances (n, 10, 10).
    """
    n = len(measured)
    means = np.concatenate([measured, np.zeros((n, STATE - MEASURED))], axis=1)
    return means, np.tile(np.diag(INITIAL_VARIANCE), (n, 1, 1))


def predict(means: Array, covariances: Array, steps: float) -> tuple[Array, Array]:
    """Move states (n, 10) with covariances (n, 10, 10) forward by so many steps.

    The process noise grows in proportion to the steps.
    """
    F = np.eye(STATE)
    F[[0, 1, 2], [7, 8, 9]] = steps
    means = means @ F.T
    means[:, YAW] = wrap_angle(means[:, YAW])
    return means, F @ covariances @ F.T + steps * np.diag(PROCESS_VARIANCE)


def correct(means: Array, covariances: Array, measured: Array) -> tuple[Array, Array]:
    """Pull states (n, 10) with covariances (n, 10, 10) to measured boxes (n, 7)."""
    means, measured = means.copy(), measured.copy()
    measured[:, YAW] = wrap_angle(measured[:, YAW])
    means[:, YAW] = facing(means[:, YAW], measured[:, YAW])
    innovation = covariances[:, :MEASURED, :MEASURED] + np.diag(MEASUREMENT_VARIANCE)
    gain = covariances[:, :, :MEASURED] @ np.linalg.inv(innovation)
    means += (gain @ (measured - means[:, :MEASURED])[..., None])[..., 0]
    means[:, YAW] = wrap_angle(means[:, YAW])
    return means, covariances - gain @ covariances[:, :MEASURED]


def facing(yaws: Array, measured: Array) -> Array:
    """Angles (n,) of states, turned so that they can be averaged with measured ones (n,).

    A detector confuses front and back: a state more than 90 degrees off is turned round first.
    The result lies within 90 degrees of the measured angle, and may leave [-pi, pi) for it.
    """
    yaws, measured = wrap_angle(yaws), wrap_angle(measured)
    gap = np.abs(measured - yaws)
    reversed_ = (gap > np.pi / 2) & (gap < 3 * np.pi / 2)
    yaws = np.where(reversed_, wrap_angle(yaws + np.pi), yaws)
    across = np.abs(measured - yaws) >= 3 * np.pi / 2
    return np.asarray(yaws + np.where(across, 2 * np.pi * np.sign(measured), 0.0))
