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

"""Tracking stage: clips of single agents, several at once; queries learn to live on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from cooptrack_core.models.bev_encoder.lift import LiftEncoder
from cooptrack_core.models.bev_encoder.motion import EgoMotion
from cooptrack_core.models.checkpoint import save_weights
from cooptrack_core.models.cooptrack.interface import DenseFeatures, FrameInputs, TrackMemory
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.training.auxiliary import HEADS_NAME, AuxiliaryHeads, save_heads
from cooptrack_core.training.data import ClipIndex, TrainingData
from cooptrack_core.training.detection import Batch, dense_losses, dense_maps, sight_losses
from cooptrack_core.training.frozen import (
    FrozenDense,
    FrozenLift,
    dense_is_frozen,
    only_memory_trains,
)
from cooptrack_core.training.inputs import Prepared, prepare
from cooptrack_core.training.options import StageRecipe
from cooptrack_core.training.precision import autocast
from cooptrack_core.training.sampling import batch_indices, generator
from cooptrack_core.training.streaming import (
    FrameLosses,
    TrainingMemory,
    agent_step,
    batch_losses,
)
from cooptrack_core.training.validation import Scorer

VALIDATION_CLIPS = 60


class TrackingStage:
    """Streams clips: memory is carried without its graph, so gradients span one frame."""

    def __init__(
        self,
        model: CoopTrack,
        heads: AuxiliaryHeads,
        data: TrainingData,
        validation: TrainingData | None,
        recipe: StageRecipe,
        *,
        seed: int,
        device: torch.device,
        precision: str,
        channels_last: bool,
    ) -> None:
        """Collect the clips; arguments as in DetectionStage."""
        self.model, self.data, self.validation, self.recipe = model, data, validation, recipe
        self.seed, self.device, self.precision = seed, device, precision
        self.channels_last = channels_last
        self.heads = heads
        self.modules = nn.ModuleDict({'model': model, 'heads': self.heads})
        self.modules.train()
        self.period = recipe.streaming.clip_frames
        self.clips = data.clips(recipe.agents, self.period)
        self._dense: FrozenDense | None = None
        if dense_is_frozen(model):
            self._dense = FrozenDense(model, data, device, precision)
        self._lift: FrozenLift | None = None
        if only_memory_trains(model):
            self._lift = FrozenLift(model, data, device, precision)
        self._memories: list[TrainingMemory | None] = []

    def losses(self, iteration: int) -> dict[str, Tensor]:
        """Losses of the next frame of every slot's clip."""
        group, step = divmod(iteration, self.period)
        size = self.recipe.optimisation.batch_size
        clips = [self.clips[i] for i in batch_indices(len(self.clips), size, group, self.seed)]
        if step == 0:
            self._memories = [None] * size
        frames = [
            self._prepare(clip, group, step, iteration, slot) for slot, clip in enumerate(clips)
        ]
        batch = Batch.stack(frames, self.device, self.channels_last)
        inputs = [replace(f.inputs, images=batch.images[b]) for b, f in enumerate(frames)]
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + iteration)
        results: list[FrameLosses] = []
        grid, plan = self.model.config.bev.grid, self.recipe.auxiliary
        extra: dict[str, Tensor] = {}
        if self._dense is not None:
            features = [self._dense.features(c.scene, c.agent_id, c.frames[step]) for c in clips]
        elif self._lift is not None:
            present = [self._lift.present(c.scene, c.agent_id, c.frames[step]) for c in clips]
            with autocast(self.precision, self.device):
                dense = fuse(self.model, torch.cat(present), inputs, self._memories)
            features = [one_of(dense, slot) for slot in range(size)]
        else:
            with autocast(self.precision, self.device):
                dense = perceive(self.model, inputs, self._memories)
                maps = dense_maps(self.heads, dense, grid)
            features = [one_of(dense, slot) for slot in range(size)]
            extra = dense_losses(*maps, batch, grid, plan)
            extra |= sight_losses(self.model, dense, batch, plan)
        # Queries are few: full precision costs nothing here, and it is what runs at inference.
        for slot, frame in enumerate(inputs):
            losses, self._memories[slot], _ = agent_step(
                self.model,
                frame,
                self._memories[slot],
                batch.truths[slot],
                self.recipe.streaming,
                random,
                dense=features[slot],
                quality=self.recipe.quality_distance,
            )
            results.append(losses)
        return batch_losses(results) | extra

    def validate(self) -> dict[str, float]:
        """AP of the streamed output, per agent role."""
        if self.validation is None:
            return {}
        result: dict[str, float] = {}
        for role in ('vehicle', 'roadside'):
            clips = self.validation.clips(role, self.period)
            clips = clips[:: max(1, len(clips) // VALIDATION_CLIPS)]
            scorer = Scorer()
            for clip in clips:
                self._play(clip, scorer)
            result |= scorer.result(f'{role}/')
        return result

    def export(self, directory: Path) -> Path:
        """Write the agent model."""
        path = directory / 'weights.safetensors'
        save_heads(self.heads, directory / HEADS_NAME)
        save_weights(self.model, path, metadata={'stage': 'tracking'})
        return path

    def _play(self, clip: ClipIndex, scorer: Scorer) -> None:
        assert self.validation is not None  # noqa: S101 - for the type checker
        memory: TrackMemory | None = None
        for frame_id in clip.frames:
            frame = prepare(
                self.validation.frame(clip.scene, clip.agent_id, frame_id),
                self.model.config.image,
            )
            outputs, memory = self.model(frame.inputs, memory)
            queries = outputs.queries
            scorer.add(frame.truth, queries.boxes, queries.logits.float().sigmoid())

    def _prepare(
        self, clip: ClipIndex, group: int, step: int, iteration: int, slot: int
    ) -> Prepared:
        kept = self._dense is not None or self._lift is not None
        frame = self.data.frame(clip.scene, clip.agent_id, clip.frames[step], image=not kept)
        if kept:  # computed once, so it cannot change
            return prepare(frame, self.model.config.image)
        plan = self.recipe.augmentation
        # One draw per clip: a clip is mirrored as a whole or not at all.
        mirrored = bool(generator(self.seed, group, slot).random() < plan.mirror)
        rng = generator(self.seed + 1, iteration, slot)
        return prepare(frame, self.model.config.image, plan, rng, mirrored=mirrored)


def perceive(
    model: CoopTrack, frames: list[FrameInputs], memories: list[TrainingMemory | None]
) -> DenseFeatures:
    """Dense features of several slots at once, each with the memory of its own past."""
    like = model.learnt.refs.weight
    images = torch.stack([f.images for f in frames])
    matrices = torch.stack([f.agent_to_image for f in frames]).to(like)
    return model.perceive(images, matrices, *past(model, frames, memories))


def fuse(
    model: CoopTrack,
    present: Tensor,
    frames: list[FrameInputs],
    memories: list[TrainingMemory | None],
) -> DenseFeatures:
    """The same from lifted frames (B, G, D); there are no image features."""
    assert isinstance(model.bev_encoder, LiftEncoder)  # noqa: S101 - only_memory_trains saw it
    previous, motion = past(model, frames, memories)
    bev = model.bev_encoder.fuse(present, previous, motion or EgoMotion.none(len(frames), present))
    nothing = bev.new_zeros(len(frames), 1, 0, 0, 0)
    return DenseFeatures(nothing, nothing, bev)


def past(
    model: CoopTrack, frames: list[FrameInputs], memories: list[TrainingMemory | None]
) -> tuple[Tensor | None, EgoMotion | None]:
    """Previous BEV maps (B, G, D) and the motion since then, or two times None.

    All slots are at the same frame of their clips, so either all of them have a memory or none;
    a memory that its frame does not continue counts as none for everyone.
    """
    known = [m.model for m in memories if m is not None]
    if len(known) < len(frames) or not all(
        model.continues(f, m) for f, m in zip(frames, known, strict=True)
    ):
        return None, None
    like = model.learnt.refs.weight
    motions = [model.ego_motion(f, m, like)[1] for f, m in zip(frames, known, strict=True)]
    motion = EgoMotion(
        torch.cat([m.can_bus for m in motions]), torch.cat([m.prev_T_current for m in motions])
    )
    return torch.stack([m.bev for m in known]), motion


def one_of(dense: DenseFeatures, slot: int) -> DenseFeatures:
    """Features of one slot, B = 1, in full precision."""
    here = slice(slot, slot + 1)
    return DenseFeatures(
        dense.backbone[here].float(), dense.image[here].float(), dense.bev[here].float()
    )
