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

"""What the pictures are made of: colours, the bird's-eye view, and boxes in images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cooptrack_core.geometry import SE3, Boxes3D, CameraModel
from cooptrack_core.geometry.boxes import BOX_EDGES
from cooptrack_ros.report.canvas import TEXT, WHITE, Array, Canvas, Colour
from cooptrack_ros.report.encode import view_bearings

# RGB. Green for ground truth and blue/green for instances without a partner are the supplement's.
DIM: Colour = (105, 115, 126)
GROUND: Colour = (251, 252, 253)
GRID: Colour = (234, 237, 241)
RING: Colour = (206, 212, 219)
DARK: Colour = (16, 19, 22)
TRUTH: Colour = (0, 158, 96)
NO_ID: Colour = (110, 110, 110)

_NEAR = 0.3  # metres; edges are cut at this depth


def id_colour(track_id: int) -> Colour:
    """RGB of a track id: golden steps through violet, pink, red, orange and ochre.

    Green and blue are left out, because they mean something else in both pictures. The report
    page uses the same numbers.
    """
    if track_id < 0:
        return NO_ID
    hue = (280 + 130 * (track_id * 0.6180339887 % 1)) % 360
    lightness = (0.34, 0.5, 0.42)[track_id % 3]
    return hsl(hue, 0.85, lightness)


def hsl(hue: float, saturation: float, lightness: float) -> Colour:
    """RGB of a hue in degrees, saturation and lightness in [0, 1], as CSS defines it."""

    def channel(n: int) -> int:
        k = (n + hue / 30) % 12
        part = saturation * min(lightness, 1 - lightness)
        return round(255 * (lightness - part * max(-1.0, min(k - 3, 9 - k, 1.0))))

    return channel(0), channel(8), channel(4)


@dataclass(frozen=True)
class BevView:
    """Where metres of the ego's agent frame are on a square canvas: forward is up, left is left.

    Attributes:
        size: Edge of the square, pixels.
        reach: Metres from the ego, which is in the middle, to an edge.
    """

    size: int
    reach: float

    @property
    def scale(self) -> float:
        """Pixels per metre."""
        return self.size / 2 / self.reach

    def pixels(self, points: ArrayLike) -> Array:
        """(..., 2) pixels of (..., 2 or 3) points, metres."""
        p = np.asarray(points, dtype=np.float64)
        return self.size / 2 - p[..., 1::-1] * self.scale

    def shows(self, point: ArrayLike) -> bool:
        """Whether a point (2 or 3) lies inside."""
        return bool((np.abs(np.asarray(point)[:2]) < self.reach).all())


def bev_ground(view: BevView) -> Canvas:
    """A canvas with range rings every 10 m and a scale bar."""
    canvas = Canvas(view.size, view.size, GROUND)
    centre = view.pixels([0.0, 0.0])
    circle = np.linspace(0, 2 * np.pi, 181)
    unit = np.stack([np.cos(circle), np.sin(circle)], -1)
    for k in (-1, 1):
        canvas.line(centre + np.array([[0, k], [0, 0]]) * view.size, GRID)
        canvas.line(centre + np.array([[k, 0], [0, 0]]) * view.size, GRID)
    rings = np.arange(10, view.reach * 1.42, 10)
    for metres in rings:
        strong = metres % 50 == 0
        canvas.line(centre + unit * metres * view.scale, RING if strong else GRID, 1.5)
    for metres in rings[rings < view.reach]:
        if metres % 20 == 10:
            at = centre + np.array([0.0, metres * view.scale])
            canvas.text(f'{metres:.0f} m', at - [0, 4], DIM, size=11.5, align=0.5, halo=GROUND)
    x, y = view.size - 16, view.size - 14
    bar = 10 * view.scale
    corners = np.array([[x - bar, y - 5], [x - bar, y], [x, y], [x, y - 5]])
    canvas.line(corners, TEXT, 2)
    canvas.text('10 m', [x - bar / 2, y - 8], TEXT, size=12.5, align=0.5, halo=GROUND)
    return canvas


def bev_camera(
    canvas: Canvas, view: BevView, camera: CameraModel, ego_SE3_agent: SE3, colour: Colour
) -> None:
    """Draw the field of view of a camera as a faint wedge, 60 m long."""
    x, y, left, right = view_bearings(camera, ego_SE3_agent)
    turn = (left - right) % (2 * np.pi)
    bearings = left - turn * np.linspace(0, 1, 33)
    rays = np.stack([np.cos(bearings), np.sin(bearings)], -1)
    reach = np.array([0.0] + [60.0] * len(rays))[:, None]
    wedge = view.pixels(np.array([x, y]) + reach * np.concatenate([rays[:1], rays]))
    canvas.polygon(wedge, colour, 0.06)
    canvas.line(wedge, colour, 1, closed=True, alpha=0.35)


def bev_boxes(
    canvas: Canvas,
    view: BevView,
    boxes: Boxes3D,
    colours: Sequence[Colour],
    *,
    width: float = 2.0,
    fill: float = 0.0,
    opacity: Sequence[float] | None = None,
) -> None:
    """Draw footprints; the front edge is thicker.

    Args:
        canvas: Of ``bev_ground``.
        view: Its view.
        boxes: n boxes in the ego's agent frame.
        colours: n RGB.
        width: Of the lines, pixels.
        fill: Opacity of the inside.
        opacity: n of the lines; default: 1.
    """
    footprints = view.pixels(boxes.corners()[:, :4])
    alphas = [1.0] * len(boxes) if opacity is None else opacity
    for corners, colour, alpha in zip(footprints, colours, alphas, strict=True):
        if fill > 0:
            canvas.polygon(corners, colour, fill)
        canvas.line(corners, colour, width, closed=True, alpha=alpha)
        canvas.line(corners[[0, 3]], colour, width * 1.9, alpha=alpha)


def bev_agent(canvas: Canvas, at: Array, heading: float, name: str, *, vehicle: bool) -> None:
    """Draw an agent: an arrow head for a vehicle, a dark diamond for a roadside unit.

    Args:
        canvas: Of ``bev_ground``.
        at: (2,) pixels.
        heading: Of the vehicle, rad, 0 is forward of the ego (up), counter-clockwise.
        name: Label.
        vehicle: Which of the two.
    """
    if vehicle:
        turns = np.array([0.0, 2.45, np.pi, -2.45])
        parts = np.array([16.0, 13.0, 7.0, 13.0])[:, None]
        shape = np.stack([-np.sin(heading + turns), -np.cos(heading + turns)], -1)
        canvas.polygon(at + shape * (parts + 2), WHITE)
        canvas.polygon(at + shape * parts, TEXT)
    else:
        canvas.diamond(at, 11, TEXT)
        canvas.dot(at, 3, WHITE, outline=TEXT)
    below = at + np.array([0, 30])
    canvas.text(name, below, TEXT, size=12.5, align=0.5, bold=True, halo=GROUND)


def projected_edges(camera: CameraModel, boxes: Boxes3D) -> Array:
    """Edges of boxes in an image, cut at a near plane.

    Args:
        camera: Calibration for the image.
        boxes: n boxes in the agent frame of the camera.

    Returns:
        (n, 12, 2, 2) pixels of both ends, pixel (0, 0) being a pixel centre; NaN for an edge
        behind the camera.
    """
    ends = boxes.corners()[:, BOX_EDGES]  # (n, 12, 2, 3)
    _, depth = camera.project(ends)
    gap = depth[..., ::-1] - depth
    # An end that is too near moves along its edge to the near plane; depth is linear on it.
    with np.errstate(divide='ignore', invalid='ignore'):
        share = np.where(depth < _NEAR, (_NEAR - depth) / gap, 0.0)
    behind = np.all(depth < _NEAR, axis=-1)
    share = np.where(behind[..., None], 0.0, share)
    pixels, _ = camera.project(ends + share[..., None] * (ends[..., ::-1, :] - ends))
    return np.where(behind[..., None, None], np.nan, pixels)


def draw_boxes(
    canvas: Canvas,
    camera: CameraModel,
    boxes: Boxes3D,
    colours: Sequence[Colour],
    names: Sequence[str],
    place: tuple[float, float, float],
    opacity: Sequence[float],
) -> None:
    """Draw boxes and their names on an image that lies on the canvas.

    Args:
        canvas: What to draw on; the image fills it.
        camera: Calibration for the image.
        boxes: n boxes in the agent frame of the camera.
        colours: n RGB.
        names: n labels, shown above the boxes.
        place: x and y of the image on the canvas and its scale, canvas pixels per image pixel.
        opacity: n of the lines.
    """
    x, y, scale = place
    edges = projected_edges(camera, boxes)
    far_first = np.argsort(-np.linalg.norm(boxes.centers - camera.position, axis=-1))
    for i in far_first:
        seen = edges[i][np.isfinite(edges[i]).all((-1, -2))]
        if not len(seen) or not _meets_image(seen, camera):
            continue
        # A pixel centre of the image is half a pixel into the square that it covers.
        lines = (seen + 0.5) * scale + [x, y]
        for shade, width in (((0, 0, 0), 3.2), (colours[i], 1.8)):
            for line in lines:
                canvas.line(line, shade, width, alpha=opacity[i] * (0.45 if width > 3 else 1))
        left, top = lines.reshape(-1, 2).min(0)
        inside = (max(left, x + 4), max(top - 4, y + 14))
        canvas.text(names[i], inside, colours[i], size=12, bold=True, halo=(20, 20, 20))


def _meets_image(edges: Array, camera: CameraModel) -> bool:
    low, high = edges.reshape(-1, 2).min(0), edges.reshape(-1, 2).max(0)
    return bool((high > 0).all() and (low < [camera.width - 1, camera.height - 1]).all())
