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

"""From an agent's frame to what the network eats: resize, pad, normalise, adjust calibration."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cooptrack_core.models.cooptrack.config import ImageConfig, ModelConfig
from cooptrack_core.models.cooptrack.interface import FrameInputs
from cooptrack_core.structures import AgentFrame, CameraImage


def image_tensor(image: NDArray[Any], config: ImageConfig) -> Tensor:
    """(3, H, W) float32 of an image of the network's width: rows cut or padded, normalised."""
    kept = image[config.skip_rows : config.skip_rows + config.height]
    order = kept[..., ::-1] if config.bgr else kept
    pixels = torch.from_numpy(np.ascontiguousarray(order)).permute(2, 0, 1).float()
    mean, std = torch.tensor(config.mean)[:, None, None], torch.tensor(config.std)[:, None, None]
    result = torch.zeros(3, config.height, config.width)
    result[:, : kept.shape[0]] = (pixels - mean) / std
    return result


def projection_tensor(agent_to_image: NDArray[np.float64], config: ImageConfig) -> Tensor:
    """(4, 4) float32: the projection into the rows that ``image_tensor`` keeps."""
    matrix = agent_to_image.copy()
    matrix[1] -= config.skip_rows * matrix[2]
    return torch.from_numpy(matrix.astype(np.float32))


def prepare_image(
    image: CameraImage, config: ImageConfig, from_corner: bool = False
) -> tuple[Tensor, Tensor]:
    """Resize to the network's width, cut or pad to its rows, normalise.

    Args:
        image: Image with calibration.
        config: Network input.
        from_corner: Official behaviour: bilinear resize and a projection scaled about pixel
            (0, 0); otherwise area resize and pixel centres.

    Returns:
        (3, H, W) float32 and the (4, 4) float32 projection into it.
    """
    camera = image.camera
    height = round(camera.height * config.width / camera.width)
    size = (config.width, height)
    if from_corner:
        pixels = cv2.resize(image.image.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        scale = np.diag([config.width / camera.width, height / camera.height, 1.0, 1.0])
        matrix = scale @ camera.agent_to_image
    else:
        pixels = cv2.resize(image.image, size, interpolation=cv2.INTER_AREA)
        matrix = camera.resized(*size).agent_to_image
    return image_tensor(pixels, config), projection_tensor(matrix, config)


def prepare_frame(
    frame: AgentFrame, config: ModelConfig, device: torch.device | str = 'cpu'
) -> FrameInputs:
    """Inputs of the model for a frame; a frame without images gives K = 0."""
    corner = config.quirks.pixels_from_corner
    pairs = [prepare_image(image, config.image, corner) for image in frame.images]
    if pairs:
        images, matrices = (torch.stack(list(part)) for part in zip(*pairs, strict=True))
    else:
        images = torch.zeros(0, 3, config.image.height, config.image.width)
        matrices = torch.zeros(0, 4, 4)
    return FrameInputs(
        images=images.to(device),
        agent_to_image=matrices.to(device),
        stamp_ns=frame.stamp_ns,
        scene_id=frame.sequence_id,
        world_T_agent=frame.world_SE3_agent.matrix,
        world_T_body=frame.world_SE3_body.matrix,
    )
