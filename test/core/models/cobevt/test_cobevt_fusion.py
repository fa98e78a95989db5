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

"""Warp, mask and FuseBEVT: what agents' maps do to each other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import small_cobevt
import torch
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.geometry import MapGrid
from cooptrack_core.models.cobevt import CobevtQuirks
from cooptrack_core.models.cobevt.config import FuseBevtConfig
from cooptrack_core.models.cobevt.fusebevt import FuseBevt, relations
from cooptrack_core.models.cobevt.warp import covered, source_cells, warp

GRID = MapGrid(8, 8, 2.0)
RIGHT, OFFICIAL = CobevtQuirks(), CobevtQuirks.official()


def warped(maps, pose, quirks=RIGHT, grid=GRID):
    cells = source_cells(pose[None], grid, quirks)
    return warp(maps[None], cells, quirks)[0], covered(cells, quirks)[0]


def fuser(quirks=RIGHT, agents=3, **sizes):
    torch.manual_seed(0)
    config = FuseBevtConfig(
        depth=2, window=4, agents=agents, hidden=16, head_dims=8, dropout=0.0, **sizes
    )
    return FuseBevt(16, config, quirks).eval()


def everywhere(maps):
    return torch.ones(maps.shape[:2] + maps.shape[3:], dtype=torch.bool)


@pytest.mark.parametrize('quirks', [RIGHT, OFFICIAL])
def test_an_agent_ahead_fills_the_rows_ahead(quirks):
    maps = torch.rand(3, 8, 8)
    # Two cells ahead and one to the left: its cells go up and left.
    out, valid = warped(maps, small_cobevt.pose(4.0, 2.0, 0.0), quirks)
    torch.testing.assert_close(out[:, :6, :7], maps[:, 2:, 1:])
    if quirks is RIGHT:
        assert valid[:6, :7].all() and valid.sum() == 42


def test_a_turn_to_the_left_turns_the_map_to_the_left_about_its_middle():
    maps = torch.rand(3, 8, 8)
    out, valid = warped(maps, small_cobevt.pose(0.0, 0.0, np.pi / 2))
    torch.testing.assert_close(out, torch.rot90(maps, 1, (1, 2)), atol=1e-5, rtol=0)
    assert valid.all()
    # The official centre is half a cell off in both directions; here that makes one to the right.
    off, _ = warped(maps, small_cobevt.pose(0.0, 0.0, np.pi / 2), OFFICIAL)
    shifted = torch.rot90(maps, 1, (1, 2))[:, :, :-1]
    torch.testing.assert_close(off[:, :, 1:], shifted, atol=1e-5, rtol=0)


@given(st.floats(-9, 9), st.floats(-9, 9), st.floats(-3.2, 3.2))
def test_a_cell_shows_what_stands_at_its_place_in_the_agents_frame(x, y, yaw):
    ego_T_agent = small_cobevt.pose(x, y, yaw)
    # Each cell of the agent's map knows its own centre, a linear field that bilinear keeps.
    centers = torch.from_numpy(GRID.cell_centers()).float().permute(2, 0, 1)
    out, valid = warped(centers, ego_T_agent)
    ego_points = np.concatenate([GRID.cell_centers(), np.zeros((8, 8, 1)), np.ones((8, 8, 1))], -1)
    wanted = (ego_points @ np.linalg.inv(ego_T_agent.double().numpy()).T)[..., :2]
    # Valid cells lie on the map; within half a cell of its rim the nearest value stands.
    limit = 7.0
    expected = torch.from_numpy(wanted.clip(-limit, limit)).float().permute(2, 0, 1)
    torch.testing.assert_close(out[:, valid], expected[:, valid], atol=2e-4, rtol=0)
    inner = (np.abs(wanted) < 7.99).all(-1)
    outer = (np.abs(wanted) > 8.01).any(-1)
    assert valid.numpy()[inner].all()
    assert not valid.numpy()[outer].any()


def test_the_official_mask_lies_transposed_and_flipped():
    right = dataclasses.replace(OFFICIAL, mask_transposed=False)
    pose = small_cobevt.pose(5.0, 2.5, 0.4)[None]
    cells = source_cells(pose, GRID, OFFICIAL)
    needed, code = covered(cells, right)[0], covered(cells, OFFICIAL)[0]
    assert not torch.equal(needed, code)
    for row in range(8):
        for column in range(8):
            assert needed[row, column] == code[column, 7 - row]


def test_repaired_maps_do_not_fade_at_their_rim():
    ones = torch.ones(1, 8, 8)
    pose = small_cobevt.pose(0.9, 0.0, 0.0)  # not quite half a cell
    out, valid = warped(ones, pose)
    assert out.min() == 1.0 and valid.all()
    official, _ = warped(ones, pose, OFFICIAL)
    assert official.min() < 0.6


@pytest.mark.parametrize('agents', [1, 2, 3, 5])
def test_any_number_of_agents_can_be_fused(agents):
    maps = torch.randn(1, agents, 16, 8, 8)
    out = fuser()(maps, everywhere(maps))
    assert out.shape == (1, 16, 8, 8)
    assert out.isfinite().all()


def test_the_order_of_the_remote_agents_does_not_matter():
    maps = torch.randn(1, 4, 16, 8, 8)
    valid = torch.rand(1, 4, 8, 8) > 0.3
    valid[:, 0] = True
    fuse, order = fuser(), [0, 3, 1, 2]
    torch.testing.assert_close(fuse(maps[:, order], valid[:, order]), fuse(maps, valid))
    other = fuser(CobevtQuirks(agents_by_slot=True))
    for layer in other.layers:
        torch.nn.init.normal_(layer.local_attention.bias.weight)
    change = other(maps[:, order], valid[:, order]) - other(maps, valid)
    assert change.abs().max() > 1e-4


def test_what_stands_in_an_invalid_cell_has_no_influence():
    maps, valid = torch.randn(2, 3, 16, 8, 8), torch.rand(2, 3, 8, 8) > 0.4
    valid[:, 0] = True
    expected = fuser()(maps, valid)
    nonsense = maps.masked_fill(~valid[:, :, None], float('nan'))
    assert torch.equal(fuser()(nonsense, valid), expected)


def test_an_absent_agent_is_as_good_as_none():
    maps = torch.randn(1, 3, 16, 8, 8)
    valid = everywhere(maps)
    valid[:, 2] = False
    alone = fuser()(maps[:, :2], valid[:, :2])
    torch.testing.assert_close(fuser()(maps, valid), alone)


def test_cells_that_nobody_covers_see_only_the_last_layers():
    fuse, maps = fuser(), torch.randn(1, 2, 16, 8, 8)
    valid = everywhere(maps)
    valid[..., :4] = False
    out = fuse(maps, valid)
    empty = fuse.output(fuse.norm(torch.zeros(16)))
    torch.testing.assert_close(out[0, :, :, :4], empty[:, None, None].expand(16, 8, 4))


def test_the_official_mean_counts_empty_slots():
    fuse, maps = fuser(OFFICIAL, agents=4), torch.randn(1, 2, 16, 8, 8)
    valid = torch.rand(1, 2, 8, 8) > 0.3
    valid[:, 0] = True
    # Filled up by hand; the empty slots are masked as keys.
    filled = torch.cat([maps, torch.zeros(1, 2, 16, 8, 8)], 1)
    mask = torch.cat([valid, torch.zeros(1, 2, 8, 8, dtype=torch.bool)], 1)
    torch.testing.assert_close(fuse(maps, valid), fuse(filled, mask))
    repaired = fuser(agents=4)(maps, valid)
    assert (fuse(maps, valid) - repaired).norm() > 0.05 * repaired.norm()


def test_relations_stay_within_the_table():
    by_slot = relations(4, 4, known=3, by_slot=True)
    assert by_slot[0] == (0, -1, -2, -2) and by_slot[3] == (2, 2, 1, 0)
    assert relations(4, 4, known=5, by_slot=False) == (
        (0, -1, -1, -1),
        (1, 0, 2, 2),
        (1, 2, 0, 2),
        (1, 2, 2, 0),
    )
    # With two agents there is no difference.
    assert relations(2, 2, 5, by_slot=True) == relations(2, 2, 5, by_slot=False)


@pytest.mark.parametrize('left', [{'local_attention': False}, {'global_attention': False}])
def test_either_attention_can_be_left_out(left):
    maps = torch.randn(1, 2, 16, 8, 8)
    fuse = fuser(**left)
    assert fuse(maps, everywhere(maps)).isfinite().all()
    full = sum(p.numel() for p in fuser().parameters())
    # Attention and MLP of each of the two layers are gone, the last layers stay.
    rest = sum(p.numel() for p in (*fuse.norm.parameters(), *fuse.output.parameters()))
    assert sum(p.numel() for p in fuse.parameters()) - rest == (full - rest) // 2


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match='do not fit'):
        fuser()(torch.zeros(1, 2, 16, 8, 8), torch.ones(1, 3, 8, 8, dtype=torch.bool))
