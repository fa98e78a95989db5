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

"""Detection stage: shuffled single frames, no memory, training-only heads help."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cooptrack_core.geometry import BevGrid
from cooptrack_core.models.checkpoint import save_weights
from cooptrack_core.models.cooptrack.interface import DecoderOutputs, DenseFeatures
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.training.auxiliary import (
    HEADS_NAME,
    AuxiliaryHeads,
    NoisedQueries,
    bev_losses,
    decode_bev_peaks,
    image_losses,
    noise_queries,
    save_heads,
    sight_loss,
)
from cooptrack_core.training.data import ClipIndex, TrainingData
from cooptrack_core.training.inputs import Prepared, prepare
from cooptrack_core.training.layers import layer_losses, noised_losses
from cooptrack_core.training.options import Auxiliary, StageRecipe
from cooptrack_core.training.precision import autocast
from cooptrack_core.training.sampling import batch_indices, generator
from cooptrack_core.training.targets import GroundTruth
from cooptrack_core.training.validation import Scorer

VALIDATION_FRAMES = 400
_VALIDATION_BATCH = 8


@dataclass(frozen=True, eq=False)
class Batch:
    """B frames.

    Attributes:
        images: (B, 1, 3, H, W).
        agent_to_image: (B, 1, 4, 4).
        truths: Objects per frame.
    """

    images: Tensor
    agent_to_image: Tensor
    truths: list[GroundTruth]

    @staticmethod
    def stack(frames: list[Prepared], device: torch.device, channels_last: bool) -> Batch:
        """Put frames together on the device."""
        images = torch.stack([f.inputs.images for f in frames]).to(device)
        if channels_last:
            images = images[:, 0].to(memory_format=torch.channels_last)[:, None]
        matrices = torch.stack([f.inputs.agent_to_image for f in frames]).to(device)
        return Batch(images, matrices, [f.truth.to(device) for f in frames])


class DetectionStage:
    """Backbone, neck, BEV encoder, learnt queries and decoder, from scratch or fine-tuned."""

    period = 1

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
        streams: bool = False,
    ) -> None:
        """Collect the frames.

        Args:
            model: On the device.
            heads: Training-only heads, on the device.
            data: Training frames.
            validation: Held-out frames.
            recipe: The stage's recipe; ``optimisation.iterations`` is final.
            seed: Of the run.
            device: Where to train.
            precision: ``auto``, ``on`` or ``off``.
            channels_last: Memory layout of images.
            streams: The model has been through the tracking stage: what it learnt there is kept
                by the next one.
        """
        self.model, self.data, self.validation, self.recipe = model, data, validation, recipe
        self.seed, self.device, self.precision = seed, device, precision
        self.channels_last = channels_last
        self.heads, self.streams = heads, streams
        self.modules = nn.ModuleDict({'model': model, 'heads': self.heads})
        self.modules.train()
        self.frames = data.single_frames(recipe.agents, recipe.frames_per_scene)
        data.describe(self.frames)
        self._generator = torch.Generator()

    def losses(self, iteration: int) -> dict[str, Tensor]:
        """Losses of one batch."""
        picked = batch_indices(
            len(self.frames), self.recipe.optimisation.batch_size, iteration, self.seed
        )
        batch = self._batch([self.frames[i] for i in picked], iteration)
        self._generator.manual_seed(self.seed * 1_000_003 + iteration)
        config, plan = self.model.config, self.recipe.auxiliary
        noised = noise_queries(
            batch.truths,
            config.range,
            config.decoder.queries,
            plan,
            len(config.classes),
            self._generator,
        )
        with autocast(self.precision, self.device):
            dense = self.model.perceive(batch.images, batch.agent_to_image)
            outputs = self._decode(dense.bev, noised)
            image_maps, bev_maps = dense_maps(self.heads, dense, config.bev.grid)
        number = 0 if noised is None else noised.refs.shape[1]
        quality = self.recipe.quality_distance
        losses = layer_losses(outputs, batch.truths, number, quality)
        if noised is not None:
            losses |= noised_losses(outputs, batch.truths, noised, plan, quality)
        losses |= dense_losses(image_maps, bev_maps, batch, config.bev.grid, plan)
        return losses | sight_losses(self.model, dense, batch, plan)

    def validate(self) -> dict[str, float]:
        """AP of the last decoder layer and of the BEV head, per agent role."""
        if self.validation is None:
            return {}
        result: dict[str, float] = {}
        for role in ('vehicle', 'roadside'):
            clips = self.validation.single_frames(role)
            step = max(1, len(clips) // VALIDATION_FRAMES)
            result |= self._score(clips[::step], role) if clips else {}
        return result

    def export(self, directory: Path) -> Path:
        """Write the agent model."""
        path = directory / 'weights.safetensors'
        save_heads(self.heads, directory / HEADS_NAME)
        save_weights(
            self.model, path, metadata={'stage': 'detection', 'streams': str(self.streams)}
        )
        return path

    def _score(self, clips: list[ClipIndex], role: str) -> dict[str, float]:
        decoder, peaks = Scorer(), Scorer()
        assert self.validation is not None  # noqa: S101 - for the type checker
        for start in range(0, len(clips), _VALIDATION_BATCH):
            frames = [
                prepare(
                    self.validation.frame(c.scene, c.agent_id, c.frames[0]),
                    self.model.config.image,
                )
                for c in clips[start : start + _VALIDATION_BATCH]
            ]
            batch = Batch.stack(frames, self.device, self.channels_last)
            with autocast(self.precision, self.device):
                dense = self.model.perceive(batch.images, batch.agent_to_image)
                outputs = self._decode(dense.bev, None)
                _, bev_maps = dense_maps(self.heads, dense, self.model.config.bev.grid)
            for b, truth in enumerate(batch.truths):
                logits = outputs.logits[-1, b].float()
                decoder.add(truth, outputs.boxes[-1, b].float(), logits.sigmoid())
                codes, scores = decode_bev_peaks(bev_maps[b].float(), self.model.config.bev.grid)
                peaks.add(truth, codes, scores)
        heat = peaks.result(f'{role}/heatmap_')
        return decoder.result(f'{role}/') | {
            name: value for name, value in heat.items() if name.endswith('_ap')
        }

    def _batch(self, clips: list[ClipIndex], iteration: int) -> Batch:
        plan, frames = self.recipe.augmentation, []
        for slot, clip in enumerate(clips):
            rng = generator(self.seed, iteration, slot)
            mirrored = bool(rng.random() < plan.mirror)
            frame = self.data.frame(clip.scene, clip.agent_id, clip.frames[0])
            frames.append(prepare(frame, self.model.config.image, plan, rng, mirrored=mirrored))
        return Batch.stack(frames, self.device, self.channels_last)

    def _decode(self, bev: Tensor, noised: NoisedQueries | None) -> DecoderOutputs:
        """Decode the learnt queries, noised ones in front of them."""
        learnt = self.model.learnt
        batch = bev.shape[0]
        feats = learnt.feats.weight.expand(batch, -1, -1)
        refs = learnt.refs.weight.expand(batch, -1, -1)
        if noised is None:
            return self.model.decode(bev, feats, refs)
        labels = self.heads.noised_label(noised.labels.to(bev.device))
        feats = torch.cat([labels, feats], 1)
        refs = torch.cat([noised.refs.to(bev.device), refs], 1)
        return self.model.decode(bev, feats, refs, blocked=noised.blocked.to(bev.device))


def dense_maps(
    heads: AuxiliaryHeads, dense: DenseFeatures, grid: BevGrid
) -> tuple[Tensor, Tensor]:
    """Outputs of the training-only heads: (B, C + 3, h, w) and (B, C + 8, rows, columns)."""
    batch, _, dims = dense.bev.shape
    bev = dense.bev.transpose(1, 2).reshape(batch, dims, grid.rows, grid.columns)
    return heads.image(dense.image[:, 0]), heads.bev(bev)


def dense_losses(
    image_maps: Tensor, bev_maps: Tensor, batch: Batch, grid: BevGrid, plan: Auxiliary
) -> dict[str, Tensor]:
    """Losses of the dense heads, averaged over the batch; off where the weight is 0."""
    size = (batch.images.shape[-2], batch.images.shape[-1])
    image = [
        image_losses(image_maps[b].float(), truth, batch.agent_to_image[b, 0], size)
        for b, truth in enumerate(batch.truths)
    ]
    bev = [bev_losses(bev_maps[b].float(), t, grid) for b, t in enumerate(batch.truths)]
    weighed = {
        'image_heatmap': (plan.image_heatmap, [p[0] for p in image]),
        'image_regression': (plan.image_regression, [p[1] for p in image]),
        'bev_heatmap': (plan.bev_heatmap, [p[0] for p in bev]),
        'bev_regression': (plan.bev_regression, [p[1] for p in bev]),
    }
    return {
        name: weight * torch.stack(parts).mean()
        for name, (weight, parts) in weighed.items()
        if weight > 0
    }


def sight_losses(
    model: CoopTrack, dense: DenseFeatures, batch: Batch, plan: Auxiliary
) -> dict[str, Tensor]:
    """Loss of the depths that a lift encoder reads off the images, where it reads any."""
    sight = getattr(model.bev_encoder, 'sight', None)
    if sight is None or not plan.sight_depth:
        return {}
    size = (batch.images.shape[-2], batch.images.shape[-1])
    maps = sight(dense.image[:, 0])[:, 0]
    parts = [
        sight_loss(maps[b], truth, batch.agent_to_image[b, 0], size)
        for b, truth in enumerate(batch.truths)
    ]
    return {'sight_depth': plan.sight_depth * torch.stack(parts).mean()}
