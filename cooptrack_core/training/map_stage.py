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

"""The stages of a map model: one agent alone, then agents together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cooptrack_core.evaluation.map_protocol import MapProtocol
from cooptrack_core.evaluation.maps import MapScore
from cooptrack_core.models.cobevt.checkpoint import save_weights
from cooptrack_core.models.cobevt.interface import MapOutputs
from cooptrack_core.models.cobevt.model import Cobevt
from cooptrack_core.structures import MapLabels
from cooptrack_core.training.map_cache import Key, MapCache
from cooptrack_core.training.map_data import (
    MapTrainingData,
    Moment,
    RingFrame,
    batch_inputs,
    ego_T_bodies,
    map_truth,
    ring_inputs,
    scene_inputs,
)
from cooptrack_core.training.map_losses import map_losses
from cooptrack_core.training.map_options import MapStageRecipe
from cooptrack_core.training.precision import autocast
from cooptrack_core.training.sampling import batch_indices, generator

VALIDATION_FRAMES = 200

Scene = tuple[list[RingFrame], list[Key]]  # agents, the ego first, and the names of their maps


class MapStage:
    """Scenes drawn at random; everything, or what follows the senders' maps, trains."""

    period = 1

    def __init__(
        self,
        model: Cobevt,
        data: MapTrainingData,
        validation: MapTrainingData | None,
        recipe: MapStageRecipe,
        *,
        name: str,
        seed: int,
        device: torch.device,
        precision: str,
        cache: Path | None = None,
    ) -> None:
        """Keep what is needed.

        Args:
            model: On the device.
            data: Training scenes.
            validation: Held-out scenes.
            recipe: The stage's recipe; ``optimisation.batch_size`` is this process's part.
            name: Of the stage, for the file of weights.
            seed: Of the run.
            device: Where to train.
            precision: ``auto``, ``on`` or ``off``.
            cache: Directory of maps of frozen senders; None keeps them in memory.
        """
        self.model, self.data, self.validation, self.recipe = model, data, validation, recipe
        self.name, self.seed, self.device, self.precision = name, seed, device, precision
        self.modules = nn.ModuleDict({'model': model})
        self.modules.train()
        self._cache = MapCache(model, cache) if recipe.caches_maps else None

    def losses(self, iteration: int) -> dict[str, Tensor]:
        """Losses of one batch of scenes."""
        plan = self.recipe
        picked = batch_indices(
            len(self.data.moments), plan.optimisation.batch_size, iteration, self.seed
        )
        scenes = []
        for slot, index in enumerate(picked):
            rng = generator(self.seed, iteration, slot)
            scenes.append(self._draw(self.data.moments[index], rng))
        truth = map_truth([_labels(frames[0]) for frames, _ in scenes], plan)
        truth = {target: value.to(self.device) for target, value in truth.items()}
        with autocast(self.precision, self.device):
            if plan.caches_maps:
                outputs = self._from_maps(scenes, iteration)
            else:
                outputs = self._from_images(scenes, iteration)
        return map_losses(outputs.logits, truth, plan.losses)

    def validate(self) -> dict[str, float]:
        """IoU on held-out scenes, the first vehicle of each as ego."""
        data = self.validation
        if data is None:
            return {}
        score = MapScore(MapProtocol(grid=self.model.config.map, vehicles=self.recipe.vehicles))
        step = max(1, len(data.moments) // VALIDATION_FRAMES)
        for moment in data.moments[::step]:
            ego = data.scenarios[moment.scenario].vehicle_ids[0]
            most = self.recipe.max_agents if self.recipe.together else 1
            frames = [data.ring(moment, a) for a in data.agents(moment, ego, most)]
            inputs = scene_inputs([ring_inputs(f, self.model.config) for f in frames], frames)
            logits = self.model(inputs).logits
            found = {t: x[0].argmax(0).cpu().numpy() for t, x in logits.items()}
            masks = score.protocol.masks(found.get('dynamic'), found.get('static'))
            truth = score.protocol.truth(_labels(frames[0]))
            score.add(masks, {k: v for k, v in truth.items() if k in masks})
        result = score.as_dict()
        return {k: result[k] for k in ('vehicle', 'drivable', 'lane') if result[k] is not None}

    def export(self, directory: Path) -> Path:
        """Write the model."""
        path = directory / 'weights.safetensors'
        save_weights(self.model, path, metadata={'stage': self.name})
        return path

    def _draw(self, moment: Moment, rng: np.random.Generator) -> Scene:
        """A random ego of a moment and the agents that take part, with their keys."""
        plan, data = self.recipe, self.data
        vehicles = [
            v
            for v in data.scenarios[moment.scenario].vehicle_ids
            if moment.frame_id in data.scenarios[moment.scenario].frame_ids(v)
        ]
        ego = vehicles[int(rng.integers(len(vehicles)))]
        agents = [ego]
        if plan.together:
            others = data.agents(moment, ego, plan.max_agents)[1:]
            agents += [a for a in others if rng.random() >= plan.agent_dropout]
        frames = [data.ring(moment, agent) for agent in agents]
        mirror = not plan.caches_maps and rng.random() < plan.augmentation.mirror
        if mirror:
            frames = [frame.mirrored() for frame in frames]
        scene = data.scenarios[moment.scenario].path
        return frames, [(scene, agent, moment.frame_id) for agent in agents]

    def _from_images(self, scenes: list[Scene], iteration: int) -> MapOutputs:
        plan, inputs = self.recipe, []
        for slot, (frames, _) in enumerate(scenes):
            rng = generator(self.seed, iteration, 1000 + slot)
            rings = [ring_inputs(frame, self.model.config, plan, rng) for frame in frames]
            if len(rings) > 1 and rng.random() < plan.blind_ego:
                rings[0].cameras_valid.zero_()
            inputs.append(scene_inputs(rings, frames))
        batch = batch_inputs(inputs)
        outputs: MapOutputs = self.model(batch.to(self.device))
        return outputs

    def _from_maps(self, scenes: list[Scene], iteration: int) -> MapOutputs:
        """Fuse and decode maps that frozen senders made once."""
        maps = torch.cat([self._map_of(*pair) for s in scenes for pair in zip(*s, strict=True)])
        poses = torch.cat([ego_T_bodies(frames) for frames, _ in scenes])
        counts = tuple(len(frames) for frames, _ in scenes)
        sees = [
            torch.arange(count) >= self._ego_is_blind(iteration, slot, count)
            for slot, count in enumerate(counts)
        ]
        return self.model.combine(
            maps.to(self.device), poses.to(self.device), counts, torch.cat(sees).to(self.device)
        )

    def _ego_is_blind(self, iteration: int, slot: int, agents: int) -> bool:
        rng = generator(self.seed, iteration, 1000 + slot)
        return agents > 1 and rng.random() < self.recipe.blind_ego

    def _map_of(self, frame: RingFrame, key: Key) -> Tensor:
        """(1, C, H, W) of one agent."""
        assert self._cache is not None  # noqa: S101 - opened where the trunk is frozen

        def make() -> Tensor:
            training = self.model.training
            self.model.eval()
            with torch.no_grad():
                ring = ring_inputs(frame, self.model.config).to(self.device)
                features = self.model.encode(ring.images, ring.intrinsics, ring.agent_T_camera)
            self.model.train(training)
            return features

        return self._cache.get(key, make)


def _labels(frame: RingFrame) -> MapLabels:
    assert frame.labels is not None  # noqa: S101 - egos are vehicles, and vehicles have maps
    return frame.labels
