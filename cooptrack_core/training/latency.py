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

"""Latency stage: the feature flow learns how instances change, everything else stays.

Self-supervised as FFNet: the flow of an instance at one frame is compared with the same track at
a later frame of the same scene; places are compared with the labelled object. The agent model is
frozen, so its instances are computed once per scene.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cooptrack_core.models.checkpoint import save_weights
from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.interface import QuerySet
from cooptrack_core.models.cooptrack.latency import FeatureFlow
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.training.data import TrainingData
from cooptrack_core.training.messages import Sender
from cooptrack_core.training.options import StageRecipe
from cooptrack_core.training.sampling import batch_indices
from cooptrack_core.training.targets import GroundTruth

FLOW_PREFIX = 'flow.'
STEPS = 5  # frames ahead at most: half a second at 10 Hz
_FOUND_WITHIN = 2.0  # an instance follows the object within so many metres
VALIDATION_SAMPLES = 400


@dataclass(frozen=True)
class Sample:
    """Two frames of one agent, the second ``step`` frames after the first."""

    scene: int
    agent_id: str
    first: str
    second: str


@dataclass(frozen=True, eq=False)
class Change:
    """What became of instances after ``seconds``, in the agent frame of the first frame.

    Attributes:
        queries: Instances at the first frame.
        seconds: Time between the frames.
        same: (n,) row of the same track at the second frame, -1 for none.
        later: Instances at the second frame.
        moved: (n, 2) displacement of the labelled object, metres; NaN without one.
    """

    queries: QuerySet
    seconds: float
    same: Tensor
    later: QuerySet
    moved: Tensor


class LatencyStage:
    """Trains ``model.flow``; see the module."""

    def __init__(
        self,
        model: CoopTrack,
        data: TrainingData,
        validation: TrainingData | None,
        recipe: StageRecipe,
        *,
        seed: int,
        device: torch.device,
        precision: str,
        channels_last: bool,
    ) -> None:
        """Freeze everything else; arguments as in DetectionStage.

        Raises:
            ValueError: The model has no flow.
        """
        if model.flow is None:
            raise ValueError('the model has no feature flow')
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(FLOW_PREFIX))
        self.model, self.flow, self.recipe, self.seed = model, model.flow, recipe, seed
        self.modules: nn.Module = model
        self.period = 1
        self._sender = Sender(model, data, device, precision)
        self._samples = samples(data, recipe.agents)
        self._held_out = None
        if validation is not None:
            self._held_out = Sender(model, validation, device, precision)

    def losses(self, iteration: int) -> dict[str, Tensor]:
        """Losses of one batch of instants."""
        size = self.recipe.optimisation.batch_size
        parts: dict[str, list[Tensor]] = {}
        for i in batch_indices(len(self._samples), size, iteration, self.seed):
            change = observe(self._sender, self._samples[i])
            for name, values in errors(self.flow, change).items():
                parts.setdefault(name, []).append(values)
        return {
            name: (torch.cat(values) if values else torch.zeros(1)).sum()
            / max(sum(len(v) for v in values), 1)
            for name, values in parts.items()
        }

    def validate(self) -> dict[str, float]:
        """Error of places and change of features, as shares of those without the flow."""
        if self._held_out is None:
            return {}
        chosen = samples(self._held_out.data, self.recipe.agents)
        chosen = chosen[:: max(1, len(chosen) // VALIDATION_SAMPLES)]
        still = FeatureFlow(self.flow.dims, self.model.config.history, self.flow.config)
        totals: dict[str, list[float]] = {}
        with torch.no_grad():
            for sample in chosen:
                change = observe(self._held_out, sample)
                for prefix, flow in (('flow', self.flow), ('none', still)):
                    for name, values in errors(flow, change).items():
                        totals.setdefault(f'{prefix}_{name}', []).extend(values.tolist())
        return {
            f'latency/{name}': float(np.mean(totals[f'flow_{name}']))
            / max(float(np.mean(totals[f'none_{name}'])), 1e-9)
            for name in ('feats', 'motion', 'place')
            if totals.get(f'none_{name}')
        }

    def export(self, directory: Path) -> Path:
        """Write the agent model with its flow."""
        path = directory / 'weights.safetensors'
        save_weights(self.model, path, metadata={'stage': 'latency'})
        return path


def samples(data: TrainingData, which: str) -> list[Sample]:
    """All pairs of frames up to ``STEPS`` apart."""
    found = []
    for clip in data.clips(which, 1):
        scene = data.scenes[clip.scene]
        ids = scene.frame_ids(clip.agent_id)
        start = ids.index(clip.frames[0])
        for second in ids[start + 1 : start + 1 + STEPS]:
            found.append(Sample(clip.scene, clip.agent_id, clip.frames[0], second))
    return found


def observe(sender: Sender, sample: Sample) -> Change:
    """Instances of the first frame, and what became of them."""
    first = sender.message(sample.scene, sample.agent_id, sample.first)
    second = sender.message(sample.scene, sample.agent_id, sample.second)
    first_T_second = np.linalg.inv(first.world_T_agent) @ second.world_T_agent
    same = torch.full((len(first.live),), -1, dtype=torch.int64)
    rows = {int(i): row for row, i in enumerate(second.live.ids.tolist()) if i >= 0}
    for row, i in enumerate(first.live.ids.tolist()):
        same[row] = rows.get(int(i), -1)
    now, then = (
        sender.data.frame(sample.scene, sample.agent_id, f, image=False).truth
        for f in (sample.first, sample.second)
    )
    moved = displacements(first.live, now, then, first_T_second)
    seconds = (second.stamp_ns - first.stamp_ns) * 1e-9
    return Change(first.live, seconds, same, second.live, moved)


def displacements(
    live: QuerySet, now: GroundTruth, later: GroundTruth, first_T_second: NDArray[np.float64]
) -> Tensor:
    """(n, 2) how far the object of every instance moved, metres; NaN without an object."""
    moved = live.boxes.new_full((len(live), 2), float('nan'))
    if not len(now) or not len(later) or not len(live):
        return moved
    there = box_code.transform(later.codes, torch.from_numpy(first_T_second).to(later.codes))
    row_of = {int(i): row for row, i in enumerate(later.ids.tolist())}
    distance = torch.cdist(live.boxes[:, :2].to(now.codes), now.codes[:, :2])
    nearest = distance.min(1)
    for row, (gap, target) in enumerate(
        zip(nearest.values.tolist(), nearest.indices.tolist(), strict=True)
    ):
        goal = row_of.get(int(now.ids[target]))
        if gap < _FOUND_WITHIN and goal is not None:
            moved[row] = (there[goal, :2] - now.codes[target, :2]).to(moved)
    return moved


def errors(flow: FeatureFlow, change: Change) -> dict[str, Tensor]:
    """Per instance: what the flow misses of the change.

    Features: mean squared error per dimension. Places: smooth L1 of the metres missed.
    """
    if not len(change.queries):
        return {}
    rates = flow(change.queries)
    seconds = change.seconds
    rows = torch.nonzero(change.same >= 0)[:, 0]
    later = change.later.select(change.same[rows])
    out = {}
    for name, now, then, rate in (
        ('feats', change.queries.feats, later.feats, rates.feats),
        ('motion', change.queries.motion, later.motion, rates.motion),
    ):
        gap = then - now[rows] - rate[rows] * seconds
        out[name] = gap.square().mean(1)
    velocity = change.queries.boxes[:, 8:10] + rates.state[:, :2]
    step = velocity * seconds + rates.state[:, 2:] * (0.5 * seconds**2)
    known = ~change.moved.isnan().any(1)
    miss = step[known] - change.moved[known]
    out['place'] = nn.functional.smooth_l1_loss(
        miss, torch.zeros_like(miss), reduction='none', beta=0.3
    ).sum(1)
    return out
