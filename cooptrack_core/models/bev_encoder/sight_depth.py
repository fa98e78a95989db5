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

"""How far away is what a pixel shows, compared with how far a pillar point is.

Every cell of the BEV map along a line of sight reads nearly the same image feature; which of them
holds the object is a question of depth. The image says how far it thinks things are, and every
sample says how well that agrees with its own distance, in place of leaving the comparison to the
convolutions on the map. In the spirit of Lift-Splat (Philion and Fidler, ECCV 2020) and BEVDepth
(Li et al., AAAI 2023), with a few hypotheses in place of a histogram. Not part of the released
code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cooptrack_core.models.precision import full_precision

# Logarithms of depth: one part in fifty is a metre at 50 m.
_WIDTHS = (0.02, 0.06, 0.2)
_SIDE = 0.1
NUMBERS = len(_WIDTHS) + 1  # of one comparison
_HIDDEN = 32
_NEAR, _FAR = 6.0, 70.0  # metres, where the hypotheses begin


class SightDepth(nn.Module):
    """Hypotheses of the depth at every place of an image map.

    Args:
        dims: Channels of the image map.
        hypotheses: Number M; the first one is supervised (``training/auxiliary.py``).
    """

    def __init__(self, dims: int, hypotheses: int) -> None:
        super().__init__()
        last = nn.Conv2d(_HIDDEN, hypotheses, 1)
        nn.init.normal_(last.weight, std=0.01)
        start = torch.linspace(math.log(_NEAR), math.log(_FAR), hypotheses + 2)[1:-1]
        last.bias = nn.Parameter(start)
        self.head = nn.Sequential(nn.Conv2d(dims, _HIDDEN, 3, padding=1), nn.ReLU(), last)

    @full_precision
    def forward(self, image: Tensor) -> Tensor:
        """Image maps (n, D, h, w) to logarithms of depth in metres, (n, M, h, w)."""
        depths: Tensor = self.head(image.float())
        return depths


@full_precision
def agreement(seen: Tensor, depth: Tensor) -> Tensor:
    """How the depth that the image claims compares with that of a point.

    Args:
        seen: (..., M) logarithms of depth, metres, read at the points.
        depth: (...) depth of the points, metres; what is behind the camera counts as near.

    Returns:
        (..., M, NUMBERS): bells of several widths around agreement, and which side it misses.
    """
    gap = depth.clamp(min=0.1).log()[..., None] - seen
    bells = [torch.exp(-0.5 * (gap / width).square()) for width in _WIDTHS]
    return torch.stack([*bells, torch.tanh(gap / _SIDE)], -1)
