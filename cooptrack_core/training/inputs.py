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

"""Training frames to network inputs: pad, normalise, augment."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from cooptrack_core.models.cooptrack.config import ImageConfig
from cooptrack_core.models.cooptrack.interface import FrameInputs
from cooptrack_core.models.cooptrack.preprocess import image_tensor, projection_tensor
from cooptrack_core.training.augment import (
    colour_jitter,
    grid_mask,
    mirror_image,
    mirror_pose,
    mirror_projection,
    mirror_truth,
)
from cooptrack_core.training.data import TrainingFrame
from cooptrack_core.training.options import Augmentation
from cooptrack_core.training.targets import GroundTruth


@dataclass(frozen=True, eq=False)
class Prepared:
    """A frame as the network takes it, and what it should find."""

    inputs: FrameInputs
    truth: GroundTruth


def prepare(
    frame: TrainingFrame,
    config: ImageConfig,
    plan: Augmentation | None = None,
    rng: np.random.Generator | None = None,
    *,
    mirrored: bool = False,
) -> Prepared:
    """Make the network's input of a frame.

    Args:
        frame: Image already resized to the network's width.
        config: Network input.
        plan: Colour augmentation; None leaves the image as it is.
        rng: Randomness, needed with ``plan``.
        mirrored: Mirror image, projection, poses and objects together. Drawn once per clip.
    """
    image, truth = frame.image, frame.truth
    projection = frame.camera.agent_to_image
    world_T_agent, world_T_body = frame.world_T_agent, frame.world_T_body
    if mirrored:
        projection = mirror_projection(projection, image.shape[1])
        world_T_agent, world_T_body = mirror_pose(world_T_agent), mirror_pose(world_T_body)
        image, truth = mirror_image(image), mirror_truth(truth)
    if plan is not None and rng is not None:
        image = colour_jitter(image, plan, rng)
    pixels = image_tensor(image, config)
    if plan is not None and rng is not None and plan.grid_mask > 0:
        pixels = grid_mask(pixels, plan.grid_mask, rng)
    return Prepared(
        FrameInputs(
            images=pixels[None],
            agent_to_image=projection_tensor(projection, config)[None],
            stamp_ns=frame.stamp_ns,
            scene_id=frame.scene_id,
            world_T_agent=world_T_agent,
            world_T_body=world_T_body,
        ),
        truth,
    )


def on_device(inputs: FrameInputs, device: torch.device) -> FrameInputs:
    """Move images and projections; poses stay float64 on the CPU."""
    return replace(
        inputs,
        images=inputs.images.to(device),
        agent_to_image=inputs.agent_to_image.to(device),
    )
