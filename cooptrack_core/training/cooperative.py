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

"""Cooperative stage: clips of the vehicle with messages of frozen remote agents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cooptrack_core.models.checkpoint import save_weights
from cooptrack_core.models.cooptrack.interface import (
    DenseFeatures,
    RemoteInstances,
    TrackMemory,
)
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.structures import Role
from cooptrack_core.training.data import EGO, PairClip, TrainingData
from cooptrack_core.training.frozen import FrozenDense, dense_is_frozen
from cooptrack_core.training.inputs import prepare
from cooptrack_core.training.messages import Sender, as_remote, knowable
from cooptrack_core.training.options import StageRecipe
from cooptrack_core.training.precision import autocast
from cooptrack_core.training.sampling import batch_indices, generator
from cooptrack_core.training.streaming import (
    FrameLosses,
    TrainingMemory,
    batch_losses,
    cooperative_step,
)
from cooptrack_core.training.tracking import one_of, perceive
from cooptrack_core.training.validation import Scorer

VALIDATION_CLIPS = 40

Array = NDArray[np.float64]


class CooperativeStage:
    """Trains the vehicle; the senders are frozen, and so is its dense part if the recipe says."""

    def __init__(
        self,
        model: CoopTrack,
        sender: CoopTrack,
        sender_id: str,
        data: TrainingData,
        validation: TrainingData | None,
        recipe: StageRecipe,
        *,
        seed: int,
        device: torch.device,
        precision: str,
        channels_last: bool,
    ) -> None:
        """Collect the clips; arguments as in DetectionStage.

        Args:
            model: The cooperative model.
            sender: The agent model of every remote agent.
            sender_id: Model id of its file.
            data: Training scenes.
            validation: Held-out scenes.
            recipe: The stage's recipe.
            seed: Of the run.
            device: Where to train.
            precision: ``auto``, ``on`` or ``off``.
            channels_last: Unused; frames are processed one by one here.
        """
        self.model, self.data, self.validation, self.recipe = model, data, validation, recipe
        self.seed, self.device, self.precision = seed, device, precision
        self.modules: nn.Module = model
        model.train()
        self.period = recipe.streaming.clip_frames
        self.clips = data.pair_clips(self.period)
        self.sender, self.sender_id = Sender(sender, data, device, precision), sender_id
        frozen = dense_is_frozen(model)
        self._dense = FrozenDense(model, data, device, precision) if frozen else None
        self._memories: list[TrainingMemory | None] = []

    def losses(self, iteration: int) -> dict[str, Tensor]:
        """Losses of the next frame pair of every slot's clip."""
        group, step = divmod(iteration, self.period)
        size = self.recipe.optimisation.batch_size
        clips = [self.clips[i] for i in batch_indices(len(self.clips), size, group, self.seed)]
        if step == 0:
            self._memories = [None] * size
        results = [
            self._frame_losses(clip, step, iteration, slot) for slot, clip in enumerate(clips)
        ]
        return batch_losses(results)

    def validate(self) -> dict[str, float]:
        """AP of the streamed output against all cooperative objects a camera sees."""
        if self.validation is None:
            return {}
        sender = Sender(self.sender.model, self.validation, self.device, self.precision)
        clips = self.validation.pair_clips(self.period)
        scorer = Scorer()
        for clip in clips[:: max(1, len(clips) // VALIDATION_CLIPS)]:
            self._play(clip, sender, scorer)
        return scorer.result('cooperative/')

    def export(self, directory: Path) -> Path:
        """Write the cooperative model; it names the sender whose features it understands."""
        path = directory / 'weights.safetensors'
        metadata = {'stage': 'cooperative', 'sender_model_id': self.sender_id}
        save_weights(self.model, path, metadata=metadata)
        return path

    def _frame_losses(self, clip: PairClip, step: int, iteration: int, slot: int) -> FrameLosses:
        plan, rng = self.recipe.streaming, generator(self.seed, iteration, slot)
        scene, pair = clip.scene, clip.pairs[step]
        ego_id = self.data.scenes[scene].pairs[pair].ego_frame_id
        frame = self.data.frame(scene, EGO, ego_id, image=self._dense is None)
        augmentation = None if self._dense is not None else self.recipe.augmentation
        prepared = prepare(frame, self.model.config.image, augmentation, rng)
        remotes = self._remotes(self.sender, clip, step, rng, disturbed=True)
        dense: DenseFeatures | None = None
        if self._dense is not None:
            dense = self._dense.features(scene, EGO, ego_id)
        memory = self._memories[slot]
        if dense is None:
            with autocast(self.precision, self.device):
                dense = one_of(perceive(self.model, [prepared.inputs], [memory]), 0)
        carried = None if memory is None else memory.model.live.ids
        truth = self.data.cooperative_truth(scene, pair, self._agents(scene))
        truth = knowable(truth, frame.truth, remotes, carried).to(self.device)
        random = torch.Generator().manual_seed(int(rng.integers(2**62)))
        # Queries are few: full precision costs nothing here, and it is what runs at inference.
        losses, self._memories[slot], _ = cooperative_step(
            self.model,
            prepared.inputs,
            memory,
            remotes,
            truth,
            plan,
            random,
            own_truth=frame.truth.to(self.device),
            dense=dense,
            quality=self.recipe.quality_distance,
        )
        return losses

    def _remotes(
        self,
        sender: Sender,
        clip: PairClip,
        step: int,
        rng: np.random.Generator,
        *,
        disturbed: bool,
    ) -> list[RemoteInstances]:
        """Messages of one frame pair; lost, thinned, late and misplaced as the recipe says."""
        plan, data = self.recipe.streaming, sender.data
        scene = data.scenes[clip.scene]
        pair = scene.pairs[clip.pairs[step]]
        ego = data.frame(clip.scene, EGO, pair.ego_frame_id, image=False)
        remotes = []
        for agent_id in sorted(pair.remote_frame_ids):
            if scene.agent(agent_id).role is not Role.ROADSIDE:
                continue
            if disturbed and rng.random() < plan.message_dropout:
                continue
            late = int(rng.integers(min(plan.latency_frames, step) + 1)) if disturbed else 0
            source = scene.pairs[clip.pairs[step - late]]
            frame_id = source.remote_frame_ids.get(agent_id)
            if frame_id is None:
                continue
            message = sender.message(clip.scene, agent_id, frame_id)
            kept, noise = None, np.eye(4)
            if disturbed:
                kept = torch.from_numpy(rng.random(len(message.live)) >= plan.instance_dropout)
                noise = pose_noise(rng, plan.position_noise, plan.yaw_noise)
            offset = np.array([*pair.offsets.get(agent_id, (0.0, 0.0)), 0.0])
            correction = ego.world_T_agent[:3, :3] @ offset
            remotes.append(as_remote(message, sender.model, ego, correction, noise, kept))
        return remotes

    def _agents(self, scene: int) -> list[str]:
        agents = self.data.scenes[scene].dataset.agents
        return [a.agent_id for a in agents if a.agent_id == EGO or a.role is Role.ROADSIDE]

    def _play(self, clip: PairClip, sender: Sender, scorer: Scorer) -> None:
        memory: TrackMemory | None = None
        rng = np.random.default_rng(0)
        data = sender.data
        agents = [
            a.agent_id
            for a in data.scenes[clip.scene].dataset.agents
            if a.agent_id == EGO or a.role is Role.ROADSIDE
        ]
        for step, pair in enumerate(clip.pairs):
            ego_id = data.scenes[clip.scene].pairs[pair].ego_frame_id
            frame = data.frame(clip.scene, EGO, ego_id)
            remotes = self._remotes(sender, clip, step, rng, disturbed=False)
            inputs = prepare(frame, self.model.config.image).inputs
            outputs, memory = self.model(inputs, memory, remotes)
            truth = data.cooperative_truth(clip.scene, pair, agents)
            queries = outputs.queries
            scorer.add(truth, queries.boxes, queries.logits.float().sigmoid())


def pose_noise(rng: np.random.Generator, position: float, yaw: float) -> Array:
    """(4, 4) small error of a pose: x, y in metres and yaw in rad, normal."""
    x, y = rng.normal(0, 1, 2) * position
    angle = rng.normal() * yaw
    error = np.eye(4)
    error[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    error[:2, 3] = x, y
    return error
