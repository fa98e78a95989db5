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

"""Junctions: arms with lanes, turns through the middle, crosswalks, sidewalks, buildings' places.

Site frame: origin in the middle of the junction, z up, road surface at z = 0, metres. Traffic
keeps to the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rng = np.random.Generator

REACH = 110.0  # how far the arms go from the middle
_STEP = 0.5


@dataclass(frozen=True, eq=False)
class Path:
    """A line to follow.

    Attributes:
        points: (n, 2) every half metre.
        stop: Arc length of the stop line (vehicles) or kerb (walkers); inf if none.
        clear: Arc length at which the junction or crosswalk is left again.
    """

    points: Array
    stop: float = np.inf
    clear: float = np.inf

    @property
    def length(self) -> float:
        """Arc length, metres."""
        return (len(self.points) - 1) * _STEP

    def at(self, s: Array | float) -> Array:
        """Points (..., 2) at arc lengths; beyond the ends the line goes on straight."""
        arc = np.asarray(s, np.float64) / _STEP
        low = np.minimum(np.maximum(arc.astype(np.int64), 0), len(self.points) - 2)
        share = (arc - low)[..., None]
        return np.asarray(self.points[low] * (1 - share) + self.points[low + 1] * share)

    def place(self, s: float) -> tuple[float, float]:
        """The point at one arc length; as ``at``, but quick for a single number."""
        arc = s / _STEP
        low = min(max(int(arc), 0), len(self.points) - 2)
        share = arc - low
        (x0, y0), (x1, y1) = self._listed[low], self._listed[low + 1]
        return x0 + (x1 - x0) * share, y0 + (y1 - y0) * share

    @cached_property
    def _listed(self) -> list[tuple[float, float]]:
        return [(x, y) for x, y in self.points.tolist()]

    def heading(self, s: Array | float) -> Array:
        """Heading (...) at arc lengths, rad."""
        d = self.at(np.asarray(s) + 0.5) - self.at(np.asarray(s) - 0.5)
        return np.asarray(np.arctan2(d[..., 1], d[..., 0]))


def resample(points: Array) -> Array:
    """Put points every half metre along a polyline (its length is trimmed to half metres)."""
    arc = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    s = np.arange(0, arc[-1], _STEP)
    return np.stack([np.interp(s, arc, points[:, i]) for i in (0, 1)], 1)


@dataclass(frozen=True, eq=False)
class Arm:
    """One road that leads into the junction.

    Attributes:
        line: Centre line, from the middle outwards.
        mouth: Distance from the middle at which the junction area begins.
        lanes_in: Number of lanes towards the junction (right of the centre line, looking in).
        lanes_out: Number of lanes away from it.
        lane_width: Metres.
        parking_in: Width of the parking strip beside the incoming lanes, 0 if none.
        parking_out: The same beside the outgoing lanes.
        signal_group: Which green phase the arm belongs to.
    """

    line: Path
    mouth: float
    lanes_in: int
    lanes_out: int
    lane_width: float
    parking_in: float
    parking_out: float
    signal_group: int

    @property
    def half_in(self) -> float:
        """Centre line to kerb on the incoming side, metres."""
        return self.lanes_in * self.lane_width + self.parking_in

    @property
    def half_out(self) -> float:
        """Centre line to kerb on the outgoing side, metres."""
        return self.lanes_out * self.lane_width + self.parking_out

    def offset(self, s: Array | float, aside: Array | float) -> Array:
        """Points at arc length ``s``, ``aside`` metres left of the outward direction."""
        heading = self.line.heading(s)
        normal = np.stack([-np.sin(heading), np.cos(heading)], -1)
        return np.asarray(self.line.at(s) + np.asarray(aside)[..., None] * normal)


@dataclass(frozen=True, eq=False)
class Route:
    """A vehicle's way: in on one lane, through the middle, out on another.

    Attributes:
        path: The line; ``stop`` and ``clear`` bound the junction.
        arm_in: Index of the arm it comes from.
        lane_in: Lane on that arm, 0 next to the centre line.
        arm_out: Index of the arm it leaves by.
        lane_out: Lane on that arm.
        turn: Change of heading in the junction, rad, left positive.
        speed_limits: (n,) m/s per point of the path, from its curvature, braking included.
    """

    path: Path
    arm_in: int
    lane_in: int
    arm_out: int
    lane_out: int
    turn: float
    speed_limits: Array


@dataclass(frozen=True, eq=False)
class Layout:
    """One junction.

    Attributes:
        kind: ``crossing``, ``tee`` or ``skewed``.
        arms: In order of their angle.
        routes: All ways through.
        conflicts: (r, r) bool, routes whose ways in the junction come too close.
        signals: Whether traffic lights work.
        sidewalk: Width of the sidewalks, metres.
        walks: Ways of pedestrians.
        walk_arms: Arm whose crosswalk a walk uses, -1 if none.
    """

    kind: str
    arms: tuple[Arm, ...]
    routes: tuple[Route, ...]
    conflicts: NDArray[np.bool_]
    signals: bool
    sidewalk: float
    walks: tuple[Path, ...]
    walk_arms: tuple[int, ...]


def make_layout(rng: Rng) -> Layout:
    """Draw a junction."""
    kind = str(rng.choice(['crossing', 'tee', 'skewed'], p=[0.5, 0.25, 0.25]))
    turn = rng.uniform(-np.pi, np.pi)
    spread = {'crossing': 0.08, 'tee': 0.1, 'skewed': 0.32}[kind]
    angles = turn + np.arange(4) * np.pi / 2 + rng.uniform(-spread, spread, 4)
    if kind == 'tee':
        angles = angles[:3]
    major = int(rng.integers(2))
    lanes = [int(rng.choice([1, 2, 3], p=[0.3, 0.5, 0.2])), int(rng.choice([1, 2], p=[0.6, 0.4]))]
    lane_width = rng.uniform(3.25, 3.6)
    parking = [2.3 if rng.random() < p else 0.0 for p in (0.65, 0.65, 0.65, 0.65) for _ in (0, 1)]
    lines = [_arm_line(rng, angle) for angle in angles]
    arms: list[Arm] = []
    for k, line in enumerate(lines):
        count = lanes[(k + major) % 2]
        arms.append(
            Arm(line, 0.0, count, count, lane_width, parking[2 * k], parking[2 * k + 1], k % 2)
        )
    arms = _with_mouths(arms)
    sidewalk = rng.uniform(2.6, 4.2)
    routes = _routes(arms)
    walks, walk_arms = _walks(rng, arms, sidewalk)
    return Layout(
        kind,
        tuple(arms),
        tuple(routes),
        _conflicts(routes),
        bool(rng.random() < 0.65),
        sidewalk,
        tuple(walks),
        tuple(walk_arms),
    )


def _arm_line(rng: Rng, angle: float) -> Path:
    bend = rng.uniform(-0.012, 0.012) if rng.random() < 0.5 else 0.0
    s = np.arange(0, REACH + _STEP, _STEP)
    heading = angle + bend * np.clip(s - 24.0, 0, 45.0)
    steps = np.stack([np.cos(heading), np.sin(heading)], 1) * _STEP
    return Path(np.concatenate([[[0.0, 0.0]], np.cumsum(steps, 0)])[: len(s)])


def _with_mouths(arms: list[Arm]) -> list[Arm]:
    """Set each mouth where the kerbs of neighbouring arms part, plus a corner radius."""
    out = []
    for k, arm in enumerate(arms):
        mouth = 6.0
        direction = float(arm.line.heading(0.5))
        for j, other in enumerate(arms):
            if j == k:
                continue
            gap = (float(other.line.heading(0.5)) - direction + np.pi) % (2 * np.pi) - np.pi
            if abs(gap) > 2.6:
                continue
            mine = arm.half_out if gap < 0 else arm.half_in
            theirs = other.half_in if gap < 0 else other.half_out
            # Two half planes with normals 'gap' apart meet at this distance along the arm.
            meet = (theirs + mine * np.cos(gap)) / abs(np.sin(gap))
            mouth = max(mouth, meet + 3.0)
        out.append(
            Arm(
                arm.line, mouth, arm.lanes_in, arm.lanes_out, arm.lane_width,
                arm.parking_in, arm.parking_out, arm.signal_group,
            )
        )  # fmt: skip
    return out


# Outward direction: incoming traffic drives on its left side (positive aside), outgoing on the
# right (negative aside), because an incoming driver looks the other way.
CROSSWALK = (1.2, 4.2)  # from the mouth outwards, metres
STOP_LINE = 5.4


def _routes(arms: list[Arm]) -> list[Route]:
    routes = []
    for a, source in enumerate(arms):
        for b, target in enumerate(arms):
            if a == b:
                continue
            inward = float(source.line.heading(0.5)) + np.pi
            turn = (float(target.line.heading(0.5)) - inward + np.pi) % (2 * np.pi) - np.pi
            for lane in range(source.lanes_in):
                if turn > 0.7 and lane != 0:
                    continue
                if turn < -0.7 and lane != source.lanes_in - 1:
                    continue
                if turn < -0.7:
                    lane_out = target.lanes_out - 1
                else:
                    lane_out = min(lane, target.lanes_out - 1)
                    if abs(turn) <= 0.7 and lane > target.lanes_out - 1:
                        continue
                routes.append(_route(source, target, a, lane, b, lane_out, turn))
    return routes


def _route(
    source: Arm, target: Arm, a: int, lane: int, b: int, lane_out: int, turn: float
) -> Route:
    s_in = np.arange(REACH, source.mouth - 0.01, -_STEP)
    way_in = source.offset(s_in, np.full(len(s_in), (lane + 0.5) * source.lane_width))
    s_out = np.arange(target.mouth, REACH, _STEP)
    way_out = target.offset(s_out, np.full(len(s_out), -(lane_out + 0.5) * target.lane_width))
    p0, p3 = way_in[-1], way_out[0]
    d0 = (way_in[-1] - way_in[-2]) / np.linalg.norm(way_in[-1] - way_in[-2])
    d3 = (way_out[1] - way_out[0]) / np.linalg.norm(way_out[1] - way_out[0])
    reach = np.linalg.norm(p3 - p0) * (0.36 + 0.05 * abs(turn))
    t = np.linspace(0, 1, 60)[1:-1, None]
    p1, p2 = p0 + reach * d0, p3 - reach * d3
    middle = (1 - t) ** 3 * p0 + 3 * t * (1 - t) ** 2 * p1 + 3 * t**2 * (1 - t) * p2 + t**3 * p3
    points = resample(np.concatenate([way_in, middle, way_out]))
    length_in = REACH - source.mouth
    span = np.linalg.norm(np.diff(np.concatenate([[p0], middle, [p3]]), axis=0), axis=1).sum()
    path = Path(points, length_in - STOP_LINE, length_in + float(span))
    return Route(path, a, lane, b, lane_out, turn, _speed_limits(points))


def _speed_limits(points: Array) -> Array:
    d = np.diff(points, axis=0, append=points[-1:] * 2 - points[-2:-1])
    heading = np.unwrap(np.arctan2(d[:, 1], d[:, 0]))
    curvature = np.abs(np.convolve(np.gradient(heading, _STEP), np.ones(5) / 5, 'same'))
    curvature[:3] = curvature[-3:] = 0
    v2 = 2.2 / np.maximum(curvature, 1e-3)
    for i in range(len(v2) - 2, -1, -1):  # brake early enough, 1.5 m/s^2
        v2[i] = min(v2[i], v2[i + 1] + 2 * 1.5 * _STEP)
    return np.asarray(np.sqrt(v2))


def _conflicts(routes: list[Route]) -> NDArray[np.bool_]:
    n = len(routes)
    insides = []
    for route in routes:
        s = np.arange(route.path.stop + STOP_LINE - 1, route.path.clear + 4.0, 1.0)
        insides.append(route.path.at(s))
    matrix = np.zeros((n, n), bool)
    for i in range(n):
        for j in range(i + 1, n):
            a, b = routes[i], routes[j]
            if a.arm_in == b.arm_in and a.lane_in == b.lane_in:
                continue  # car following handles one lane
            gap = np.linalg.norm(insides[i][:, None] - insides[j][None], axis=-1).min()
            matrix[i, j] = matrix[j, i] = gap < 2.9
    return matrix


def _walks(rng: Rng, arms: list[Arm], sidewalk: float) -> tuple[list[Path], list[int]]:
    """Sidewalk strolls and crosswalk crossings, several lateral slots each."""
    walks, walk_arms = [], []
    for k, arm in enumerate(arms):
        end = rng.uniform(45, 70)
        for slot in np.linspace(0.5, sidewalk - 0.5, 4):
            cross = arm.mouth + rng.uniform(CROSSWALK[0] + 0.4, CROSSWALK[1] - 0.4)
            s = np.arange(end, cross, -_STEP)
            left = arm.offset(s, np.full(len(s), arm.half_in + slot))
            right = arm.offset(s, np.full(len(s), -arm.half_out - slot))
            over = resample(np.stack([left[-1], right[-1]]))
            crossing = resample(np.concatenate([left, over[1:-1], right[::-1]]))
            kerb = len(s) * _STEP + slot - 0.9
            width = arm.half_in + arm.half_out
            for points in (crossing, crossing[::-1]):
                walks.append(Path(np.ascontiguousarray(points), kerb, kerb + width + 1.0))
                walk_arms.append(k)
            for points in (left, right, left[::-1], right[::-1]):
                walks.append(Path(resample(np.ascontiguousarray(points))))
                walk_arms.append(-1)
    return walks, walk_arms


def road_clearance(layout: Layout, points: Array) -> Array:
    """Distance (n,) of points (n, 2) to the nearest kerb; negative on a road."""
    best = np.full(len(points), np.inf)
    for arm in layout.arms:
        line = arm.line.points[::4]
        d2 = ((points[:, None] - line[None]) ** 2).sum(-1)
        near = d2.argmin(1)
        heading = arm.line.heading(near * 4 * _STEP)
        d = points - line[near]
        aside = -np.sin(heading) * d[:, 0] + np.cos(heading) * d[:, 1]
        width = np.where(aside > 0, arm.half_in, arm.half_out)
        best = np.minimum(best, np.sqrt(d2.min(1)) - width)
    return best
