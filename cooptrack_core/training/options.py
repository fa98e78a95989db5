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

"""What a training run is told: command-line options and the recipe file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from cooptrack_core.config import from_mapping, load_yaml
from cooptrack_core.errors import InputError
from cooptrack_core.models.fusion.map_operators import FusionName


class Stage(str, Enum):
    """The stages of training, in their order (reference section 4.1)."""

    DETECTION = 'detection'
    TRACKING = 'tracking'
    COOPERATIVE = 'cooperative'
    LATENCY = 'latency'
    # Of map models, with recipes of their own (map_options.py).
    MAP = 'map'
    MAP_COOPERATIVE = 'map_cooperative'


@dataclass(frozen=True)
class Optimisation:
    """AdamW with linear warm-up and cosine decay over the planned iterations.

    Attributes:
        iterations: Planned length; the schedule ends there.
        batch_size: Frames (detection) or parallel sequences (later stages) per iteration.
        learning_rate: Peak.
        backbone_scale: The image backbone learns at this fraction of it; 0 freezes it.
        weight_decay: Not applied to norms, biases and embeddings unless ``decay_all``.
        decay_all: As released: weight decay on every parameter.
        warmup_iterations: Length of the linear warm-up.
        warmup_from: First learning rate as a fraction of the peak.
        final_fraction: Last learning rate as a fraction of the peak.
        clip_norm: Largest L2 norm of the gradient.
    """

    iterations: int
    batch_size: int = 8
    learning_rate: float = 8e-4
    backbone_scale: float = 1.0
    weight_decay: float = 0.01
    decay_all: bool = False
    warmup_iterations: int = 300
    warmup_from: float = 0.05
    final_fraction: float = 0.02
    clip_norm: float = 10.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.iterations < 1 or self.batch_size < 1 or self.learning_rate <= 0:
            raise ValueError('iterations, batch_size and learning_rate must be positive')


@dataclass(frozen=True)
class Augmentation:
    """Image augmentation; every probability 0 switches it off.

    Attributes:
        mirror: Probability of mirroring image, projection and objects together.
        brightness: Largest additive shift as a fraction of full scale.
        contrast: Largest relative change of contrast.
        colour: Largest relative change of single channels.
        blur: Probability of a slight blur.
        grid_mask: Probability of GridMask, as released 0.7.
    """

    mirror: float = 0.5
    brightness: float = 0.12
    contrast: float = 0.25
    colour: float = 0.1
    blur: float = 0.15
    grid_mask: float = 0.0


@dataclass(frozen=True)
class Auxiliary:
    """Supervision that exists in training only (weights; 0 switches a part off).

    Attributes:
        image_heatmap: Centre heat-map on the image feature.
        image_regression: Offset and log-depth beside it.
        sight_depth: First hypothesis of the lift encoder's depths, where it has any.
        bev_heatmap: Centre heat-map on the BEV feature.
        bev_regression: Box beside it.
        denoising: Loss of noised ground-truth queries.
        denoising_groups: Number of noised copies.
        centre_noise: Largest shift of a noised centre, metres.
        label_noise: Share of flipped labels.
    """

    image_heatmap: float = 0.5
    image_regression: float = 0.5
    sight_depth: float = 1.0
    bev_heatmap: float = 1.0
    bev_regression: float = 0.5
    denoising: float = 1.0
    denoising_groups: int = 3
    centre_noise: float = 2.0
    label_noise: float = 0.2


@dataclass(frozen=True)
class Streaming:
    """How sequences are played and which instances live on (reference sections 4.3, 4.5).

    Attributes:
        clip_frames: Frames of one group; memories are empty at its start.
        drop_probability: A carried track is dropped with this probability.
        false_positive_ratio: Share of false positives carried beside the tracks.
        carry_iou: A match overlapping its object more than this lives on.
        carry_distance: So does a match within this distance of it, metres; 0 as released.
        track_noise: Half of the tracks enter the next frame displaced, standard deviation in
            metres; 0 as released. In a short clip a track's error and that of the image are the
            same, so a network would learn to trust the track; in a long drive they are not.
        track_range_noise: The same along the line of sight, as a share of the distance.
        decoder_losses: Whether decoder layers are supervised (as released: not in the
            cooperative stage).
        fusion_pairs: Which pairs are fused in training: ``rule`` (as released: nearest within
            3.5 m; the affinity is supervised all the same) or ``learnt`` (as at inference).
        association_alpha: -1 as released, 0.5 as the paper says.
        message_dropout: Probability that a message does not arrive.
        instance_dropout: Probability that one instance of a message does not arrive.
        position_noise: Standard deviation of the sender pose error, metres.
        yaw_noise: Likewise, radians.
        latency_frames: Largest age of a message, frames.

    Where the model has an official quirk switched on that says otherwise
    (``rule_pairs_in_training``, ``cooperative_decoder_unsupervised``,
    ``association_alpha_off``), the quirk wins.
    """

    clip_frames: int = 5
    drop_probability: float = 0.1
    false_positive_ratio: float = 0.3
    carry_iou: float = 0.5
    carry_distance: float = 0.0
    track_noise: float = 0.0
    track_range_noise: float = 0.0
    decoder_losses: bool = True
    fusion_pairs: Literal['rule', 'learnt'] = 'rule'
    association_alpha: float = -1.0
    message_dropout: float = 0.0
    instance_dropout: float = 0.0
    position_noise: float = 0.0
    yaw_noise: float = 0.0
    latency_frames: int = 0


@dataclass(frozen=True)
class StageRecipe:
    """Everything one stage needs to know.

    Attributes:
        optimisation: Schedule and optimiser.
        augmentation: Of images.
        auxiliary: Training-only supervision.
        streaming: Ignored by the detection stage.
        quality_distance: Class target of a match: exp(-d / quality_distance) with d the distance
            from its object, metres; 0 as released, where every match counts fully.
        frozen: Parts of the model that keep their weights (name prefixes).
        agents: Whose frames train the agent model.
        min_visible_pixels: An object with fewer visible pixels does not supervise a single
            agent (needs the simulator's side file, else the labels' occlusion decides).
        max_occlusion: Without a side file, objects occluded more than this (0 to 3) do not
            supervise a single agent.
        frames_per_scene: At most this many frames of a scene per epoch; 0 takes all.
    """

    optimisation: Optimisation
    augmentation: Augmentation = field(default_factory=Augmentation)
    auxiliary: Auxiliary = field(default_factory=Auxiliary)
    streaming: Streaming = field(default_factory=Streaming)
    quality_distance: float = 0.0
    frozen: tuple[str, ...] = ()
    agents: Literal['vehicle', 'roadside', 'both'] = 'both'
    min_visible_pixels: int = 20
    max_occlusion: int = 2
    frames_per_scene: int = 0


@dataclass(frozen=True)
class Recipe:
    """The training file: a model and its stages; a stage that is left out cannot be run.

    Attributes:
        model: Model configuration, a name below ``config/models`` without ``.yaml``.
        mixed_precision: ``auto`` uses bfloat16 where the machine computes it natively.
        channels_last: Memory layout of images and convolutions.
        detection: Single frames, no memory.
        tracking: Clips of one agent.
        cooperative: Clips of the vehicle with messages of frozen roadside agents.
        latency: Feature flow of the agent model, all else frozen.
        checkpoint_every: Iterations between checkpoints.
        validate_every: Iterations between validations; 0 validates at the end only.
    """

    model: str
    detection: StageRecipe | None = None
    tracking: StageRecipe | None = None
    cooperative: StageRecipe | None = None
    latency: StageRecipe | None = None
    mixed_precision: Literal['auto', 'off', 'on'] = 'auto'
    channels_last: bool = True
    checkpoint_every: int = 200
    validate_every: int = 0

    def stage(self, stage: Stage) -> StageRecipe:
        """Return the recipe of a stage.

        Raises:
            InputError: The file has no such stage.
        """
        recipe: StageRecipe = stage_of(self, stage)
        return recipe


def stage_of(recipe: Any, stage: Stage) -> Any:
    """Return the part of a recipe for a stage.

    Raises:
        InputError: The recipe has no such stage.
    """
    found = getattr(recipe, stage.value, None)
    if found is None:
        there = [s.value for s in Stage if getattr(recipe, s.value, None) is not None]
        raise InputError(
            f'this recipe has no stage {stage.value}',
            field=stage.value,
            remedy=f'choose one of {there}, or another --config',
        )
    return found


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe file strictly.

    Raises:
        InputError: The file is missing, or a key or value is wrong.
    """
    return from_mapping(Recipe, load_yaml(path), path=path)


