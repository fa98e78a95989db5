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

"""Perception ranges, BEV grids and map grids, all axis-aligned in an agent's frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PerceptionRange:
    """The box in which an agent perceives; reference points are normalised to it. Metres."""

    x_min: float
    y_min: float
    z_min: float
    x_max: float
    y_max: float
    z_max: float

    def __post_init__(self) -> None:
        """Validate that the box is finite and not empty."""
        values = np.array(self.as_tuple())
        if not np.isfinite(values).all() or not (values[:3] < values[3:]).all():
            raise ValueError(f'the perception range {self.as_tuple()} is empty or not finite')

    def as_tuple(self) -> tuple[float, float, float, float, float, float]:
        """(x_min, y_min, z_min, x_max, y_max, z_max)."""
        return (self.x_min, self.y_min, self.z_min, self.x_max, self.y_max, self.z_max)

    @property
    def minimum(self) -> Array:
        """(3,) lower corner, metres."""
        return np.array([self.x_min, self.y_min, self.z_min])

    @property
    def extent(self) -> Array:
        """(3,) edge lengths, metres."""
        return np.array([self.x_max, self.y_max, self.z_max]) - self.minimum

    def normalise(self, points: ArrayLike) -> Array:
        """Metres (..., 3) to [0, 1] inside the range."""
        return np.asarray((np.asarray(points, dtype=np.float64) - self.minimum) / self.extent)

    def denormalise(self, points: ArrayLike) -> Array:
        """[0, 1] (..., 3) to metres."""
        return np.asarray(np.asarray(points, dtype=np.float64) * self.extent + self.minimum)

    def contains_xy(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Whether points (..., >=2) lie inside in x and y."""
        p = np.asarray(points, dtype=np.float64)
        return np.asarray(
            (p[..., 0] > self.x_min)
            & (p[..., 0] < self.x_max)
            & (p[..., 1] > self.y_min)
            & (p[..., 1] < self.y_max)
        )


@dataclass(frozen=True)
class BevGrid:
    """A grid of cells on the ground: columns run along +x, rows along +y of the agent frame.

    A flattened grid is row-major: cell index = row * columns + column (reference section 2.3).
    """

    x_min: float
    y_min: float
    x_max: float
    y_max: float
    columns: int
    rows: int

    def __post_init__(self) -> None:
        """Validate that the grid is not empty."""
        if self.columns <= 0 or self.rows <= 0:
            raise ValueError(f'a BEV grid needs cells, found {self.columns} x {self.rows}')
        if not (self.x_min < self.x_max and self.y_min < self.y_max):
            raise ValueError('the BEV grid covers no area')

    @property
    def cell_size(self) -> tuple[float, float]:
        """Cell extent along x and y, metres."""
        return (self.x_max - self.x_min) / self.columns, (self.y_max - self.y_min) / self.rows

    def cell_centers(self) -> Array:
        """(rows, columns, 2) x, y of the cell centres, metres."""
        dx, dy = self.cell_size
        x = self.x_min + (np.arange(self.columns) + 0.5) * dx
        y = self.y_min + (np.arange(self.rows) + 0.5) * dy
        return np.stack(np.meshgrid(x, y), -1)


@dataclass(frozen=True)
class MapGrid:
    """A map as an image "heading up", centred on the agent.

    Row 0 is farthest ahead (+x), column 0 farthest left (+y). Rows and columns may be real
    numbers where a method says so; whole ones are cell centres.

    Attributes:
        rows, columns: Number of cells.
        cell: Edge length of a cell, metres.
    """

    rows: int = 256
    columns: int = 256
    cell: float = 0.390625

    def __post_init__(self) -> None:
        """Validate that the grid is not empty."""
        if self.rows <= 0 or self.columns <= 0:
            raise ValueError(f'a map needs cells, found {self.rows} x {self.columns}')
        if not (np.isfinite(self.cell) and self.cell > 0):
            raise ValueError(f'the cells of a map need a size, found {self.cell} m')

    @property
    def extent(self) -> tuple[float, float]:
        """Length along x and along y, metres."""
        return self.rows * self.cell, self.columns * self.cell

    def cell_centers(self) -> Array:
        """(rows, columns, 2) x, y of the cell centres, metres."""
        x = (self.rows / 2 - np.arange(self.rows) - 0.5) * self.cell
        y = (self.columns / 2 - np.arange(self.columns) - 0.5) * self.cell
        return np.stack(np.meshgrid(x, y, indexing='ij'), -1)

    def cells_of(self, points: ArrayLike) -> Array:
        """Fractional (row, column) (..., 2) of points (..., >=2), metres; may lie outside."""
        p = np.asarray(points, dtype=np.float64)
        rows = self.rows / 2 - p[..., 0] / self.cell - 0.5
        columns = self.columns / 2 - p[..., 1] / self.cell - 0.5
        return np.stack([rows, columns], -1)

    def contains(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Whether points (..., >=2), metres, lie on the map."""
        p = np.asarray(points, dtype=np.float64)
        length, width = self.extent
        return np.asarray(
            (np.abs(p[..., 0]) <= length / 2) & (np.abs(p[..., 1]) <= width / 2), dtype=np.bool_
        )

    def coarser(self, factor: int) -> MapGrid:
        """The same area in cells ``factor`` times as long.

        Raises:
            ValueError: The cells do not divide.
        """
        if factor <= 0 or self.rows % factor or self.columns % factor:
            raise ValueError(f'{self.rows} x {self.columns} cells do not divide by {factor}')
        return MapGrid(self.rows // factor, self.columns // factor, self.cell * factor)
