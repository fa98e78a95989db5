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

"""CoBEVT without some of its parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_rings import CONFIG

from cooptrack_core.errors import InputError
from cooptrack_core.models.cobevt import Cobevt
from cooptrack_core.models.cobevt.variants import OF_FUSION, OF_SINBEVT, leave_out

GROUNDED = replace(
    CONFIG, sinbevt=replace(CONFIG.sinbevt, ground_heights=(0.0, 0.8), residual=True)
)


@pytest.mark.parametrize('part', [*OF_FUSION, *OF_SINBEVT])
def test_a_model_without_a_part_has_fewer_weights_and_still_makes_maps(part: str):
    whole, less = Cobevt(GROUNDED), Cobevt(leave_out(GROUNDED, [part])).eval()
    missing = whole.state_dict().keys() - less.state_dict().keys()
    assert missing
    assert less.state_dict().keys() < whole.state_dict().keys()
    images = torch.rand(2, 1, 3, 48, 96)
    k = torch.tensor([[60.0, 0, 47.5], [0, 60, 11.5], [0, 0, 1]]).expand(2, 1, 3, 3)
    pose = torch.tensor([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]])
    with torch.inference_mode():
        maps = less.encode(images, k, pose.expand(2, 1, 4, 4))
        logits = less.decode(less.fuse(maps, torch.eye(4).expand(2, 4, 4)))
    assert bool(torch.isfinite(logits['dynamic']).all())
    assert float(logits['dynamic'].std()) > 0


@pytest.mark.parametrize(
    ('parts', 'changes', 'words'),
    [
        (['wheels'], {}, "no part 'wheels'"),
        (['fuse_local'], {'operator': 'f_cooper'}, 'fuse_local'),
        (['fuse_local'], {'fusion': None}, 'fuse_local'),
        (['ground'], {'sinbevt': CONFIG.sinbevt}, "no part 'ground'"),
        (['ground', 'ground'], {}, "no part 'ground'"),
    ],
)
def test_a_part_that_is_not_there_cannot_be_left_out(parts, changes, words: str):
    with pytest.raises(InputError, match=words):
        leave_out(replace(GROUNDED, **changes), parts)
