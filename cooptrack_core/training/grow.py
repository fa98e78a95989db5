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

"""Weights of a smaller model as the start of a larger one.

A larger BEV map: sampling and convolutions are the same everywhere on the map; only the learnt
cell embeddings and the learnt queries belong to places. The embeddings of the edge are repeated
outwards, and queries are added where the old map had none.

A deeper backbone, depths read off the images: what is added begins without influence.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from cooptrack_core.geometry import BevGrid
from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.config import ModelConfig
from cooptrack_core.models.cooptrack.queries import start_references

_CELLS = 'bev_encoder.cells'
_REFS, _FEATS = 'learnt.refs.weight', 'learnt.feats.weight'


def can_grow(found: ModelConfig, wanted: ModelConfig) -> bool:
    """Whether two lift models differ in nothing but a larger map and more queries."""
    if found.bev.encoder != 'lift' or wanted.bev.encoder != 'lift':
        return False
    same_map = dataclasses.replace(found.bev, grid=wanted.bev.grid) == wanted.bev
    start = {name: getattr(wanted.decoder, name) for name in _START}
    same_decoder = dataclasses.replace(found.decoder, **start) == wanted.decoder
    inside = min(_margins(found.bev.grid, wanted.bev.grid), default=-1) >= 0
    return same_map and same_decoder and inside and wanted.decoder.queries >= found.decoder.queries


_START = ('queries', 'start_area', 'start_wedge')


def grow(state: dict[str, Tensor], found: ModelConfig, wanted: ModelConfig) -> dict[str, Tensor]:
    """State dict for the larger map.

    Args:
        state: Of a model of ``found``.
        found: Its configuration.
        wanted: The larger one; ``can_grow`` says that it fits.
    """
    grid = found.bev.grid
    cells = state[_CELLS].view(1, grid.rows, grid.columns, -1).permute(0, 3, 1, 2)
    left, right, low, high = _margins(grid, wanted.bev.grid)
    cells = F.pad(cells, (left, right, low, high), mode='replicate')
    more = wanted.decoder.queries - found.decoder.queries
    refs = _new_places(state[_REFS], more, wanted)
    # A new query starts with the content of the one that was nearest.
    nearest = torch.cdist(refs, state[_REFS]).argmin(1) if more else torch.zeros(0).long()
    return state | {
        _CELLS: cells[0].permute(1, 2, 0).flatten(0, 1),
        _REFS: torch.cat([state[_REFS], refs]),
        _FEATS: torch.cat([state[_FEATS], state[_FEATS][nearest]]),
    }


def with_additions(found: ModelConfig, wanted: ModelConfig) -> ModelConfig:
    """``found`` with those parts of ``wanted`` that can be added to it without any influence."""
    backbone, bev = found.backbone, found.bev
    deeper = dataclasses.replace(backbone, blocks=wanted.backbone.blocks)
    grows = all(n >= o for n, o in zip(deeper.blocks, backbone.blocks, strict=True))
    if backbone.kind == 'residual' and deeper == wanted.backbone and grows:
        backbone = deeper
    if not bev.depth_hypotheses:  # nor does LiftEncoder.agree say anything at first
        bev = dataclasses.replace(bev, depth_hypotheses=wanted.bev.depth_hypotheses)
    return dataclasses.replace(found, backbone=backbone, bev=bev)


def silence_additions(own: dict[str, Tensor], earlier: dict[str, Tensor]) -> None:
    """Let residual blocks that ``earlier`` does not have pass on what they get.

    Args:
        own: State dict of the new model; its new blocks are changed in place.
        earlier: That of the model whose weights it takes.
    """
    for name in own.keys() - earlier.keys():
        if name.startswith('backbone.') and name.endswith('.bn2.weight'):
            own[name] = torch.zeros_like(own[name])


def _margins(small: BevGrid, large: BevGrid) -> tuple[int, ...]:
    """Cells to add at low x, high x, low y, high y; empty when the cells do not coincide."""
    dx, dy = small.cell_size
    if (dx, dy) != large.cell_size:
        return ()
    gaps = (
        (small.x_min - large.x_min) / dx, (large.x_max - small.x_max) / dx,
        (small.y_min - large.y_min) / dy, (large.y_max - small.y_max) / dy,
    )  # fmt: skip
    return tuple(round(g) for g in gaps) if all(g == round(g) for g in gaps) else ()


def _new_places(refs: Tensor, count: int, wanted: ModelConfig) -> Tensor:
    """(count, 3) of the places a new model would start with, each as far off as possible."""
    every = start_references(wanted.decoder, wanted.range)
    if every is None or not count:
        return torch.rand(count, 3)
    places = box_code.denormalise(every, wanted.range)
    known = box_code.denormalise(refs, wanted.range)
    chosen: list[int] = []
    distance = torch.cdist(places, known).min(1).values
    for _ in range(count):
        best = int(distance.argmax())
        chosen.append(best)
        distance = torch.minimum(distance, (places - places[best]).norm(dim=1))
    return every[chosen]
