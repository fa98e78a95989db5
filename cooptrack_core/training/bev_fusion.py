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

"""Cooperative stage of the baseline that fuses BEV maps: shuffled frame pairs, no memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cooptrack_core.errors import InputError
from cooptrack_core.geometry import BevGrid
from cooptrack_core.models.checkpoint import save_weights
from cooptrack_core.models.cooptrack.interface import DecoderOutputs
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.structures import Role
from cooptrack_core.training.cooperative import VALIDATION_CLIPS, pose_noise
from cooptrack_core.training.data import EGO, PairClip, TrainingData
from cooptrack_core.training.frozen import FrozenDense, dense_is_frozen
from cooptrack_core.training.layers import layer_losses
from cooptrack_core.training.options import StageRecipe
from cooptrack_core.training.sampling import batch_indices, generator
from cooptrack_core.training.targets import GroundTruth
from cooptrack_core.training.validation import Scorer

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sample:
    """One frame pair.

    Attributes:
        own: (G, D) map of the vehicle.
        theirs: Per message the sender's map (G', D) and its agent frame seen from the vehicle's,
            sender_T_ego (4, 4).
        truth: What the two can know of.
    """

    own: Tensor
    theirs: list[tuple[Tensor, Array]]
    truth: GroundTruth


class Maps:
    """BEV maps of the vehicle and of the senders over one set of scenes, computed once.

    Both image parts are frozen; each agent's map has the memory of its scene.
    """

    def __init__(
        self,
        model: CoopTrack,
        sender: CoopTrack,
        data: TrainingData,
        device: torch.device,
        precision: str,
    ) -> None:
        self.data, self.grid = data, model.config.bev.grid
        self._own = FrozenDense(model, data, device, precision)
        self._theirs = FrozenDense(sender, data, device, precision)

    def sample(
        self, scene: int, pair: int, recipe: StageRecipe, rng: np.random.Generator | None
    ) -> Sample:
        """Return one frame pair.

        Args:
            scene: Its number.
            pair: Number of the pair in the scene.
            recipe: How messages are lost and misplaced.
            rng: Randomness; None loses and misplaces nothing.
        """
        plan, source = recipe.streaming, self.data.scenes[scene]
        found = source.pairs[pair]
        world_T_ego = self._pose(scene, EGO, found.ego_frame_id)
        theirs, heard = [], [EGO]
        for agent_id in sorted(found.remote_frame_ids):
            if source.agent(agent_id).role is not Role.ROADSIDE:
                continue
            if rng is not None and rng.random() < plan.message_dropout:
                continue
            frame_id = found.remote_frame_ids[agent_id]
            world_T_sender = self._pose(scene, agent_id, frame_id).copy()
            offset = np.array([*found.offsets.get(agent_id, (0.0, 0.0)), 0.0])
            world_T_sender[:3, 3] += world_T_ego[:3, :3] @ offset
            if rng is not None:
                noise = pose_noise(rng, plan.position_noise, plan.yaw_noise)
                world_T_sender = world_T_sender @ noise
            bev = self._theirs.features(scene, agent_id, frame_id).bev[0]
            theirs.append((bev, np.linalg.inv(world_T_sender) @ world_T_ego))
            heard.append(agent_id)
        truth = on_map(self.data.cooperative_truth(scene, pair, heard), self.grid)
        own = self._own.features(scene, EGO, found.ego_frame_id).bev[0]
        return Sample(own, theirs, truth.to(own.device))

    def _pose(self, scene: int, agent_id: str, frame_id: str) -> Array:
        return self.data.frame(scene, agent_id, frame_id, image=False).world_T_agent


class BevFusionStage:
    """Trains the convolutions that fuse, the learnt queries and the decoder."""

    period = 1

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
        """Collect the frame pairs; arguments as in CooperativeStage.

        Raises:
            InputError: The recipe lets image parts train.
        """
        if not dense_is_frozen(model):
            raise InputError(
                'fusion of BEV maps trains on maps that are computed once',
                field='frozen',
                remedy='freeze backbone, neck and bev_encoder',
            )
        self.model, self.validation, self.recipe = model, validation, recipe
        self.seed, self.device, self.precision = seed, device, precision
        self.sender, self.sender_id = sender.eval(), sender_id
        self.modules: nn.Module = model
        model.train()
        self.pairs = data.pair_clips(1)
        self._maps = Maps(model, self.sender, data, device, precision)

    def losses(self, iteration: int) -> dict[str, Tensor]:
        """Losses of one batch of frame pairs, every decoder layer."""
        size = self.recipe.optimisation.batch_size
        picked = batch_indices(len(self.pairs), size, iteration, self.seed)
        samples = [
            self._maps.sample(
                *_place(self.pairs[i]), self.recipe, generator(self.seed, iteration, slot)
            )
            for slot, i in enumerate(picked)
        ]
        outputs = detect(self.model, samples, self.sender.config.bev.grid)
        quality = self.recipe.quality_distance
        return layer_losses(outputs, [s.truth for s in samples], quality=quality)

    def validate(self) -> dict[str, float]:
        """AP of single frames against the cooperative objects on the map that a camera shows."""
        if self.validation is None:
            return {}
        maps = Maps(self.model, self.sender, self.validation, self.device, self.precision)
        pairs = self.validation.pair_clips(1)
        scorer = Scorer()
        for clip in pairs[:: max(1, len(pairs) // (8 * VALIDATION_CLIPS))]:
            sample = maps.sample(*_place(clip), self.recipe, None)
            outputs = detect(self.model, [sample], self.sender.config.bev.grid)
            scorer.add(
                sample.truth, outputs.boxes[-1, 0].float(), outputs.logits[-1, 0].float().sigmoid()
            )
        return scorer.result('cooperative/')

    def export(self, directory: Path) -> Path:
        """Write the model; it names the sender whose maps it understands."""
        path = directory / 'weights.safetensors'
        metadata = {'stage': 'cooperative', 'sender_model_id': self.sender_id}
        save_weights(self.model, path, metadata=metadata)
        return path


def detect(model: CoopTrack, samples: list[Sample], grid: BevGrid) -> DecoderOutputs:
    """Fuse the maps of B samples and decode the learnt queries.

    Args:
        model: Fuses BEV maps.
        samples: On the model's device.
        grid: Cells of the senders' maps.
    """
    assert model.bev_fusion is not None  # noqa: S101 - for the type checker
    bev = torch.stack([sample.own for sample in samples])
    for turn in range(max(len(sample.theirs) for sample in samples)):
        rows = [b for b, sample in enumerate(samples) if len(sample.theirs) > turn]
        there = torch.stack([samples[b].theirs[turn][0] for b in rows])
        poses = np.stack([samples[b].theirs[turn][1] for b in rows])
        there = model.bev_fusion.warped(there, grid, torch.from_numpy(poses).to(bev))
        index = torch.tensor(rows, device=bev.device)
        fused = model.bev_fusion(bev[index], there)
        bev = bev.index_copy(0, index, fused.to(bev))
    feats = model.learnt.feats.weight.expand(len(samples), -1, -1)
    refs = model.learnt.refs.weight.expand(len(samples), -1, -1)
    return model.decode(bev, feats, refs)


def on_map(truth: GroundTruth, grid: BevGrid) -> GroundTruth:
    """Objects on the BEV map; of others the decoder sees nothing."""
    x, y = truth.codes[:, 0], truth.codes[:, 1]
    inside = (grid.x_min <= x) & (x < grid.x_max) & (grid.y_min <= y) & (y < grid.y_max)
    return truth.select(inside)


def _place(clip: PairClip) -> tuple[int, int]:
    return clip.scene, clip.pairs[0]
