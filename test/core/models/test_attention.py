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

"""Attention operators against plain definitions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cooptrack_core.models.attention.deformable import ring_offsets, sample_and_weigh
from cooptrack_core.models.attention.multihead import MultiheadAttention


@pytest.mark.parametrize(('queries', 'keys'), [(1, 4), (5, 7), (1, 1), (3, 1)])
@pytest.mark.parametrize('masked', [False, True])
def test_multihead_attention_is_that_of_torch(queries: int, keys: int, masked: bool) -> None:
    torch.manual_seed(queries + keys)
    ours = MultiheadAttention(32, 4).eval()
    reference = nn.MultiheadAttention(32, 4, batch_first=True).eval()
    reference.load_state_dict(ours.state_dict())
    q, k, v = (torch.randn(6, n, 32) for n in (queries, keys, keys))
    padding = torch.rand(6, keys) < 0.5
    padding[:, -1] = False
    blocked = padding[:, None, None] if masked else None
    expected, _ = reference(q, k, v, key_padding_mask=padding if masked else None)
    torch.testing.assert_close(ours(q, k, v, blocked), expected, atol=1e-6, rtol=1e-5)


def test_deformable_samples_are_bilinear_with_zeros_outside() -> None:
    rows, columns = 3, 4
    value = torch.arange(12.0).view(1, 12, 1, 1)
    # Centre of cell (row 1, column 2), halfway to (1, 3), and far outside.
    places = torch.tensor([[2.5 / columns, 1.5 / rows], [3.0 / columns, 1.5 / rows], [5.0, 5.0]])
    locations = places.view(1, 1, 1, 3, 2)
    for weights, expected in (([1, 0, 0], 6.0), ([0, 1, 0], 6.5), ([0, 0, 1], 0.0)):
        out = sample_and_weigh(
            value, (rows, columns), locations, torch.tensor(weights).float().view(1, 1, 1, 3)
        )
        assert out.item() == pytest.approx(expected)


def test_sampling_starts_as_a_ring() -> None:
    offsets = ring_offsets(heads=8, points=4).view(8, 4, 2)
    assert offsets.abs().amax(-1).allclose(torch.tensor([1.0, 2.0, 3.0, 4.0]).expand(8, 4))
    torch.testing.assert_close(offsets[2, 0], torch.tensor([0.0, 1.0]), atol=1e-6, rtol=0)
