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

"""Inputs in the official code's form, for comparing with the official model frame by frame."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from cooptrack_core.geometry import PerceptionRange
from cooptrack_core.models.cooptrack.interface import FrameInputs, RemoteInstances

ROADSIDE_RANGE = PerceptionRange(0.0, -51.2, -5.0, 102.4, 51.2, 3.0)


def _numpy(x: ArrayLike | Tensor) -> np.ndarray:
    return np.asarray(x.detach().cpu().numpy() if isinstance(x, Tensor) else x)


def frame(
    image: Tensor,
    lidar2img: ArrayLike | Tensor,
    can_bus: ArrayLike | Tensor,
    l2g_r_mat: ArrayLike | Tensor,
    l2g_t: ArrayLike | Tensor,
    timestamp: float,
    scene_token: str = 'scene',  # noqa: S107 - a scene's name, not a secret
) -> FrameInputs:
    """Build the inputs of one frame.

    Args:
        image: (..., 3, H, W) float32 as fed to the official network; leading axes are cameras
            (a batch axis of 1 may precede).
        lidar2img: (4, 4) or (K, 4, 4).
        can_bus: (18,) absolute vector as the data set writes it: position and yaw are *not* yet
            differenced with the previous frame.
        l2g_r_mat: (3, 3) rotation in row-vector form (global = point @ l2g_r_mat + l2g_t).
        l2g_t: (3,) or (1, 3) translation.
        timestamp: Seconds.
        scene_token: A change of it resets the memory.
    """
    images = image.reshape(-1, *image.shape[-3:])
    matrices = torch.from_numpy(_numpy(lidar2img).astype(np.float32).reshape(-1, 4, 4))
    pose = np.eye(4)
    pose[:3, :3] = _numpy(l2g_r_mat).astype(np.float64).reshape(3, 3).T
    pose[:3, 3] = _numpy(l2g_t).astype(np.float64).reshape(3)
    return FrameInputs(
        images=images,
        agent_to_image=matrices,
        stamp_ns=round(float(timestamp) * 1e9),
        scene_id=scene_token,
        world_T_agent=pose,
        world_T_body=pose,
        can_bus=_numpy(can_bus).astype(np.float64).reshape(18),
    )


def remote(
    message: Mapping[str, Tensor],
    veh2inf_rt: ArrayLike | Tensor,
    range_: PerceptionRange = ROADSIDE_RANGE,
    agent_id: str = 'roadside',
) -> RemoteInstances:
    """Build remote instances from an official message.

    Args:
        message: ``query_feats``, ``query_embeds``, ``cache_motion_feats`` (M, 256), ``ref_pts``
            (M, 3) and ``pred_boxes`` (M, 10); M may be 0.
        veh2inf_rt: (4, 4) vehicle LiDAR to roadside LiDAR, stored transposed as in the data set.
        range_: The sender's range.
        agent_id: Name of the sender.
    """
    # Inverted in the precision it comes in, as the official code does.
    ego_T_remote = np.linalg.inv(_numpy(veh2inf_rt).reshape(4, 4).T)
    return RemoteInstances(
        agent_id=agent_id,
        query_feats=message['query_feats'],
        query_embeds=message['query_embeds'],
        motion_feats=message['cache_motion_feats'],
        ref_pts=message['ref_pts'],
        boxes=message['pred_boxes'],
        range=range_,
        ego_T_remote=ego_T_remote.astype(np.float64),
    )
