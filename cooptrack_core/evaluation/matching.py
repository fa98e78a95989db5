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

"""Room of evaluation: who is whom, frame by frame, for many score thresholds at once.

CLEAR MOT (Bernardin and Stiefelhagen 2008) with the event rules of py-motmetrics 1.4.0: a pair
once made is kept while it stays within the gate; what is left is assigned at least total
distance; an object whose partner changes is a switch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from cooptrack_core.evaluation.frames import Array, BoolArray, BoxTable, IntArray

MISS, MATCH, SWITCH = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Matching:
    """What became of every object box and how many tracks were wrong, at T score thresholds.

    Attributes:
        status: (T, n) int8 MISS, MATCH or SWITCH per object box.
        partner: (T, n) int64 row of the track box, -1 for a miss.
        distances: (T, n) m to the partner, 0 for a miss.
        clock: (T, F) int64 number of frames so far that hold an object or a track.
        false_positives: (T,) int64 track boxes without object.
    """

    status: NDArray[np.int8]
    partner: IntArray
    distances: Array
    clock: IntArray
    false_positives: IntArray


def assign(distances: Array, allowed: BoolArray) -> tuple[IntArray, IntArray]:
    """Pair rows and columns one to one: as many allowed pairs as possible, then least distance.

    Args:
        distances: (r, c) finite.
        allowed: (r, c) pairs that may be made.

    Returns:
        Rows and columns of the pairs made.
    """
    if not allowed.any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    # One forbidden pair must cost more than any choice of allowed pairs saves.
    forbidden = 2 * min(distances.shape) * (np.abs(distances[allowed]).max() + 1) + 1
    rows, columns = linear_sum_assignment(np.where(allowed, distances, forbidden))
    keep = allowed[rows, columns]
    return rows[keep], columns[keep]


def match_over_time(
    objects: BoxTable,
    object_numbers: IntArray,
    tracks: BoxTable,
    track_numbers: IntArray,
    thresholds: Array,
    n_frames: int,
    gate: float,
) -> Matching:
    """Match tracks to objects through all frames, at each threshold as if it were alone.

    Args:
        objects: n ground-truth boxes of one class in frame order.
        object_numbers: (n,) number of each box's object, unique over scenes.
        tracks: m output boxes of the class in frame order.
        track_numbers: (m,) number of each box's track, unique over scenes.
        thresholds: (T,) boxes with a lower score are not there.
        n_frames: F.
        gate: Pairs at this distance or farther are never made, m.
    """
    n, levels = len(objects), len(thresholds)
    status = np.zeros((levels, n), dtype=np.int8)
    partner = np.full((levels, n), -1, dtype=np.int64)
    distances = np.zeros((levels, n))
    # Latest partner of each object; kept through misses.
    memory = np.full((levels, int(object_numbers.max(initial=-1)) + 1), -1, dtype=np.int64)
    # Column of a track in the present frame; the last entry answers for "no track" (-1).
    column_of = np.full(int(track_numbers.max(initial=-1)) + 2, -1, dtype=np.int64)
    alive = tracks.scores >= thresholds[:, None]
    o_start = np.searchsorted(objects.frames, np.arange(n_frames + 1))
    t_start = np.searchsorted(tracks.frames, np.arange(n_frames + 1))
    for f in np.flatnonzero((np.diff(o_start) > 0) & (np.diff(t_start) > 0)):
        o, t = slice(o_start[f], o_start[f + 1]), slice(t_start[f], t_start[f + 1])
        offset = objects.centers[o, None] - tracks.centers[None, t]
        d = np.sqrt((offset**2).sum(-1))
        near = d < gate
        if not near.any():
            continue
        remembered = memory[:, object_numbers[o]]
        column = _carry_on(remembered, track_numbers[t], column_of, near, alive[:, t])
        _pair_rest(d, near, alive[:, t], column)
        level, row = np.nonzero(column >= 0)
        col = column[level, row]
        number, track = object_numbers[o][row], track_numbers[t][col]
        previous = memory[level, number]
        is_switch = (previous >= 0) & (previous != track)
        status[level, o.start + row] = np.where(is_switch, SWITCH, MATCH)
        partner[level, o.start + row] = t.start + col
        distances[level, o.start + row] = d[row, col]
        memory[level, number] = track
    level, row = np.nonzero(alive)
    shown = np.zeros((levels, n_frames), dtype=bool)
    shown[level, tracks.frames[row]] = True
    clock = np.cumsum(shown | (np.diff(o_start) > 0), axis=1, dtype=np.int64)
    return Matching(status, partner, distances, clock, alive.sum(1) - (status != MISS).sum(1))


def _carry_on(
    previous: IntArray,
    track_numbers: IntArray,
    column_of: IntArray,
    near: BoolArray,
    alive: BoolArray,
) -> IntArray:
    """(T, r) column of the previous partner where it is still there and near, else -1."""
    column_of[track_numbers] = np.arange(len(track_numbers))
    column = column_of[previous]
    column_of[track_numbers] = -1
    levels, rows = np.ogrid[: column.shape[0], : column.shape[1]]
    valid = (column >= 0) & near[rows, column] & alive[levels, column]
    # Two objects can remember the same track; the first in the frame keeps it.
    level, row = np.nonzero(valid)
    _, first = np.unique(level * alive.shape[1] + column[level, row], return_index=True)
    kept = np.full(column.shape, -1, dtype=np.int64)
    level, row = level[first], row[first]
    kept[level, row] = column[level, row]
    return kept


def _pair_rest(d: Array, near: BoolArray, alive: BoolArray, column: IntArray) -> None:
    """Assign the free objects and tracks; fills ``column`` (T, r) in place."""
    taken = np.zeros(alive.shape, dtype=bool)
    level, row = np.nonzero(column >= 0)
    taken[level, column[level, row]] = True
    edge_row, edge_column = np.nonzero(near)
    free = (column < 0)[:, edge_row] & (alive & ~taken)[:, edge_column]
    for k in np.flatnonzero(free.any(1)):
        rows, columns = edge_row[free[k]], edge_column[free[k]]
        if len(set(rows.tolist())) < len(rows) or len(set(columns.tolist())) < len(columns):
            # The matrix keeps its occupied rows, so that ties fall as in py-motmetrics.
            present = np.flatnonzero(alive[k])
            allowed = near & (column[k] < 0)[:, None] & ~taken[k]
            rows, columns = assign(d[:, present], allowed[:, present])
            columns = present[columns]
        column[k, rows] = columns
