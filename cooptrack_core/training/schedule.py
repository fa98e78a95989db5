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

"""Optimiser and learning rate (reference section 4.2)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from cooptrack_core.training.options import Optimisation


def learning_rate_factor(iteration: int, plan: Optimisation) -> float:
    """Fraction of the peak at an iteration: linear warm-up, then cosine to the end of the plan."""
    progress = min(iteration / max(plan.iterations, 1), 1.0)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    factor = plan.final_fraction + (1 - plan.final_fraction) * cosine
    if iteration < plan.warmup_iterations:
        ramp = iteration / plan.warmup_iterations
        factor *= plan.warmup_from + (1 - plan.warmup_from) * ramp
    return factor


def build_optimiser(
    parameters: Iterable[tuple[str, nn.Parameter]], plan: Optimisation
) -> torch.optim.AdamW:
    """AdamW with groups: backbone at its own rate; norms, biases and embeddings not decayed.

    Args:
        parameters: Named trainable parameters; a name with ``backbone`` in it is the backbone.
        plan: The recipe.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in parameters:
        decayed = plan.decay_all or (parameter.ndim > 1 and 'embed' not in name)
        groups.setdefault(('backbone' in name, decayed), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                'params': members,
                'weight_decay': plan.weight_decay if decayed else 0.0,
                'lr': plan.learning_rate * (plan.backbone_scale if backbone else 1.0),
                'peak': plan.learning_rate * (plan.backbone_scale if backbone else 1.0),
            }
            for (backbone, decayed), members in sorted(groups.items())
        ],
        betas=(0.9, 0.999),
    )


def set_learning_rate(
    optimiser: torch.optim.Optimizer, iteration: int, plan: Optimisation
) -> None:
    """Set the learning rate of every group for an iteration."""
    factor = learning_rate_factor(iteration, plan)
    for group in optimiser.param_groups:
        group['lr'] = group['peak'] * factor
