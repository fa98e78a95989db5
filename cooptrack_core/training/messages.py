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

"""Messages of frozen remote agents, computed once per scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.interface import (
    QuerySet,
    RemoteInstances,
    TrackMemory,
)
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.training.data import TrainingData, TrainingFrame
from cooptrack_core.training.inputs import on_device, prepare
from cooptrack_core.training.precision import autocast
from cooptrack_core.training.targets import GroundTruth

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Message:
    """What a frozen sender says at one of its frames.

    Attributes:
        agent_id: Sender.
        stamp_ns: Capture time.
        world_T_agent: (4, 4) pose of the sender, in its own words.
        live: Its live instances, detached, on the CPU.
    """

    agent_id: str
    stamp_ns: int
    world_T_agent: Array
    live: QuerySet


class Sender:
    """Runs a frozen agent model over remote agents' frames, scene by scene, and remembers."""

    def __init__(
        self, model: CoopTrack, data: TrainingData, device: torch.device, precision: str
    ) -> None:
        """Keep the model in evaluation mode."""
        self.model, self.data = model.eval(), data
        self.device, self.precision = device, precision
        self._messages: dict[tuple[int, str], dict[str, Message]] = {}

    def message(self, scene: int, agent_id: str, frame_id: str) -> Message:
        """Message of one frame; the first one of a scene plays the whole scene."""
        key = (scene, agent_id)
        if key not in self._messages:
            self._messages[key] = self._play(scene, agent_id)
        return self._messages[key][frame_id]

    @torch.no_grad()
    def _play(self, scene: int, agent_id: str) -> dict[str, Message]:
        memory: TrackMemory | None = None
        said: dict[str, Message] = {}
        for frame_id in self.data.scenes[scene].frame_ids(agent_id):
            frame = self.data.frame(scene, agent_id, frame_id)
            inputs = prepare(frame, self.model.config.image).inputs
            with autocast(self.precision, self.device):
                outputs, memory = self.model(on_device(inputs, self.device), memory)
            live = outputs.select_live().detach()
            said[frame_id] = Message(agent_id, frame.stamp_ns, frame.world_T_agent, live)
            self.data.forget_image(scene, agent_id, frame_id)
        return said


def as_remote(
    message: Message,
    sender: CoopTrack,
    ego: TrainingFrame,
    correction: Array,
    noise: Array,
    kept: Tensor | None = None,
) -> RemoteInstances:
    """Express a message for the ego's frame.

    Args:
        message: What was said.
        sender: Its model (for the range).
        ego: Frame of the receiver.
        correction: (3,) registration of the pair: added to the sender's world position, metres.
        noise: (4, 4) error of the sender's pose, applied in its own frame.
        kept: Instances that arrive; None for all.
    """
    live = message.live if kept is None else message.live.select(kept)
    world_T_remote = message.world_T_agent.copy()
    world_T_remote[:3, 3] += correction
    return RemoteInstances(
        agent_id=message.agent_id,
        query_feats=live.feats.float(),
        query_embeds=live.embeds.float(),
        motion_feats=live.motion.float(),
        ref_pts=live.refs.float(),
        boxes=live.boxes.float(),
        range=sender.config.range,
        ego_T_remote=np.linalg.inv(ego.world_T_agent) @ world_T_remote @ noise,
        age_s=(ego.stamp_ns - message.stamp_ns) * 1e-9,
        logits=live.logits.float(),
    )


def knowable(
    truth: GroundTruth,
    own: GroundTruth,
    remotes: Sequence[RemoteInstances],
    carried: Tensor | None,
    gate: float = 4.0,
) -> GroundTruth:
    """Objects the cooperative vehicle can know of at this frame.

    Seen by its own camera, near an instance that some message holds, or followed already. An
    object that nobody reports would teach a background query to invent it.

    Args:
        truth: Cooperative objects, vehicle frame.
        own: What the vehicle sees.
        remotes: Messages of the frame.
        carried: Ids of the live tracks, None at the start of a clip.
        gate: Distance between instance and object, metres.
    """
    known = torch.isin(truth.ids, own.ids)
    if carried is not None:
        known |= torch.isin(truth.ids, carried.to(truth.ids))
    for remote in remotes:
        if len(remote) and len(truth):
            matrix = torch.from_numpy(remote.ego_T_remote).to(remote.boxes)
            there = box_code.transform(remote.boxes, matrix)[:, :2].to(truth.codes)
            known |= torch.cdist(truth.codes[:, :2], there).amin(1) < gate
    return truth.select(known)
