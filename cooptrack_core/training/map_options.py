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

"""What a training run of maps can be told (YAML): CoBEVT and the operators it is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cooptrack_core.config import from_mapping, load_yaml
from cooptrack_core.training.options import Augmentation, Optimisation, Stage, stage_of


@dataclass(frozen=True)
class MapLossWeights:
    """Weights of the losses of maps; a class that the model does not tell costs nothing.

    Attributes:
        vehicle: Of a vehicle cell in the cross-entropy, background is 1 (released: 75).
        drivable, lane: The same for the static map (released: 2 and 4).
        dynamic: Factor on the cross-entropy of vehicles (released: 2).
        static: Factor on that of the static map (released: 1).
        overlap: Factor on the soft IoU loss, 1 - IoU of probabilities, of each class; 0 as
            released. The cross-entropy alone is happy with blurred cars.
    """

    vehicle: float = 4.0
    drivable: float = 1.0
    lane: float = 2.0
    dynamic: float = 1.0
    static: float = 1.0
    overlap: float = 1.0


@dataclass(frozen=True)
class MapStageRecipe:
    """One stage.

    Attributes:
        optimisation: AdamW with its schedule; a batch counts scenes.
        together: True: all agents in reach of a random ego, fused. False: one random agent alone.
        vehicles: The truth: vehicles that this agent has seen, or any agent of the scene.
        max_agents: Most agents of a scene, the ego included.
        agent_dropout: Probability of leaving out one of the others.
        camera_dropout: Probability of leaving out one camera.
        blind_ego: Probability that the ego has no camera at all, when others are there.
        frozen: Beginnings of names of parameters that do not train. If the backbone and SinBEVT
            are among them, their maps are computed once per agent and frame, and images are not
            augmented.
        losses: Their weights.
        augmentation: Of images; mirroring swaps left and right of the whole world.
    """

    optimisation: Optimisation
    together: bool = False
    vehicles: Literal['visible', 'visible_all', 'dynamic'] = 'visible'
    max_agents: int = 4
    agent_dropout: float = 0.0
    camera_dropout: float = 0.0
    blind_ego: float = 0.0
    frozen: tuple[str, ...] = ()
    losses: MapLossWeights = field(default_factory=MapLossWeights)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        """Check the probabilities."""
        for name in ('agent_dropout', 'camera_dropout', 'blind_ego'):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f'{name} is no probability')
        if self.max_agents < 1:
            raise ValueError('max_agents must be at least 1')

    @property
    def caches_maps(self) -> bool:
        """Whether all that comes before the fusion is frozen."""
        return {'backbone', 'sinbevt'} <= set(self.frozen)


@dataclass(frozen=True)
class MapRecipe:
    """The training file of a map model.

    Attributes:
        model: Model configuration, a name below ``config/models`` without ``.yaml``.
        map: One agent alone.
        map_cooperative: Agents together.
        mixed_precision: ``auto`` uses bfloat16 where the machine computes it natively.
        channels_last: Memory layout of images and convolutions.
        checkpoint_every: Iterations between checkpoints.
        validate_every: Iterations between validations; 0 validates at the end only.
    """

    model: str
    map: MapStageRecipe | None = None
    map_cooperative: MapStageRecipe | None = None
    mixed_precision: Literal['auto', 'off', 'on'] = 'auto'
    channels_last: bool = True
    checkpoint_every: int = 200
    validate_every: int = 0

    def stage(self, stage: Stage) -> MapStageRecipe:
        """Return the recipe of a stage.

        Raises:
            InputError: The file has no such stage.
        """
        found: MapStageRecipe = stage_of(self, stage)
        return found


def load_map_recipe(path: str | Path) -> MapRecipe:
    """Read a recipe file strictly.

    Raises:
        InputError: The file is missing, or a key or value is wrong.
    """
    return from_mapping(MapRecipe, load_yaml(path), path=path)
