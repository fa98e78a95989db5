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

"""The two ways of FAX to cut a map into groups of tokens: neighbours, and cells far apart.

Source: CoBEVT (Xu et al., 2022), section 3.2; reference sections 2.4 and 3.1. With X x Y groups of
h x w tokens, a *window* holds rows x h ... x h + h - 1, a *grid* holds rows x, x + X, x + 2 X, ...
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Cut = Literal['window', 'grid']


def partition(maps: Tensor, size: tuple[int, int], cut: Cut) -> Tensor:
    """Cut maps into groups; those of one place in all N maps form one group.

    Args:
        maps: (B, N, H, W, C).
        size: h, w tokens per group and map; divide H and W.
        cut: ``window`` (local) or ``grid`` (global).

    Returns:
        (B * X * Y, N * h * w, C), X = H / h, Y = W / w; in a group the map comes first, then the
        row.
    """
    b, n, rows, columns, c = maps.shape
    h, w = size
    x, y = rows // h, columns // w
    if cut == 'window':
        groups = maps.reshape(b, n, x, h, y, w, c).permute(0, 2, 4, 1, 3, 5, 6)
    else:
        groups = maps.reshape(b, n, h, x, w, y, c).permute(0, 3, 5, 1, 2, 4, 6)
    return groups.reshape(b * x * y, n * h * w, c)


def merge(groups: Tensor, shape: tuple[int, int, int], size: tuple[int, int], cut: Cut) -> Tensor:
    """Put the groups back in their places; the inverse of ``partition``.

    Args:
        groups: (B * X * Y, N * h * w, C).
        shape: N, H, W of the maps.
        size: h, w.
        cut: As they were cut.

    Returns:
        (B, N, H, W, C).
    """
    n, rows, columns = shape
    h, w = size
    x, y = rows // h, columns // w
    parts = groups.reshape(-1, x, y, n, h, w, groups.shape[-1])
    order = (0, 3, 1, 4, 2, 5, 6) if cut == 'window' else (0, 3, 4, 1, 5, 2, 6)
    return parts.permute(order).reshape(-1, n, rows, columns, groups.shape[-1])
