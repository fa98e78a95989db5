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

"""Where tracks were: what is remembered, for how long, and how it is told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.tracking.ways import Ways

MS = 1_000_000


def walked(steps: list[tuple[int, list[int]]], window_ms: int = 1000) -> Ways:
    """Track i is at (i, seconds) at each of the (milliseconds, ids)."""
    ways = Ways(window_ms * MS)
    for ms, ids in steps:
        places = np.array([[i, ms / 1e3] for i in ids]).reshape(-1, 2)
        ways.follow(ms * MS, np.array(ids, dtype=np.int64), places)
    return ways


def test_the_past_is_told_from_the_newest_place_backwards():
    ways = walked([(0, [7, 8]), (100, [7]), (250, [7, 9])])
    past = ways.past(np.array([7, 9, 4]), 3)
    assert past.shape == (3, 3, 3)
    np.testing.assert_allclose(past[0, :2], [[0.0, -0.15, -0.15], [0.0, -0.25, -0.25]])
    assert np.isnan(past[0, 2]).all()
    assert np.isnan(past[1:]).all(), 'one place, or none, has no past'
    assert ways.past(np.array([7]), 1).shape == (1, 1, 3)
    assert ways.past(np.zeros(0, dtype=np.int64), 2).shape == (0, 2, 3)


@given(st.integers(1, 40), st.integers(100, 2000))
def test_nothing_older_than_the_window_is_kept(frames: int, window_ms: int):
    ways = walked([(100 * k, [1]) for k in range(frames)], window_ms)
    stamps = [stamp for stamp, _ in ways[1]]
    assert len(stamps) == min(frames, window_ms // 100 + 1)
    assert stamps[-1] - stamps[0] <= window_ms * MS


def test_tracks_that_are_gone_are_forgotten_and_a_reset_forgets_all():
    ways = walked([(0, [1, 2]), (900, [2]), (1800, [2])])
    assert len(ways) == 1 and ways[1] == []
    assert [place[1] for _, place in ways[2]] == pytest.approx([0.9, 1.8])
    ways.reset()
    assert len(ways) == 0
