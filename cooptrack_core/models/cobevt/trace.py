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

"""Intermediate results of CoBEVT under stage names, in the official layout.

To compare with the official model::

    from cooptrack_core.models.cobevt import load_official, official_inputs, record_stages

    model = load_official(state_dict)
    with torch.inference_mode(), record_stages(model) as trace:
        model(official_inputs.batch(inputs, intrinsic, extrinsic, transformation_matrix, [3]))
    trace.batches[0]['fused']  # (1, 128, 32, 32)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from cooptrack_core.models.cobevt.interface import MapOutputs
from cooptrack_core.models.cobevt.model import Cobevt


@dataclass
class MapTrace:
    """Recorded stages, one dictionary per call of the model.

    Attributes:
        batches: Stage name to tensor.
    """

    batches: list[dict[str, Tensor]] = field(default_factory=list)


def stages(outputs: MapOutputs, slots: int = 0) -> dict[str, Tensor]:
    """Stages of one call; parts the model lacks are absent.

    Args:
        outputs: What the model gave.
        slots: Agents per scene are filled up to so many, as the official model does.
    """
    result = {'sinbevt': outputs.features}
    if outputs.warped is not None and outputs.valid is not None:
        more = max(slots - outputs.warped.shape[1], 0)
        result['warped'] = F.pad(outputs.warped, (0, 0, 0, 0, 0, 0, 0, more))
        mask = F.pad(outputs.valid, (0, 0, 0, 0, 0, more))
        result['fuse_mask'] = mask.permute(0, 2, 3, 1)[:, :, :, None].float()
        result['fused'] = outputs.fused
    result['decoded'] = outputs.decoded
    for target, logits in outputs.logits.items():
        result[f'{target}_logits'] = logits[:, None]
    return result


@contextmanager
def record_stages(model: Cobevt) -> Iterator[MapTrace]:
    """Record the stages of every call of the model inside the ``with`` block.

    The model keeps no hook outside the block. Stages of A agents in B scenes of up to L slots (5
    with the official quirks): ``sinbevt`` (A, 128, 32, 32), after compression if there is any,
    ``warped`` (B, L, 128, 32, 32), ``fuse_mask`` (B, 32, 32, 1, L), ``fused`` (B, 128, 32, 32),
    ``decoded`` (B, 32, 256, 256), ``dynamic_logits`` (B, 1, 2, 256, 256), ``static_logits``
    (B, 1, 3, 256, 256).

    Args:
        model: The model; call it as ``model(inputs)``.
    """
    trace, config = MapTrace(), model.config
    slots = config.fusion.agents if config.fusion and config.quirks.mean_over_all_slots else 0

    def record(_module: nn.Module, _args: Any, outputs: MapOutputs) -> None:
        found = stages(outputs, slots)
        trace.batches.append({name: t.detach().clone() for name, t in found.items()})

    handle = model.register_forward_hook(record)
    try:
        yield trace
    finally:
        handle.remove()
