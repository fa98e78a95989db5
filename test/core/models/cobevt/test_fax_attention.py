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

"""The attentions of FAX, against the definitions written out."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.models.attention.dot_product import attend
from cooptrack_core.models.attention.fax_cross import FaxCrossAttention, fit
from cooptrack_core.models.attention.fax_self import GroupAttention, MapSelfAttention
from cooptrack_core.models.attention.relative_bias import RelativeBias, pair_index
from cooptrack_core.models.attention.windows import merge, partition


@given(
    st.integers(1, 2),
    st.integers(1, 3),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.sampled_from(['window', 'grid']),
)
def test_merging_undoes_the_partition(batch, maps, groups, size, cut):
    rows, columns = groups[0] * size[0], groups[1] * size[1]
    x = torch.arange(batch * maps * rows * columns * 2.0).view(batch, maps, rows, columns, 2)
    parts = partition(x, size, cut)
    assert parts.shape == (batch * groups[0] * groups[1], maps * size[0] * size[1], 2)
    assert torch.equal(merge(parts, (maps, rows, columns), size, cut), x)


def test_a_window_holds_neighbours_and_a_grid_cells_far_apart():
    cells = torch.arange(36.0).view(1, 1, 6, 6, 1)
    assert partition(cells, (2, 3), 'window')[1, :, 0].tolist() == [3, 4, 5, 9, 10, 11]
    # Group (1, 0) of 3 x 2: rows 1 and 4, columns 0, 2, 4.
    assert partition(cells, (2, 3), 'grid')[2, :, 0].tolist() == [6, 8, 10, 24, 26, 28]


@pytest.mark.parametrize('agents', [1, 2, 3])
def test_the_bias_of_a_pair_is_the_table_row_of_its_index(agents):
    bias = RelativeBias(3, heads=2, agents=agents)
    pairs = tuple(tuple(q - k for k in range(agents)) for q in range(agents))
    expected = bias.weight[pair_index(3, agents)].permute(2, 0, 1)
    assert torch.equal(bias(pairs), expected)


def test_the_index_counts_agents_rows_and_columns_of_query_minus_key():
    index = pair_index(size=2, agents=2)
    assert index.shape == (8, 8)
    # Token 7 is agent 1, row 1, column 1; token 0 all zero: (2, 2, 2) in a 3 x 3 x 3 table.
    assert index[7, 0] == 26
    assert index[0, 7] == 0
    assert set(index.diagonal().tolist()) == {13}


@pytest.mark.parametrize('grad', [False, True])
@pytest.mark.parametrize('kind', ['none', 'bool', 'float'])
def test_both_ways_to_attend_are_softmax_of_the_products(grad, kind):
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 5, 8), torch.randn(2, 7, 8), torch.randn(2, 7, 8)
    bias = {
        'none': None,
        'bool': torch.rand(2, 1, 1, 7) > 0.3,
        'float': torch.randn(1, 2, 5, 7),
    }[kind]
    out = attend(q.requires_grad_(grad), k, v, 2, bias)
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / 2
        if kind == 'bool':
            scores = scores.masked_fill(~bias[:, 0], float('-inf'))
        elif kind == 'float':
            scores = scores + bias[:, head]
        torch.testing.assert_close(out[..., part], scores.softmax(-1) @ v[..., part])


def test_keys_that_do_not_count_are_as_good_as_absent():
    torch.manual_seed(1)
    attention = GroupAttention(8, heads=2, window=2, agents=3, dropout=0.0)
    x = torch.randn(5, 12, 8)
    keep = torch.ones(5, 12, dtype=torch.bool)
    keep[:, 8:] = False  # the third agent
    pairs = tuple(tuple(q - k for k in range(3)) for q in range(3))
    masked = attention(x, pairs, keep)
    first_two = tuple(row[:2] for row in pairs)
    torch.testing.assert_close(attention(x, first_two, None), masked)


def test_the_self_attention_of_a_map_sees_every_cell_with_its_bias():
    torch.manual_seed(2)
    attention = MapSelfAttention(8, heads=2, size=3, dropout=0.0).eval()
    x = torch.randn(2, 3, 3, 8)
    tokens = x.view(2, 9, 8)
    q, k, v = (F.linear(tokens, w) for w in attention.qkv.weight.chunk(3))
    bias = attention.bias.weight[pair_index(3, 1)]
    heads = []
    for h in range(2):
        part = slice(4 * h, 4 * h + 4)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / 2 + bias[..., h]
        heads.append(scores.softmax(-1) @ v[..., part])
    expected = F.linear(torch.cat(heads, -1), attention.output.weight).view_as(x)
    torch.testing.assert_close(attention(x), expected)


def _cross_written_out(module, bev, places, keys, values):
    """FAX-CA as the paper has it: every copy of every query, projected one by one."""
    agents, cameras = keys.shape[:2]

    def attention(weights, query, cut):
        q = partition(weights.query(query), module.query_window, 'window')
        k = partition(weights.key(keys), module.image_window, cut)
        v = partition(weights.value(values), module.image_window, cut)
        out = weights.output(attend(q, k, v, weights.heads))
        maps = merge(out, query.shape[1:4], module.query_window, 'window')
        return maps.mean(1)

    z = bev + attention(module.local_attention, bev[:, None] + places, 'window')
    z = z + module.local_mlp(module.local_norm(z))
    copies = z[:, None].expand(agents, cameras, *z.shape[1:])
    z = z + attention(module.global_attention, copies, 'grid')
    z = z + module.global_mlp(module.global_norm(z))
    return module.norm(z)


@pytest.fixture
def cross():
    torch.manual_seed(3)
    module = FaxCrossAttention(16, 2, (4, 4), (2, 3))
    for norm in module.modules():
        if isinstance(norm, torch.nn.LayerNorm):
            torch.nn.init.normal_(norm.weight, 1, 0.2)
            torch.nn.init.normal_(norm.bias, 0, 0.2)
    return module


def test_leaving_out_equal_copies_changes_nothing(cross):
    bev, places = torch.randn(2, 8, 8, 16), torch.randn(2, 3, 8, 8, 16)
    keys, values = torch.randn(2, 3, 4, 6, 16), torch.randn(2, 3, 4, 6, 16)
    expected = _cross_written_out(cross, bev, places, keys, values)
    query = cross.local_query(bev[:, None] + places)
    torch.testing.assert_close(cross(bev, query, keys, values), expected)
    copies = torch.zeros(2, 3, 8, 8, 16)
    expected = _cross_written_out(cross, bev, copies, keys, values)
    torch.testing.assert_close(cross(bev, None, keys, values), expected)


def test_a_camera_that_is_not_valid_is_as_good_as_absent(cross):
    bev, places = torch.randn(2, 8, 8, 16), torch.randn(2, 3, 8, 8, 16)
    keys, values = torch.randn(2, 3, 4, 6, 16), torch.randn(2, 3, 4, 6, 16)
    valid = torch.tensor([[True, False, True], [False, False, False]])
    keep = valid[..., None, None].expand(2, 3, 4, 6)
    out = cross(bev, cross.local_query(bev[:, None] + places), keys, values, keep, valid)
    two = [0, 2]
    query = cross.local_query(bev[:1, None] + places[:1, two])
    torch.testing.assert_close(out[:1], cross(bev[:1], query, keys[:1, two], values[:1, two]))
    # Without any camera the images cannot matter.
    query = cross.local_query(bev[:, None] + places)
    other = cross(bev, query, keys + 1, values - 1, keep, valid)
    assert torch.equal(out[1], other[1])


def test_maps_are_filled_up_to_whole_windows_and_no_further():
    maps = torch.ones(1, 2, 5, 6, 3)
    assert fit(maps, (4, 4)).shape == (1, 2, 8, 8, 3)
    assert fit(maps, (4, 4)).sum() == maps.sum()
    assert fit(maps, (5, 3)) is maps
