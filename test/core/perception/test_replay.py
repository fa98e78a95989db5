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

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.perception.replay import kept_frames

MS = 1_000_000


def a_scene(stamps_ms: list[float]) -> Any:
    """Ego frames at these times, a roadside frame 20 ms after each."""
    rows = []
    for k, t in enumerate(stamps_ms):
        rows += [('vehicle', f'v{k}', round(t * MS)), ('roadside', f'r{k}', round((t + 20) * MS))]
    pairs = [
        SimpleNamespace(ego_frame_id=f'v{k}', remote_frame_ids={'roadside': f'r{k}'})
        for k in range(len(stamps_ms))
    ]
    return SimpleNamespace(stream=lambda: iter(sorted(rows, key=lambda r: r[2])), pairs=pairs)


def test_two_hertz_of_ten_keep_every_fifth_pair_in_spite_of_jitter():
    jitter = np.random.default_rng(3).uniform(-15, 15, 50)
    kept = kept_frames(a_scene((100 * np.arange(50) + jitter).tolist()), 2.0)
    expected = {(a, f'{a[0]}{k}') for a in ('vehicle', 'roadside') for k in range(0, 50, 5)}
    assert kept == expected


def test_without_a_rate_every_frame_is_used():
    assert len(kept_frames(a_scene([0, 100, 200]))) == 6


@given(
    st.lists(st.floats(20, 900), min_size=1, max_size=60),
    st.sampled_from([1.0, 2.0, 5.0]),
)
@settings(deadline=None, max_examples=60)
def test_kept_frames_never_come_faster_than_the_rate(gaps: list[float], rate: float):
    stamps = np.cumsum(gaps)
    kept = kept_frames(a_scene(stamps.tolist()), rate)
    times = np.sort([stamps[int(f[1:])] for agent, f in kept if agent == 'vehicle'])
    assert len(times) >= 1
    # A quarter of a period early at most, and no drift: n gaps take n - 1/4 periods or more.
    assert (np.diff(times) >= 750 / rate - 1e-3).all() or len(times) < 2
    assert times[-1] - times[0] >= (len(times) - 1.25) * 1000 / rate - 1e-3