@dataclass(frozen=True)
class Progress:
    """What a running training tells about itself.

    Attributes:
        iteration: Finished iterations.
        iterations: Planned iterations.
        losses: Named losses of the last iteration.
        metrics: Validation numbers, when just measured.
        text: A line about something else than an iteration.
    """

    iteration: int
    iterations: int
    losses: dict[str, float] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    text: str = ''


@dataclass(frozen=True)
class TrainingOptions:
    """One training run.

    Attributes:
        stage: Which stage.
        data: Dataset directories in the V2X-Seq layout, used together.
        config: Recipe file.
        out: Run directory; checkpoints, curves and the final weights go there.
        validation: Held-out dataset directories, never trained on.
        initial: Weights to start from (the previous stage's ``weights.safetensors``).
        backbone: Weights of the image backbone with torchvision's names, to start from.
        remote: Cooperative stage: weights of the agent model that sends; default ``initial``.
        without: Parts to train without, for ablations: of CoopTrack in the cooperative stage
            (``models/cooptrack/variants.py``), of CoBEVT in the map stages
            (``models/cobevt/variants.py``).
        operator: Map stages: fusion operator in place of the model's
            (``models/fusion/map_operators.py``).
        compression: Map stages: factor by which the channels of the map on the air shrink, in
            place of the model's.
        map_cache: Map stages with a frozen trunk: directory that keeps its maps for other runs.
        seed: Fixes data order, augmentation and initial weights.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        resume: Continue the run found in ``out``.
        iterations: Overrides the recipe's planned iterations.
        threads: CPU threads of each process; 0 leaves torch's choice, or with several
            processes shares the cores among them.
        processes: Processes that share every batch; on CPUs usually the number of cores.
        progress: Called after every iteration.
    """

    stage: Stage
    data: tuple[Path, ...]
    config: Path
    out: Path
    validation: tuple[Path, ...] = ()
    initial: Path | None = None
    backbone: Path | None = None
    remote: Path | None = None
    without: tuple[str, ...] = ()
    operator: FusionName | None = None
    compression: int | None = None
    map_cache: Path | None = None
    seed: int = 0
    device: str = 'cpu'
    resume: bool = False
    iterations: int | None = None
    threads: int = 0
    processes: int = 1
    progress: Callable[[Progress], None] | None = None
