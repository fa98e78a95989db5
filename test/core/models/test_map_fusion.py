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

"""Operators that fuse maps: masked cells and absent agents have no say, the order has none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cooptrack_core.geometry import SE3, MapGrid
from cooptrack_core.geometry.bev_warp import warp_to_ego
from cooptrack_core.models.fusion.map_att_fuse import AttFuse
from cooptrack_core.models.fusion.map_cav_attention import CavAttention
from cooptrack_core.models.fusion.map_disconet import DiscoNet
from cooptrack_core.models.fusion.map_max import FCooper
from cooptrack_core.models.fusion.map_nearest import NearestAgent
from cooptrack_core.models.fusion.map_no_fusion import NoFusion
from cooptrack_core.models.fusion.map_operators import build_operator
from cooptrack_core.models.fusion.map_v2vnet import V2VNet

C = 4
GRID = MapGrid(6, 5, 2.0)
NAMES = ('no_fusion', 'map_fusion', 'f_cooper', 'self_attention', 'att_fuse', 'v2vnet', 'disconet')
LEARNED = ('att_fuse', 'v2vnet', 'disconet')


def operator(name: str) -> nn.Module:
    torch.manual_seed(1)
    if name == 'map_fusion':
        return NearestAgent(GRID)
    made = build_operator(name, C).eval()
    for module in made.modules():  # statistics as after training
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return made


def scene(seed: int, batch: int = 2, agents: int = 4):
    random = torch.Generator().manual_seed(seed)
    maps = torch.randn(batch, agents, C, GRID.rows, GRID.columns, generator=random)
    valid = torch.rand(batch, agents, GRID.rows, GRID.columns, generator=random) > 0.4
    valid[:, 0] = True
    valid[0, agents - 1] = False  # an agent that is not there
    yaws, places = torch.rand(agents, generator=random), torch.rand(agents, 3, generator=random)
    poses = [
        SE3.from_yaw(float(a), (p * 12 - 6).tolist())
        for a, p in zip(yaws[1:], places[1:], strict=True)
    ]
    matrices = np.stack([np.eye(4), *[np.array(p.matrix) for p in poses]])
    return maps, valid, torch.from_numpy(matrices).expand(batch, -1, -1, -1)


@pytest.mark.parametrize('name', NAMES)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), garbage=st.sampled_from([1e3, -1e30, math.inf, math.nan]))
def test_what_stands_in_masked_cells_changes_nothing(name, seed, garbage):
    fuse = operator(name)
    maps, valid, poses = scene(seed)
    expected = fuse(maps, valid, poses)
    spoilt = torch.where(valid[:, :, None], maps, torch.tensor(garbage))
    wrong = poses.clone()
    wrong[0, -1] = garbage
    torch.testing.assert_close(fuse(spoilt, valid, wrong), expected, atol=0, rtol=0)
    assert expected.isfinite().all() and expected.shape == (2, C, 6, 5)


@pytest.mark.parametrize('name', NAMES)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_absent_agents_can_as_well_be_left_out(name, seed):
    fuse = operator(name)
    maps, valid, poses = scene(seed)
    valid[:, -1] = False
    with_slot = fuse(maps, valid, poses)
    without = fuse(maps[:, :-1], valid[:, :-1], poses[:, :-1])
    torch.testing.assert_close(with_slot, without, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize('name', NAMES)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), order=st.permutations([1, 2, 3]))
def test_the_order_of_the_other_agents_does_not_matter(name, seed, order):
    fuse = operator(name)
    maps, valid, poses = scene(seed)
    mixed = [0, *order]
    torch.testing.assert_close(
        fuse(maps[:, mixed], valid[:, mixed], poses[:, mixed]),
        fuse(maps, valid, poses),
        atol=1e-6,
        rtol=1e-5,
    )


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('agents', [1, 2, 7])
def test_gradients_are_finite_for_any_number_of_agents_and_zero_where_masked(name, agents):
    fuse = operator(name).train()
    maps, valid, poses = scene(3, agents=agents)
    valid[:, 0] = True
    valid[:, :, 0, 0] = False  # a cell that nobody sees, not even the ego
    maps = torch.where(valid[:, :, None], maps, torch.nan).requires_grad_()
    fused = fuse(maps, valid, poses)
    fused.square().sum().backward()
    assert maps.grad.isfinite().all()
    assert not maps.grad.masked_select(~valid[:, :, None]).any()
    for parameter in fuse.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()


@pytest.mark.parametrize('name', [n for n in NAMES if n != 'no_fusion'])
def test_other_agents_do_have_a_say_in_their_own_cells(name):
    fuse = operator(name)
    maps, valid, poses = scene(5)
    changed = maps.clone()
    changed[:, 1] += 3.0
    assert not torch.equal(fuse(changed, valid, poses), fuse(maps, valid, poses))


@pytest.mark.parametrize('name', ['map_fusion', 'f_cooper', 'self_attention', 'no_fusion'])
def test_an_ego_alone_keeps_its_map(name):
    maps, valid, poses = scene(0, agents=1)
    valid[:] = True
    torch.testing.assert_close(operator(name)(maps, valid, poses), maps[:, 0])


def test_parameter_counts_are_the_published_ones():
    def count(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    assert count(V2VNet(256)) == 6_554_880
    assert count(V2VNet(128)) == 1_639_040
    assert count(CavAttention(128)) == 395_264
    assert count(DiscoNet(128)) == 54_145
    assert count(DiscoNet(256, linear=False)) == 70_401
    assert count(DiscoNet(64, linear=False)) == 21_249
    assert count(NoFusion()) == count(FCooper()) == count(AttFuse()) == 0


def test_map_fusion_takes_the_nearest_agent_whose_map_covers_the_cell():
    fuse = NearestAgent(GRID)
    centers = GRID.cell_centers()  # x 5 to -5, y 4 to -4
    poses = torch.eye(4).repeat(1, 3, 1, 1)
    poses[0, 1, :2, 3] = torch.tensor([5.0, 0.0])
    poses[0, 2, :2, 3] = torch.tensor([-5.0, 0.0])
    valid = torch.ones(1, 3, 6, 5).bool()
    valid[0, 2, :, 0] = False
    maps = torch.arange(3.0).view(1, 3, 1, 1, 1).expand(1, 3, C, 6, 5)
    found = fuse(maps, valid, poses)[0, 0].numpy()
    for row in range(6):
        for column in range(5):
            agents = [(0.0, 0), (5.0, 1), (-5.0, 2)][: 2 if column == 0 else 3]
            x, y = centers[row, column]
            assert found[row, column] == min(agents, key=lambda a: math.hypot(x - a[0], y))[1]
    torch.testing.assert_close(fuse.source(valid, poses)[0].numpy(), found.astype(np.int64))
    assert (fuse.source(valid & False, poses) == -1).all()
    # Two agents at one place: the first slot counts.
    assert not fuse(maps, torch.ones(1, 3, 6, 5).bool(), torch.eye(4).repeat(1, 3, 1, 1)).any()


def test_attention_over_one_cell_is_what_the_formula_says():
    maps, valid, _ = scene(2, batch=1)
    valid[:] = True
    x = maps[0, :, :, 2, 3].numpy().astype(np.float64)  # (L, C)
    logits = x @ x.T / math.sqrt(C)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    found = AttFuse()(maps, valid)[0, :, 2, 3]
    np.testing.assert_allclose(found.numpy(), (weights @ x)[0], rtol=1e-5, atol=1e-6)


def dense_v2vnet(net: V2VNet, maps: torch.Tensor) -> torch.Tensor:
    """The reference's equations with plain convolutions of joined maps, all cells valid."""
    h = list(maps.unbind(1))
    for _ in range(net.rounds):
        new = []
        for own in h:
            messages = [net.message(torch.cat([other, own], 1)) for other in h]
            mean = torch.stack(messages).mean(0)
            x = torch.cat([own, mean, torch.zeros_like(own)], 1)
            update = net.gates(x).sigmoid()[:, own.shape[1] :]
            new.append(update * net.candidate(x).tanh())
        h = new
    return net.out(h[0].movedim(1, -1)).movedim(-1, 1)


