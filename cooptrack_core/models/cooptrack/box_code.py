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

"""The ten numbers a box is regressed as, and nothing else knows them.

Code: (cx, cy, log w, log l, cz, log h, sin psi, cos psi, vx, vy); metres and m/s in the agent
frame; cz is the centre of the bottom face; psi = -theta - pi/2 with theta the heading
counter-clockwise from +x (the convention of mmdetection3d 0.17, in which the released weights
think). w is the width across, l the length along the heading.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from cooptrack_core.geometry import Boxes3D, PerceptionRange
from cooptrack_core.models.precision import full_precision

CODE_SIZE = 10
CENTRE = (0, 1, 4)
# Unit corners (w, l, h) about the gravity centre.
_CORNERS = tuple((x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5))


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Logit of x, clamped so that 0 and 1 stay finite."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


def range_tensors(range_: PerceptionRange, like: Tensor) -> tuple[Tensor, Tensor]:
    """Lower corner (3,) and extent (3,) of a range as tensors like ``like``."""
    return (
        torch.as_tensor(range_.minimum, dtype=like.dtype, device=like.device),
        torch.as_tensor(range_.extent, dtype=like.dtype, device=like.device),
    )


def denormalise(refs: Tensor, range_: PerceptionRange) -> Tensor:
    """Reference points (..., 3) in [0, 1] to metres."""
    low, extent = range_tensors(range_, refs)
    return refs * extent + low


def normalise(points: Tensor, range_: PerceptionRange) -> Tensor:
    """Points (..., 3) in metres to [0, 1] inside the range."""
    low, extent = range_tensors(range_, points)
    return (points - low) / extent


def refine(
    raw: Tensor, refs: Tensor, range_: PerceptionRange, step: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Move reference points by a regression output and complete the box code.

    Args:
        raw: (..., 10) regression output; entries 0, 1, 4 move the centre in logit space.
        refs: (..., 3) normalised reference points.
        range_: Range of the reference points.
        step: Factor on the centre update.

    Returns:
        New reference points (..., 3) and box codes (..., 10).
    """
    raw = raw.to(refs.dtype)  # boxes stay in full precision under autocast
    move = torch.stack([raw[..., i] for i in CENTRE], -1)
    new = (move * step + inverse_sigmoid(refs)).sigmoid()
    centre = denormalise(new, range_)
    code = torch.cat(
        [centre[..., :2], raw[..., 2:4], centre[..., 2:], raw[..., 5:]],
        dim=-1,
    )
    return new, code


def with_centre(code: Tensor, centre: Tensor) -> Tensor:
    """Box codes (..., 10) with the bottom centre (..., 3) exchanged."""
    return torch.cat([centre[..., :2], code[..., 2:4], centre[..., 2:], code[..., 5:]], -1)


def centre(code: Tensor) -> Tensor:
    """Bottom centres (..., 3) of box codes, metres."""
    return torch.stack([code[..., i] for i in CENTRE], -1)


def psi(code: Tensor) -> Tensor:
    """Angle psi (...,) of box codes, rad."""
    return torch.atan2(code[..., 6], code[..., 7])


def corner_offsets(code: Tensor) -> Tensor:
    """Corners minus gravity centre, (..., 8, 3) metres."""
    unit = code.new_tensor(_CORNERS)
    size = torch.stack([code[..., 2], code[..., 3], code[..., 5]], -1).exp()  # w, l, h
    local = unit * size[..., None, :]
    angle = psi(code)[..., None]
    c, s = angle.cos(), angle.sin()
    x, y, z = local.unbind(-1)
    return torch.stack([x * c + y * s, y * c - x * s, z], -1)


@full_precision
def rotate_heading(code: Tensor, rotation: Tensor) -> Tensor:
    """Turn yaw and velocity of box codes by a (3, 3) rotation; centres stay.

    The angle is read as mmdetection3d reads it; for a rotation about z alone it is the yaw.
    """
    phi = torch.atan2(-rotation[0, 1], rotation[0, 0])
    angle = psi(code) - phi
    velocity = code[..., 8:10] @ rotation[:2, :2].T
    return torch.cat([code[..., :6], angle.sin()[..., None], angle.cos()[..., None], velocity], -1)


@full_precision
def transform_points(points: Tensor, matrix: Tensor) -> Tensor:
    """Move points (..., 3) by a (4, 4) transform dst_T_src."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def transform(code: Tensor, matrix: Tensor) -> Tensor:
    """Move box codes (..., 10) by a (4, 4) transform dst_T_src: centre, yaw and velocity."""
    moved = transform_points(centre(code), matrix)
    return with_centre(rotate_heading(code, matrix[:3, :3]), moved)


def to_boxes(code: Tensor) -> Boxes3D:
    """Decode (n, 10) codes into boxes with gravity centres and headings."""
    c = code.detach().double().cpu().numpy()
    sizes = np.exp(c[:, [3, 2, 5]])  # length, width, height
    centers = c[:, [0, 1, 4]] + np.stack([0 * c[:, 0], 0 * c[:, 0], sizes[:, 2] / 2], -1)
    yaws = -np.arctan2(c[:, 6], c[:, 7]) - math.pi / 2
    return Boxes3D(centers, sizes, yaws, c[:, 8:10])


def from_boxes(boxes: Boxes3D) -> Tensor:
    """Encode boxes as (n, 10) float32 codes; an unknown velocity becomes 0."""
    angle = -boxes.yaws - math.pi / 2
    length, width, height = boxes.sizes.T
    code = np.concatenate(
        [
            boxes.centers[:, :2],
            np.log(np.stack([width, length], -1)),
            boxes.centers[:, 2:] - height[:, None] / 2,
            np.log(height)[:, None],
            np.stack([np.sin(angle), np.cos(angle)], -1),
            np.nan_to_num(boxes.velocities, nan=0.0),
        ],
        axis=1,
    )
    return torch.from_numpy(code.astype(np.float32))
