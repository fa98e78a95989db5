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

"""Frozen parts computed once per scene: messages of remote agents, BEV features of the vehicle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cooptrack_core.models.bev_encoder.motion import can_bus_of
from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.interface import (
    DenseFeatures,
    FrameInputs,
    QuerySet,
    RemoteInstances,
    TrackMemory,
)
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.training.data import TrainingData, TrainingFrame
from cooptrack_core.training.inputs import prepare
from cooptrack_core.training.precision import autocast
from cooptrack_core.training.targets import GroundTruth

Array = NDArray[np.float64]

_DENSE_PARTS = ('backbone.', 'neck.', 'bev_encoder.')


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
                outputs, memory = self.model(_on(inputs, self.device), memory)
            live = outputs.select_live().detach()
            said[frame_id] = Message(agent_id, frame.stamp_ns, frame.world_T_agent, live)
        return said


def dense_is_frozen(model: CoopTrack) -> bool:
    """Whether nothing of backbone, neck and BEV encoder trains."""
    return not any(
        p.requires_grad for n, p in model.named_parameters() if n.startswith(_DENSE_PARTS)
    )


class FrozenDense:
    """Image and BEV features of the vehicle, kept in half precision, for a frozen dense part."""

    def __init__(
        self, model: CoopTrack, data: TrainingData, device: torch.device, precision: str
    ) -> None:
        """Remember the model; its dense part must not train."""
        self.model, self.data = model, data
        self.device, self.precision = device, precision
        self._maps: dict[tuple[int, str], dict[str, Tensor]] = {}

    def features(self, scene: int, agent_id: str, frame_id: str) -> DenseFeatures:
        """Features of one frame, with the memory of the scene up to it."""
        key = (scene, agent_id)
        if key not in self._maps:
            self._maps[key] = self._play(scene, agent_id)
        bev = self._maps[key][frame_id].to(self.device).float()[None]
        nothing = bev.new_zeros(1, 1, 0, 0, 0)
        return DenseFeatures(nothing, nothing, bev)

    @torch.no_grad()
    def _play(self, scene: int, agent_id: str) -> dict[str, Tensor]:
        memory: TrackMemory | None = None
        maps: dict[str, Tensor] = {}
        modes = [(m, m.training) for m in self.model.modules()]
        self.model.eval()
        try:
            for frame_id in self.data.scenes[scene].frame_ids(agent_id):
                frame = self.data.frame(scene, agent_id, frame_id)
                inputs = _on(prepare(frame, self.model.config.image).inputs, self.device)
                like = self.model.learnt.refs.weight
                previous, motion = None, None
                if memory is not None and self.model.continues(inputs, memory):
                    previous = memory.bev[None]
                    motion = self.model.ego_motion(inputs, memory, like)[1]
                with autocast(self.precision, self.device):
                    dense = self.model.perceive(
                        inputs.images[None], inputs.agent_to_image[None], previous, motion
                    )
                maps[frame_id] = dense.bev[0].half().cpu()
                memory = self._memory(memory, inputs, dense.bev[0])
        finally:
            for module, training in modes:
                module.training = training
        return maps

    def _memory(self, memory: TrackMemory | None, inputs: FrameInputs, bev: Tensor) -> TrackMemory:
        index = torch.zeros(0, dtype=torch.int64)
        none = self.model.learnt.fresh(index, len(self.model.config.classes), 1)
        return TrackMemory(
            bev=bev,
            live=none if memory is None else memory.live,
            stamp_ns=inputs.stamp_ns,
            scene_id=inputs.scene_id,
            world_T_agent=inputs.world_T_agent,
            world_T_body=inputs.world_T_body,
            can_bus=can_bus_of(inputs.world_T_body),
            next_id=1,
        )


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


def _on(inputs: FrameInputs, device: torch.device) -> FrameInputs:
    return replace(
        inputs,
        images=inputs.images.to(device),
        agent_to_image=inputs.agent_to_image.to(device),
    )
