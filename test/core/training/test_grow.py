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

from __future__ import annotations

import dataclasses

import torch
from small_models import small_config

from cooptrack_core.geometry import BevGrid
from cooptrack_core.models.cooptrack.config import ModelConfig
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.training.grow import can_grow, grow, silence_additions, with_additions


def on(grid: BevGrid, queries: int) -> ModelConfig:
    base = small_config(False)
    return dataclasses.replace(
        base,
        bev=dataclasses.replace(base.bev, grid=grid),
        decoder=dataclasses.replace(base.decoder, queries=queries),
    )


SMALL = on(BevGrid(0.0, -8.0, 16.0, 8.0, columns=4, rows=4), 10)
LARGE = on(BevGrid(0.0, -16.0, 20.0, 12.0, columns=5, rows=7), 14)


def test_a_larger_map_keeps_what_was_learnt_at_its_place_and_repeats_the_edge():
    torch.manual_seed(0)
    old = CoopTrack(SMALL)
    assert can_grow(SMALL, LARGE)
    state = grow(old.state_dict(), SMALL, LARGE)
    new = CoopTrack(LARGE)
    new.load_state_dict(state)
    before = old.bev_encoder.cells.view(4, 4, -1)
    after = new.bev_encoder.cells.view(7, 5, -1)
    assert torch.equal(after[2:6, :4], before), 'rows from -8 m to 8 m, columns from 0 m to 16 m'
    assert torch.equal(after[0, :4], before[0]) and torch.equal(after[6, :4], before[3])
    assert torch.equal(after[2:6, 4], before[:, 3])
    assert torch.equal(new.learnt.refs.weight[:10], old.learnt.refs.weight)
    apart = torch.cdist(new.learnt.refs.weight[10:], old.learnt.refs.weight).min(1).values
    assert (apart > 0).all() and len(apart) == 4
    assert torch.equal(new.learnt.feats.weight[:10], old.learnt.feats.weight)


def test_only_a_larger_map_of_the_same_cells_can_grow():
    assert not can_grow(LARGE, SMALL)
    assert not can_grow(SMALL, on(BevGrid(0.0, -9.0, 16.0, 7.0, columns=4, rows=4), 10))
    assert not can_grow(SMALL, on(BevGrid(0.0, -8.0, 16.0, 8.0, columns=8, rows=8), 10))
    assert not can_grow(SMALL, on(BevGrid(0.0, -9.0, 16.0, 11.0, columns=4, rows=5), 10))
    wider = dataclasses.replace(LARGE, bev=dataclasses.replace(LARGE.bev, blocks=3))
    assert not can_grow(SMALL, wider)


def deeper(config: ModelConfig, blocks: tuple[int, int, int, int], depths: int) -> ModelConfig:
    return dataclasses.replace(
        config,
        backbone=dataclasses.replace(config.backbone, blocks=blocks),
        bev=dataclasses.replace(config.bev, depth_hypotheses=depths),
    )


def test_more_blocks_and_depths_begin_without_influence():
    shallow, deep = deeper(SMALL, (1, 1, 2, 1), 0), deeper(SMALL, (1, 2, 3, 1), 3)
    assert with_additions(shallow, deep) == deep
    torch.manual_seed(0)
    old, new = CoopTrack(shallow).eval(), CoopTrack(deep).eval()
    state = new.state_dict()
    silence_additions(state, old.state_dict())
    new.load_state_dict(state | old.state_dict())
    images = torch.randn(1, 1, 3, 64, 96)
    look = torch.tensor([[48.0, -100, 0, 0], [20.0, 0, -100, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    with torch.no_grad():
        before, after = (m.perceive(images, look[None, None]).bev for m in (old, new))
    assert torch.equal(before, after)


def test_nothing_is_taken_away_from_a_model():
    deep, shallow = deeper(SMALL, (1, 2, 2, 2), 3), deeper(SMALL, (1, 2, 2, 1), 0)
    assert with_additions(deep, shallow) == deep
    wide = dataclasses.replace(
        SMALL, backbone=dataclasses.replace(SMALL.backbone, widths=(16, 32, 64, 160))
    )
    assert with_additions(SMALL, wide) == SMALL
