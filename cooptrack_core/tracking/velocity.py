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

"""Velocity of tracks from where they turn up, in place of the network's word alone.

A track that turns up ahead of its prediction is faster than believed. This is the velocity half
of an alpha-beta filter; its position half is the network, which sees the image. Not part of the
official code: a model trained for minutes hardly tells 10 m/s from 3 m/s, so its tracks lag.

As in a Kalman filter the first innovations of a track count more than later ones: nothing better
is known yet.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.interface import QuerySet
from cooptrack_core.models.precision import full_precision
from cooptrack_core.structures import CLASS_NAMES

_WHEELED = tuple(k for k, name in enumerate(CLASS_NAMES) if name != 'pedestrian')


@full_precision
def corrected_velocity(
    queries: QuerySet,
    start: QuerySet,
    rows: Tensor,
    seconds: float,
    gain: float,
    first_gain: float | None = None,
) -> QuerySet:
    """Give tracks their predicted velocity plus ``gain`` x innovation / time.

    Args:
        queries: (n) after refinement.
        start: Queries as they entered the frame: tracks at their predicted places.
        rows: (n,) row of each query in ``start``, -1 for none.
        seconds: Time since the previous frame; 0 leaves all as it is.
        gain: Share of the innovation, in [0, 1]; 0 leaves all as it is.
        first_gain: The same for a track's first innovation; it goes over to ``gain`` linearly
            while the slots of the history fill. None: ``gain``.
    """
    if not gain or seconds <= 0.0:
        return queries
    before = start.select(rows.clamp(min=0))
    moved = (rows >= 0) & before.tracked
    innovation = (box_code.centre(queries.boxes) - box_code.centre(before.boxes))[:, :2]
    share = torch.full_like(innovation[:, :1], gain)
    slots = before.hist_padding.shape[1]
    if first_gain is not None and slots > 1:
        empty = before.hist_padding.sum(1, keepdim=True) / (slots - 1)  # 1 at the first one
        share = share + (first_gain - gain) * empty.clamp(max=1.0)
    velocity = before.boxes[:, 8:10] + share * innovation / seconds
    boxes = torch.cat(
        [queries.boxes[:, :8], torch.where(moved[:, None], velocity, queries.boxes[:, 8:10])], 1
    )
    return queries.replace(boxes=boxes)


@full_precision
def rolling_velocity(queries: QuerySet, across: float) -> QuerySet:
    """Take sideways velocity from what rolls on wheels; pedestrians step wherever they like.

    Half a second ahead, a metre per second to the side is the difference between two lanes.

    Args:
        queries: (n) with boxes in the agent frame.
        across: Share of the velocity across the heading that stays, in [0, 1]; 1 leaves all.
    """
    if across >= 1.0 or not len(queries):
        return queries
    heading = F.normalize(queries.boxes[:, 6:8], dim=1)  # (sin psi, cos psi): the axis, unsigned
    velocity = queries.boxes[:, 8:10]
    along = heading * (heading * velocity).sum(1, keepdim=True)
    label = queries.logits.argmax(1)
    wheeled = torch.stack([label == k for k in _WHEELED]).any(0)
    rolled = torch.where(wheeled[:, None], along + across * (velocity - along), velocity)
    return queries.replace(boxes=torch.cat([queries.boxes[:, :8], rolled], 1))
