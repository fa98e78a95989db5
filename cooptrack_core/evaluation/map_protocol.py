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

"""Room of evaluation: every choice that an IoU of maps depends on, printed with every number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import MapGrid
from cooptrack_core.structures import MapLabels

Mask = NDArray[np.bool_]
# One mask (rows, columns) per class of MAP_CLASSES; a class that is not known is absent.
Masks = Mapping[str, Mask]


@dataclass(frozen=True)
class MapProtocol:
    """How maps are compared; the defaults are the published ones but for ``as_published``.

    Attributes:
        grid: Cells of truth and output, centred on the ego's body.
        half_side: Cells whose centre lies within this distance along x and along y are
            evaluated, m; published: 50, the whole map.
        vehicles: Which vehicles are the truth: those that any agent's LiDARs hit
            ('visible_all', published for cooperative models), the ego's ('visible'), or all
            on the road ('dynamic').
        drivable_with_lane: Count lane lines as drivable too. Published numbers do not: their
            class "road" is the road without its lane lines.
        as_published: Compute frame means as the released script does, quirks included:
            an IoU is looked up by its position among the classes that occur in truth or output,
            so that a frame without a class gives it the next class's number. Frames in which
            there is nothing at that position stop the script; here they are left out. Off: a
            frame in which a class occurs neither in truth nor in output is left out of its mean.
            In both, the IoU is 0 where a class occurs on one side only.
    """

    grid: MapGrid = MapGrid()  # noqa: RUF009 - frozen
    half_side: float = 50.0
    vehicles: Literal['visible_all', 'visible', 'dynamic'] = 'visible_all'
    drivable_with_lane: bool = False
    as_published: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        if not self.half_side > 0 or not self.evaluated().any():
            raise ValueError(f'half_side {self.half_side} m leaves no cell to evaluate')
        if self.vehicles not in ('visible_all', 'visible', 'dynamic'):
            raise ValueError(f'vehicles {self.vehicles!r}')
        if self.as_published and self.drivable_with_lane:
            raise ValueError('published numbers count no lane line as drivable')

    def evaluated(self) -> Mask:
        """(rows, columns) bool: cells that are evaluated."""
        return np.asarray((np.abs(self.grid.cell_centers()) <= self.half_side).all(-1))

    def truth(self, labels: MapLabels) -> Masks:
        """Masks of a frame's labels; without drivable and lane where the dataset has no map.

        Raises:
            ValueError: The labels have another grid.
        """
        if labels.grid != self.grid:
            raise ValueError(f'labels on {labels.grid}, the protocol is for {self.grid}')
        names = {'visible_all': labels.visible_all, 'visible': labels.visible}
        return self.masks(names.get(self.vehicles, labels.dynamic), labels.static)

    def masks(
        self, dynamic: NDArray[np.generic] | None, static: NDArray[np.generic] | None
    ) -> Masks:
        """Masks of class ids as a model's arg-max gives them.

        Args:
            dynamic: (rows, columns), 0 nothing, 1 vehicle; None: not known.
            static: (rows, columns), 0 nothing, 1 road, 2 lane; None: not known.
        """
        out: dict[str, Mask] = {}
        if dynamic is not None:
            out['vehicle'] = np.asarray(dynamic).astype(np.int64) == 1
        if static is not None:
            ids = np.asarray(static).astype(np.int64)
            out['drivable'] = (ids == 1) | (self.drivable_with_lane & (ids == 2))
            out['lane'] = ids == 2
        return out

    def as_dict(self) -> dict[str, Any]:
        """Return all choices, valid as JSON."""
        content = asdict(self)
        content['iou'] = 'of all frames together: sum TP / (sum TP + sum FP + sum FN) over cells'
        content['frame_mean'] = (
            'mean of per-frame IoU, looked up by position among the classes that occur '
            '(CoBEVT as released)'
            if self.as_published
            else 'mean of per-frame IoU over frames in which the class occurs in truth or output'
        )
        content['drivable'] = 'road and lane' if self.drivable_with_lane else 'road without lane'
        return content
