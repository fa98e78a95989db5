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

"""How alike two sets of boxes are, and who is paired with whom; for AB3DMOT.

Affinities are larger for a better pair: the generalised IoU in 3-D (Rezatofighi et al. 2019, with
the convex hull of the footprints as in AB3DMOT, Weng et al. 2020), or minus a distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from cooptrack_core.geometry import Boxes3D

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Point = tuple[float, float]
Affinity = Literal['giou_3d', 'dist_2d', 'dist_3d']
Algorithm = Literal['hungarian', 'greedy']


def affinity_of(kind: Affinity, a: Boxes3D, b: Boxes3D) -> Array:
    """(n, m) affinity of every box of ``a`` with every box of ``b``, both in one frame.

    Args:
        kind: ``giou_3d`` in (-1, 1]; ``dist_3d`` and ``dist_2d``: minus the distance between the
            gravity centres, in space or on the ground, m.
        a: n boxes.
        b: m boxes.
    """
    if kind == 'giou_3d':
        return giou_3d(a, b)
    axes = 3 if kind == 'dist_3d' else 2
    offset = a.centers[:, None, :axes] - b.centers[None, :, :axes]
    return np.asarray(-np.sqrt((offset**2).sum(-1)))


def giou_3d(a: Boxes3D, b: Boxes3D) -> Array:
    """(n, m) generalised IoU of upright boxes: I / U - (C - U) / C.

    I is the volume of the intersection and U of the union; C is the area of the convex hull of
    both footprints times the height from the lower bottom to the upper top.
    """
    if not len(a) or not len(b):
        return np.zeros((len(a), len(b)))
    # World coordinates are large: areas are computed near the first box.
    origin = a.centers[0]
    low_a, high_a = _extent(a)
    low_b, high_b = _extent(b)
    overlap = np.minimum(high_a[:, None], high_b) - np.maximum(low_a[:, None], low_b)
    span = np.maximum(high_a[:, None], high_b) - np.minimum(low_a[:, None], low_b)
    radii = np.hypot(a.sizes[:, 0], a.sizes[:, 1])[:, None] + np.hypot(
        b.sizes[:, 0], b.sizes[:, 1]
    )
    near = -affinity_of('dist_2d', a, b) < radii / 2
    shared, hulls = np.zeros(near.shape), np.zeros(near.shape)
    feet_a, feet_b = _footprints(a, origin), _footprints(b, origin)
    for i, one in enumerate(feet_a):
        for j, other in enumerate(feet_b):
            hulls[i, j] = area(convex_hull([*one, *other]))
            if near[i, j] and overlap[i, j] > 0:
                shared[i, j] = area(clipped(one, other))
    both = a.sizes.prod(-1)[:, None] + b.sizes.prod(-1)
    intersection = np.minimum(shared * np.maximum(overlap, 0), both / 2)
    union = both - intersection
    # Rounding must not make the hull smaller than what it encloses.
    enclosing = np.maximum(hulls * span, union)
    return np.asarray(intersection / union - (enclosing - union) / enclosing)


def associate(
    affinity: Array, threshold: float, algorithm: Algorithm = 'hungarian'
) -> tuple[IntArray, IntArray]:
    """Pair rows with columns one to one, then drop the pairs that are not alike enough.

    The gate comes after the assignment, as in AB3DMOT: a bad pair may take a row away from a
    better one, and both are left alone then.

    Args:
        affinity: (n, m), finite, larger for a better pair.
        threshold: Pairs below it are dropped.
        algorithm: ``hungarian``: largest sum over all pairs. ``greedy``: the best pair first.

    Returns:
        Rows and columns of the pairs, rows ascending.
    """
    if algorithm == 'hungarian':
        rows, columns = linear_sum_assignment(-affinity)
    else:
        rows, columns = _greedy(affinity)
    keep = affinity[rows, columns] >= threshold
    return rows[keep].astype(np.int64), columns[keep].astype(np.int64)


def _greedy(affinity: Array) -> tuple[IntArray, IntArray]:
    columns = np.full(affinity.shape[0], -1, dtype=np.int64)
    taken = np.zeros(affinity.shape[1], dtype=bool)
    # Stable: of equal pairs the first row, then the first column, whatever the platform.
    for flat in np.argsort(-affinity, axis=None, kind='stable').tolist():
        row, column = divmod(flat, affinity.shape[1])
        if columns[row] < 0 and not taken[column]:
            columns[row], taken[column] = column, True
    rows = np.flatnonzero(columns >= 0)
    return rows, columns[rows]


def _extent(boxes: Boxes3D) -> tuple[Array, Array]:
    half = boxes.sizes[:, 2] / 2
    return boxes.centers[:, 2] - half, boxes.centers[:, 2] + half


def _footprints(boxes: Boxes3D, origin: Array) -> list[list[Point]]:
    """Four corners of each box seen from above, counter-clockwise."""
    corners = (boxes.corners() - origin)[:, :4, :2]
    return [[(x, y) for x, y in corner] for corner in corners.tolist()]


def clipped(subject: Sequence[Point], window: Sequence[Point]) -> list[Point]:
    """Part of a convex polygon inside another one, both counter-clockwise (Sutherland-Hodgman)."""
    kept = list(subject)
    for start, end in zip(window, [*window[1:], window[0]], strict=True):
        if not kept:
            break
        # Twice the signed area with the window's edge: positive inside.
        sides = [_turn(start, end, point) for point in kept]
        result: list[Point] = []
        for k, (point, side) in enumerate(zip(kept, sides, strict=True)):
            before, side_before = kept[k - 1], sides[k - 1]
            if (side >= 0) != (side_before >= 0):
                share = side_before / (side_before - side)
                result.append(
                    (
                        before[0] + share * (point[0] - before[0]),
                        before[1] + share * (point[1] - before[1]),
                    )
                )
            if side >= 0:
                result.append(point)
        kept = result
    return kept


def convex_hull(points: Sequence[Point]) -> list[Point]:
    """Corners of the convex hull, counter-clockwise (Andrew's monotone chain)."""
    ordered = sorted(points)
    hull: list[Point] = []
    for chain in (ordered, ordered[::-1]):
        first = len(hull)
        for point in chain:
            while len(hull) >= first + 2 and _turn(hull[-2], hull[-1], point) <= 0:
                hull.pop()
            hull.append(point)
        hull.pop()
    return hull


def area(polygon: Sequence[Point]) -> float:
    """Area of a polygon whose corners are in counter-clockwise order; 0 below three."""
    total = 0.0
    for k, (x, y) in enumerate(polygon):
        total += polygon[k - 1][0] * y - x * polygon[k - 1][1]
    return max(total / 2, 0.0)


def _turn(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
