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

"""The official streaming training step on the deterministic filler, with ours in its place."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from cooptrack_core.models.attention.multihead import MultiheadAttention
from cooptrack_core.models.checkpoint import load_official, official_name, to_official_state_dict
from cooptrack_core.models.cooptrack import official_inputs
from cooptrack_core.models.cooptrack.config import r50
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.training.options import Streaming
from cooptrack_core.training.streaming import TrainingMemory, agent_step, cooperative_step
from cooptrack_core.training.targets import GroundTruth

sys.path.insert(0, str(Path(__file__).parents[1] / 'models'))
import filler

# What the official model leaves unsupervised or unweighted follows from its quirks, not from here.
PLAN = Streaming(drop_probability=0.0, false_positive_ratio=0.0, association_alpha=0.5)


@dataclass(frozen=True)
class Step:
    """What one official frame printed."""

    losses: dict[str, float]
    total: float
    gradients: dict[str, float]
    carried: list[int]


def published_truth(frame: int) -> GroundTruth:
    """Six boxes of the golden README; frame 1 lacks the first one."""
    u = torch.from_numpy(filler.uniform('gt', (6, 4))).double()
    velocity = torch.stack([2 * u[:, 2] - 1, 1 - 2 * u[:, 0]], 1)
    rows = torch.stack(
        [
            -40 + 80 * u[:, 0],
            -40 + 80 * u[:, 1],
            -1.8 + 0.3 * u[:, 2],
            torch.full((6,), 1.9, dtype=torch.float64),
            torch.full((6,), 4.4, dtype=torch.float64),
            torch.full((6,), 1.6, dtype=torch.float64),
            -torch.pi + 2 * torch.pi * u[:, 3],
            velocity[:, 0],
            velocity[:, 1],
        ],
        1,
    )
    rows[:, :2] += 0.1 * frame * velocity
    truth = truth_of(rows.tolist(), [0, 0, 1, 2, 0, 0], [11, 12, 13, 14, 15, 16])
    return truth.select(torch.arange(1, 6)) if frame == 1 else truth


def truth_of(rows: list[list[float]], labels: list[int], ids: list[int]) -> GroundTruth:
    """Rows of x, y, bottom z, w, l, h, psi, vx, vy."""
    t = torch.tensor(rows, dtype=torch.float64).reshape(-1, 9)
    x, y, z, w, length, h, psi, vx, vy = t.unbind(1)
    codes = [x, y, w.log(), length.log(), z, h.log(), psi.sin(), psi.cos(), vx, vy]
    return GroundTruth(torch.stack(codes, 1).float(), torch.tensor(labels), torch.tensor(ids))


def filled_model(role: Literal['vehicle', 'cooperative']) -> CoopTrack:
    """The official model on the filler, in training mode with every dropout 0."""
    state = filler.fill(to_official_state_dict(CoopTrack(r50(role))))
    if role == 'vehicle':  # the lowered class bias of appendix A is the cooperative model's
        state['STReasoner.track_cls.6.bias'] += 0.9
    model = load_official(state, role).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, MultiheadAttention):
            module.attention_dropout = 0.0
    for parameter in model.backbone.parameters():
        parameter.requires_grad_(False)
    return model


def play(
    model: CoopTrack,
    role: Literal['vehicle', 'cooperative'],
    truths: list[GroundTruth],
    message_boxes: Tensor | None = None,
) -> list[Step]:
    """Run the frames with one backward each and no optimiser step."""
    names = {official_name(n): p for n, p in model.named_parameters()}
    memory: TrainingMemory | None = None
    steps = []
    for i, truth in enumerate(truths):
        frame = official_inputs.frame(filler.image(i), filler.lidar2img(), **filler.pose(i))
        if role == 'vehicle':
            losses, memory, _ = agent_step(model, frame, memory, truth, PLAN)
        else:
            message = filler.message(i)
            if i == 0 and message_boxes is not None:
                message['pred_boxes'] = message_boxes
            remote = official_inputs.remote(message, filler.veh2inf_rt())
            losses, memory, _ = cooperative_step(model, frame, memory, [remote], truth, PLAN)
        model.zero_grad()
        total = losses.total()
        total.backward()
        values = {n: s.mean().item() for n, s in losses.shares.items()}
        values |= {n: v.item() for n, v in losses.scalars.items()}
        gradients = {n: 0.0 if p.grad is None else p.grad.norm().item() for n, p in names.items()}
        ids = memory.model.live.ids.tolist()
        steps.append(Step(values, total.item(), gradients, ids))
    return steps
