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

"""Intermediate results of the model under the stage names of the official code.

To compare with the official model, run frame by frame and read the stages::

    from cooptrack_core.models.checkpoint import load_official
    from cooptrack_core.models.cooptrack import official_inputs
    from cooptrack_core.models.trace import record_stages

    model = load_official(state_dict, 'cooperative')
    memory = None
    with torch.inference_mode(), record_stages(model) as trace:
        for ...:
            frame = official_inputs.frame(
                img, lidar2img, can_bus, l2g_r_mat, l2g_t, timestamp, scene_token
            )
            remote = official_inputs.remote(message, veh2inf_rt)  # cooperative only
            outputs, memory = model(frame, memory, [remote])
    trace.frames[2]['agg.query']  # (900, 256)

``img`` is the network input (1, 1, 3, 544, 960), ``can_bus`` the absolute vector before
differencing. With ``torch.randperm`` replaced by ``torch.arange`` the choice of empty queries is
that of the printed numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from cooptrack_core.models.cooptrack.interface import FrameOutputs
from cooptrack_core.models.cooptrack.model import CoopTrack


@dataclass
class StageTrace:
    """Recorded stages, one dictionary per frame in the order of the calls.

    Attributes:
        frames: Stage name to tensor, in the official layout and row order.
    """

    frames: list[dict[str, Tensor]] = field(default_factory=list)


def stages(outputs: FrameOutputs, cooperative: bool) -> dict[str, Tensor]:
    """Stages of one frame by official name; parts the model lacks are absent.

    ``gba.veh_idx`` and ``gba.inf_idx`` are the matched pairs in row order. With several remote
    agents the ``caa`` and ``gba`` stages are those of the first one.
    """
    decoder = outputs.decoder
    result = {
        'backbone': outputs.dense.backbone,
        'neck': outputs.dense.image,
        'bev': outputs.dense.bev,
        'dec.query_feats[-1]': decoder.feats[-1],
        'dec.cls[-1]': decoder.logits[-1],
        'dec.box[-1]': decoder.boxes[-1],
        'dec.last_ref': decoder.last_refs,
    }
    if outputs.mdfe_motion is not None:
        result['mdfe.motion'] = outputs.mdfe_motion
    for remote in outputs.remotes[:1]:
        result['caa.query_feats'] = remote.feats
        result['caa.query_embeds'] = remote.embeds
        result['caa.cache_motion_feats'] = remote.motion
        result['caa.ref_pts'] = remote.refs
        result['caa.pred_boxes'] = remote.boxes
    if outputs.reasoned_feats is not None and outputs.reasoned_motion is not None:
        result['hist.query'] = outputs.reasoned_feats
        result['hist.motion'] = outputs.reasoned_motion
    for remote in outputs.remotes[:1]:
        if remote.affinity is not None:
            result['gba.attn'] = remote.affinity
        result['gba.veh_idx'] = remote.ego_rows
        result['gba.inf_idx'] = remote.remote_rows
    if cooperative:
        result['agg.query'] = outputs.fused_feats
        result['agg.motion'] = outputs.fused_motion
        result['agg.ref'] = outputs.fused_refs
    result['ref.logits'] = outputs.queries.logits
    result['ref.boxes'] = outputs.queries.boxes
    live = outputs.select_live()
    result['live.ref_pts'] = live.refs
    result['live.obj_idxes'] = live.ids
    return result


@contextmanager
def record_stages(model: CoopTrack) -> Iterator[StageTrace]:
    """Record the stages of every frame the model processes inside the ``with`` block.

    The model keeps no hook outside the block. Stage tensors: ``backbone`` (1, K, 2048, 17, 30),
    ``neck`` (1, K, 256, 17, 30), ``bev`` (1, 2500, 256), ``dec.*`` (1, 900, .) of the last
    decoder layer, ``mdfe.motion`` (900, 256), ``caa.*`` (m, .), ``hist.*`` (900, 256),
    ``gba.attn`` (900, m) logits, ``gba.veh_idx`` and ``gba.inf_idx`` (pairs,), ``agg.*`` and
    ``ref.*`` (900, .) after fusion, ``live.*`` of the survivors.

    Args:
        model: The model; call it as ``model(frame, memory, remotes)``.
    """
    trace, cooperative = StageTrace(), model.cooperation is not None

    def record(_module: nn.Module, _args: Any, result: Any) -> None:
        outputs: FrameOutputs = result[0]
        trace.frames.append(
            {name: t.detach().clone() for name, t in stages(outputs, cooperative).items()}
        )

    handle = model.register_forward_hook(record)
    try:
        yield trace
    finally:
        handle.remove()
