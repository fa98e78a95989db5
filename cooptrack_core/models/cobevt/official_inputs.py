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

"""Inputs in the official loader's form, for comparing with the official model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cooptrack_core.models.cobevt.interface import MapInputs, RingInputs

# Unreal's y axis points to the right, ours to the left.
_MIRROR = torch.diag(torch.tensor([1.0, -1.0, 1.0, 1.0]))


def batch(
    inputs: Tensor,
    intrinsic: Tensor,
    extrinsic: Tensor,
    transformation_matrix: Tensor,
    record_len: Tensor | Sequence[int],
) -> MapInputs:
    """Build the inputs of a model with the official quirks.

    The arguments carry the names they have in the official batch. Cameras are handed on as they
    come, in Unreal's axes and the receiver's body frame, since that is what the official weights
    know.

    Args:
        inputs: (A, 1, N, h, w, 3) normalised images, agents of all scenes one after another.
        intrinsic: (A, 1, N, 3, 3).
        extrinsic: (A, 1, N, 4, 4) camera to body of the scene's ego.
        transformation_matrix: (B, slots, 4, 4) agent to ego in Unreal's axes; filled up.
        record_len: (B,) agents of each scene.
    """
    counts = tuple(int(n) for n in record_len)
    images = inputs.flatten(1, 2).permute(0, 1, 4, 2, 3).contiguous().float()
    poses = torch.cat([m[:n] for m, n in zip(transformation_matrix, counts, strict=True)])
    mirror = _MIRROR.to(poses)
    rings = RingInputs(
        images,
        intrinsic.flatten(1, 2).float(),
        extrinsic.flatten(1, 2).float(),
        torch.ones(images.shape[:2], dtype=torch.bool, device=images.device),
    )
    return MapInputs(rings, mirror @ poses @ mirror, counts)
