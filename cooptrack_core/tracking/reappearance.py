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

"""A car that comes out from behind a lorry is the car that went behind it.

A query that loses its object fades and dies (``TrackingConfig``); a learnt query or an instance
of a message finds the object, at once or when it can be seen again, and would get a new id. Here
every track leaves behind where it was last reported; the place moves on with its velocity, and a
new track that begins there takes the id up again.

Not part of the official code.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# Slower tracks stand still: their velocity is noise that would carry them away, m/s.
_STANDING = 0.7


@dataclass(frozen=True, eq=False)
class Sightings:
    """Where m tracks were last reported, moved on to the present; agent frame.

    Attributes:
        ids: (m,) track ids, each once.
        labels: (m,) class indices.
        centers: (m, 2) x and y, metres.
        velocities: (m, 2) m/s.
        seconds: (m,) since they were reported; 0 for those of the present frame.
    """

    ids: IntArray
    labels: IntArray
    centers: Array
    velocities: Array
    seconds: Array

    @staticmethod
    def none() -> Sightings:
        """Return no sightings."""
        number = np.zeros(0, dtype=np.int64)
        return Sightings(number, number, np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))

    def select(self, rows: BoolArray) -> Sightings:
        """Those under a mask."""
        return Sightings(*(getattr(self, f.name)[rows] for f in dataclasses.fields(self)))

    def moved(self, current_T_previous: NDArray[Any], seconds: float) -> Sightings:
        """The same in the agent frame of a later time, moved on with their velocities.

        Args:
            current_T_previous: (4, 4) from the agent frame of the previous frame to the present.
            seconds: Between the two.
        """
        turn = np.asarray(current_T_previous, dtype=np.float64)[:2, :2].T
        moving = np.linalg.norm(self.velocities, axis=1, keepdims=True) >= _STANDING
        then = self.centers + np.where(moving, self.velocities, 0.0) * seconds
        return dataclasses.replace(
            self,
            centers=then @ turn + np.asarray(current_T_previous, dtype=np.float64)[:2, 3],
            velocities=self.velocities @ turn,
            seconds=self.seconds + seconds,
        )

    def followed_by(self, now: Sightings, longest: float) -> Sightings:
        """The sightings of a frame, and what was seen earlier, up to ``longest`` seconds ago."""
        kept = self.select((self.seconds <= longest) & ~np.isin(self.ids, now.ids))
        return Sightings(
            *(
                np.concatenate([getattr(now, f.name), getattr(kept, f.name)])
                for f in dataclasses.fields(self)
            )
        )

    def taken_up(self, new: Sightings, busy: IntArray, gate: float, gate_speed: float) -> IntArray:
        """Ids that new tracks take up again, nearest pairs first.

        Args:
            new: n sightings of this frame that have no id yet.
            busy: Ids of tracks that are there at this frame.
            gate: A new track may be so many metres from where a lost one should be.
            gate_speed: So many metres more for every second that it was lost.

        Returns:
            (n,) id of a lost track of the same class, -1 for none.
        """
        found = np.full(len(new.ids), -1, dtype=np.int64)
        lost = self.select(~np.isin(self.ids, busy))
        if not len(lost.ids) or not len(found):
            return found
        apart = np.linalg.norm(new.centers[:, None] - lost.centers, axis=-1)
        near = (apart < gate + gate_speed * lost.seconds) & (new.labels[:, None] == lost.labels)
        rows, columns = np.nonzero(near)
        for pair in np.argsort(apart[rows, columns], kind='stable'):
            row, column = rows[pair], columns[pair]
            if found[row] < 0 and lost.ids[column] not in found:
                found[row] = lost.ids[column]
        return found
