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

"""Frozen image parts computed once per scene: BEV maps, or what of them needs no memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from cooptrack_core.models.bev_encoder.lift import LiftEncoder
from cooptrack_core.models.bev_encoder.motion import can_bus_of
from cooptrack_core.models.cooptrack.interface import DenseFeatures, FrameInputs, TrackMemory
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.training.data import TrainingData
from cooptrack_core.training.inputs import on_device, prepare
from cooptrack_core.training.precision import autocast

_DENSE_PARTS = ('backbone.', 'neck.', 'bev_encoder.')
# What fuses a frame of the lift encoder with its memory.
_MEMORY_PARTS = ('bev_encoder.memory.', 'bev_encoder.blocks.')


def dense_is_frozen(model: CoopTrack) -> bool:
    """Whether nothing of backbone, neck and BEV encoder trains."""
    return not any(
        p.requires_grad for n, p in model.named_parameters() if n.startswith(_DENSE_PARTS)
    )


def only_memory_trains(model: CoopTrack) -> bool:
    """Whether of backbone, neck and a lift encoder only what follows the lift trains."""
    training = [
        n for n, p in model.named_parameters() if p.requires_grad and n.startswith(_DENSE_PARTS)
    ]
    lifts = isinstance(model.bev_encoder, LiftEncoder)
    return lifts and bool(training) and all(n.startswith(_MEMORY_PARTS) for n in training)


@contextlib.contextmanager
def _evaluating(model: CoopTrack) -> Iterator[None]:
    """The model in evaluation mode, and afterwards every module as it was."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


class FrozenLift:
    """Lifted frames without memory, kept in half precision; the memory may train on them."""

    def __init__(
        self, model: CoopTrack, data: TrainingData, device: torch.device, precision: str
    ) -> None:
        """Remember the model; backbone, neck and lift must not train."""
        self.model, self.data = model, data
        self.device, self.precision = device, precision
        self._maps: dict[tuple[int, str, str], Tensor] = {}

    def present(self, scene: int, agent_id: str, frame_id: str) -> Tensor:
        """(1, G, D) of one frame, see ``LiftEncoder.present``."""
        key = (scene, agent_id, frame_id)
        if key not in self._maps:
            frame = self.data.frame(*key)
            inputs = on_device(prepare(frame, self.model.config.image).inputs, self.device)
            with _evaluating(self.model), autocast(self.precision, self.device):
                self._maps[key] = self.model.lifted(
                    inputs.images[None], inputs.agent_to_image[None]
                ).half().cpu()  # fmt: skip
            self.data.forget_image(*key)
        return self._maps[key].to(self.device).float()


class FrozenDense:
    """BEV maps with the memory of their scene, kept in half precision."""

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

    def _play(self, scene: int, agent_id: str) -> dict[str, Tensor]:
        memory: TrackMemory | None = None
        maps: dict[str, Tensor] = {}
        like = self.model.learnt.refs.weight
        with _evaluating(self.model):
            for frame_id in self.data.scenes[scene].frame_ids(agent_id):
                frame = self.data.frame(scene, agent_id, frame_id)
                inputs = on_device(prepare(frame, self.model.config.image).inputs, self.device)
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
                self.data.forget_image(scene, agent_id, frame_id)
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
