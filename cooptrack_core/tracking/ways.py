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

"""Where tracks were during the last second or so, by track id, in the world.

Places in the world do not move with the agent that sees them; what is made of them (headings,
velocities) turns them into its frame.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Ways:
    """Memory of one agent.

    Args:
        window_ns: Older places are forgotten.
    """

    def __init__(self, window_ns: int) -> None:
        """Start without any track."""
        self._window_ns = window_ns
        self._ways: dict[int, list[tuple[int, Array]]] = {}  # id: stamps, (2,) metres

    def __len__(self) -> int:
        """Number of tracks that were somewhere."""
        return len(self._ways)

    def __getitem__(self, track_id: int) -> list[tuple[int, Array]]:
        """Stamps in ns and (2,) places of a track, oldest first; empty for an unknown one."""
        return self._ways.get(track_id, [])

    def reset(self) -> None:
        """Forget all tracks."""
        self._ways.clear()

    def follow(self, stamp_ns: int, track_ids: IntArray, places: Array) -> None:
        """Add the n places of a frame later than those before.

        Args:
            stamp_ns: Of the frame.
            track_ids: (n,) each once.
            places: (n, 2) x and y in the world, metres.
        """
        for track_id, place in zip(track_ids.tolist(), places, strict=True):
            self._ways.setdefault(track_id, []).append((stamp_ns, place))
        oldest = stamp_ns - self._window_ns
        ways = {i: [p for p in way if p[0] >= oldest] for i, way in self._ways.items()}
        self._ways = {i: way for i, way in ways.items() if way}

    def past(self, track_ids: IntArray, count: int) -> Array:
        """Earlier places of n tracks, seen from their newest ones.

        Args:
            track_ids: (n,).
            count: Places per track, K.

        Returns:
            (n, K, 3): x and y relative to the newest place, metres in the world's axes, and
            seconds relative to it (negative); the newest of the earlier ones first, NaN where
            there are no more.
        """
        past = np.full((len(track_ids), count, 3), np.nan)
        for row, track_id in enumerate(track_ids.tolist()):
            *earlier, (now_ns, here) = self[track_id] or [(0, np.zeros(2))]
            for slot, (stamp_ns, place) in enumerate(earlier[::-1][:count]):
                past[row, slot] = [*(place - here), (stamp_ns - now_ns) / 1e9]
        return past