def test_v2vnet_is_the_reference_with_every_cell_valid():
    maps, valid, _ = scene(8)
    net = operator('v2vnet')
    torch.testing.assert_close(
        net(maps, valid | True), dense_v2vnet(net, maps), atol=1e-6, rtol=1e-5
    )


def dense_disconet(net: DiscoNet, maps: torch.Tensor) -> torch.Tensor:
    """The reference's equations, all cells valid."""
    h = maps.movedim(2, -1)  # (B, L, H, W, C)
    for _ in range(net.rounds):
        new = []
        for own in h.unbind(1):
            pairs = torch.cat([h, own[:, None].expand_as(h)], -1)
            weights = net.weight(pairs.flatten(0, -2)).view(*h.shape[:-1], 1).softmax(1)
            new.append((weights * h).sum(1))
        h = torch.stack(new, 1)
    return net.out(h[:, 0]).movedim(-1, 1)


@pytest.mark.parametrize('rounds', [1, 3])
def test_disconet_is_the_reference_with_every_cell_valid(rounds):
    maps, valid, _ = scene(9)
    net = operator('disconet')
    net.rounds = rounds
    torch.testing.assert_close(
        net(maps, valid | True), dense_disconet(net, maps), atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize('name', ['v2vnet', 'disconet'])
def test_rounds_in_own_frames_are_the_aligned_ones_for_agents_at_one_place(name):
    maps, _, _ = scene(4)
    poses = torch.eye(4, dtype=torch.float64).expand(2, 4, 4, 4)
    present = torch.tensor([[True, True, True, False], [True, False, True, True]])
    net = operator(name)
    valid = present[:, :, None, None].expand(2, 4, 6, 5)
    torch.testing.assert_close(
        net.in_own_frames(maps, present, poses, GRID), net(maps, valid), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize('name', ['v2vnet', 'disconet'])
def test_rounds_in_own_frames_ignore_absent_agents_and_are_finite(name):
    maps, _, poses = scene(6)
    present = torch.tensor([[True, True, False, True], [True, False, False, True]])
    net = operator(name)
    expected = net.in_own_frames(maps, present, poses, GRID)
    spoilt, wrong = maps.clone(), poses.clone()
    spoilt[~present], wrong[~present] = torch.nan, torch.nan
    found = net.in_own_frames(spoilt.requires_grad_(), present, wrong, GRID)
    torch.testing.assert_close(found, expected, atol=0, rtol=0)
    found.sum().backward()
    assert spoilt.grad.isfinite().all()


def test_one_round_of_disconet_is_the_same_in_own_frames_and_aligned():
    """Only the ego's map is made then, of the same warped maps."""
    maps, _, poses = scene(7)
    present = torch.ones(2, 4).bool()
    net = operator('disconet')
    net.rounds = 1
    warped, valid = warp_to_ego(maps, present, poses, GRID)
    torch.testing.assert_close(
        net.in_own_frames(maps, present, poses, GRID), net(warped, valid), atol=1e-5, rtol=1e-5
    )


def test_what_does_not_fit_is_refused():
    maps, valid, poses = scene(0)
    for name in NAMES:
        with pytest.raises(ValueError, match='fit'):
            operator(name)(maps, valid[:, :, :-1], poses)
    with pytest.raises(ValueError, match='boolean'):
        FCooper()(maps, valid.float())
    with pytest.raises(ValueError, match='needs ego_T_agent'):
        NearestAgent(GRID)(maps, valid)
    with pytest.raises(ValueError, match='no fusion operator'):
        build_operator('concat', C)
