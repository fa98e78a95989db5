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

"""Images of a dataset as the networks get them, for eight-bit networks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from cooptrack_core.datasets.opv2v import Opv2vDataset, is_opv2v
from cooptrack_core.datasets.v2x_seq import V2XSeqDataset
from cooptrack_core.errors import InputError
from cooptrack_core.models.cobevt.model import Cobevt
from cooptrack_core.models.cobevt.preprocess import prepare_ring
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.models.cooptrack.preprocess import prepare_frame
from cooptrack_core.structures import AgentFrame


def calibration_images(path: Path, model: CoopTrack | Cobevt, count: int = 48) -> Iterator[Tensor]:
    """Images of all agents, evenly spread over a dataset.

    Args:
        path: In the layout of V2X-Seq, for map models also of OPV2V.
        model: Says what it wants.
        count: Number of images.

    Yields:
        (1, 3, H, W) normalised.

    Raises:
        InputError: The dataset is unusable.
    """
    if count < 1:
        raise InputError(
            f'{count} images are too few',
            field='--calibration-images',
            remedy='give a number from 1',
        )
    if is_opv2v(path) and isinstance(model, Cobevt):
        frames = [
            partial(scenario.frame, agent, frame_id)
            for scenario in Opv2vDataset(path).scenarios
            for agent in scenario.agent_ids
            for frame_id in scenario.frame_ids(agent)
        ]
    else:
        dataset = V2XSeqDataset(path)
        frames = [
            partial(scene.frame, agent.agent_id, frame_id)
            for scene in dataset.scenes
            for agent in dataset.agents
            for frame_id in scene.frame_ids(agent.agent_id)
        ]
    places = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
    left = count
    for place in np.unique(places):
        for image in _images(frames[place](), model)[:left]:
            left -= 1
            yield image[None]


def _images(frame: AgentFrame, model: CoopTrack | Cobevt) -> Tensor:
    """(n, 3, H, W)."""
    if isinstance(model, Cobevt):
        ring = prepare_ring(frame, model.config)
        return ring.images[ring.cameras_valid]
    return prepare_frame(frame, model.config).images
