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

"""Image and mirror augmentation; drawn from a generator, so that a seed fixes it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cooptrack_core.training.options import Augmentation
from cooptrack_core.training.targets import GroundTruth

Image = NDArray[np.uint8]
Array = NDArray[np.float64]

_REFLECTION = np.diag([1.0, -1.0, 1.0, 1.0])


def colour_jitter(image: Image, plan: Augmentation, rng: np.random.Generator) -> Image:
    """Shift brightness, contrast and single channels of an (H, W, 3) image; blur it sometimes.

    One table of 256 entries per channel does all the colour work.
    """
    level = np.arange(256, dtype=np.float32)
    contrast = 1 + plan.contrast * rng.uniform(-1, 1)
    shift = 255 * plan.brightness * rng.uniform(-1, 1)
    gains = contrast * (1 + plan.colour * rng.uniform(-1, 1, 3))
    pivot = 110.0
    table = (level[:, None] - pivot) * gains + pivot + shift
    result = cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8)[None])
    if rng.random() < plan.blur:
        result = cv2.GaussianBlur(result, (3, 3), float(rng.uniform(0.3, 0.9)))
    return np.asarray(result)


def grid_mask(image: Tensor, probability: float, rng: np.random.Generator) -> Tensor:
    """GridMask on a normalised (3, H, W) image: a rotated-free grid of squares set to zero.

    Source: reference section 1a step 2; as there, the kept share of a period is one half.
    """
    if rng.random() >= probability:
        return image
    height, width = image.shape[-2:]
    period = int(rng.integers(2, min(height, width)))
    bar = max(1, round(period * 0.5))
    rows = (np.arange(height) + rng.integers(period)) % period < bar
    columns = (np.arange(width) + rng.integers(period)) % period < bar
    keep = ~(rows[:, None] & columns[None])
    return image * torch.from_numpy(keep).to(image)


def mirror_image(image: Image) -> Image:
    """Swap left and right of an (H, W, 3) image."""
    return np.ascontiguousarray(image[:, ::-1])


def mirror_projection(agent_to_image: Array, width: int) -> Array:
    """Projection of the mirrored world into the mirrored image: column u becomes W - 1 - u."""
    flip = np.eye(4)
    flip[0, 0], flip[0, 2] = -1.0, width - 1.0
    return flip @ agent_to_image @ _REFLECTION


def mirror_pose(world_T_agent: Array) -> Array:
    """Pose of the mirrored agent in the mirrored world; stays a rigid motion."""
    return _REFLECTION @ world_T_agent @ _REFLECTION


def mirror_truth(truth: GroundTruth) -> GroundTruth:
    """Objects of the mirrored world: y, heading and lateral velocity change sign.

    psi = -heading - pi/2 becomes -psi - pi, so its sine stays and its cosine changes sign.
    """
    sign = truth.codes.new_tensor([1, -1, 1, 1, 1, 1, 1, -1, 1, -1])
    return replace(truth, codes=truth.codes * sign)
