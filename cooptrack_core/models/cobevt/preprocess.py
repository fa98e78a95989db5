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

"""From an agent's frame to the camera ring the network eats: resize, normalise, calibration."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from cooptrack_core.geometry import SE3
from cooptrack_core.models.cobevt.config import CobevtConfig, RingImageConfig
from cooptrack_core.models.cobevt.interface import MapInputs, RingInputs
from cooptrack_core.structures import AgentFrame, CameraImage

Array = NDArray[np.float64]

# Unreal's body frame is ours with y to the right; its sensors look along x with y right, z up.
_UNREAL_BODY = np.diag([1.0, -1.0, 1.0, 1.0])
_UNREAL_SENSOR = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])


def prepare_ring(
    frame: AgentFrame, config: CobevtConfig, receiver: AgentFrame | None = None
) -> RingInputs:
    """Camera ring of one agent, A = 1; its map is centred on its body, like the labels.

    Any number of cameras makes a ring; the network does not tell them apart but by where they
    look. A camera that failed is one image less. A frame without images gives a ring of one camera
    that is not valid.

    Args:
        frame: What the agent sees.
        config: Network input and quirks.
        receiver: The scene's ego, for the official quirk ``cameras_in_receiver_frame``; None if
            it is the agent itself.
    """
    size = (3, config.image.height, config.image.width)
    count = len(frame.images)
    images = torch.zeros(1, max(count, 1), *size)
    intrinsics = torch.eye(3).repeat(1, max(count, 1), 1, 1)
    poses = torch.eye(4).repeat(1, max(count, 1), 1, 1)
    for i, image in enumerate(frame.images):
        pixels, k = network_image(image, config)
        images[0, i] = torch.from_numpy(normalised(pixels, config.image))
        intrinsics[0, i] = torch.from_numpy(k)
        centre = receiver if receiver and config.quirks.cameras_in_receiver_frame else frame
        body_T_agent = (centre.world_SE3_body.inverse() @ frame.world_SE3_agent).matrix
        pose = body_T_agent @ np.linalg.inv(image.camera.camera_T_agent)
        if config.quirks.unreal_camera_axes:
            pose = _UNREAL_BODY @ pose @ _UNREAL_SENSOR.T
        poses[0, i] = torch.from_numpy(pose)
    valid = torch.full((1, max(count, 1)), count > 0)
    return RingInputs(images, intrinsics, poses, valid)


def prepare_scene(frames: Sequence[AgentFrame], config: CobevtConfig) -> MapInputs:
    """Inputs of one scene at one instant; the first frame is the ego's."""
    ego = frames[0]
    rings = RingInputs.stack([prepare_ring(frame, config, ego) for frame in frames])
    poses = [relative_pose(map_pose(ego, config), map_pose(frame, config)) for frame in frames]
    ego_T_agent = torch.from_numpy(np.stack(poses).astype(np.float32))
    return MapInputs(rings, ego_T_agent, (len(frames),))


def map_pose(frame: AgentFrame, config: CobevtConfig) -> SE3:
    """World pose by which an agent's map moves: that of its body."""
    return frame.world_SE3_agent if config.quirks.maps_move_with_lidars else frame.world_SE3_body


def relative_pose(world_SE3_ego: SE3, world_SE3_agent: SE3) -> Array:
    """(4, 4) agent frame to ego frame."""
    return np.asarray(world_SE3_ego.inverse().matrix @ world_SE3_agent.matrix)


def network_image(image: CameraImage, config: CobevtConfig) -> tuple[NDArray[np.uint8], Array]:
    """(h, w, 3) pixels at network size, and the (3, 3) intrinsic matrix for them."""
    to: RingImageConfig = config.image
    width, height = to.width, to.height + to.skip_rows
    edges = config.quirks.pixels_from_edges
    shrinks = width <= image.camera.width and height <= image.camera.height
    how = cv2.INTER_AREA if shrinks and not edges else cv2.INTER_LINEAR
    pixels = cv2.resize(image.image, (width, height), interpolation=how)[to.skip_rows :]
    k = np.array(image.camera.intrinsic)
    if not config.quirks.unscaled_intrinsics:
        if edges:
            scale = np.array([width / image.camera.width, height / image.camera.height, 1.0])
            k = scale[:, None] * k
        else:
            k = np.array(image.camera.resized(width, height).intrinsic)
    k[1] -= to.skip_rows * k[2]
    return np.ascontiguousarray(pixels), k


def normalised(pixels: NDArray[np.uint8], config: RingImageConfig) -> NDArray[np.float32]:
    """(h, w, 3) pixels to (3, h, w) as the network takes them."""
    mean, std = np.array(config.mean, np.float32), np.array(config.std, np.float32)
    return np.ascontiguousarray(((pixels.astype(np.float32) - mean) / std).transpose(2, 0, 1))
