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

"""Traffic: road users that follow their lines, keep distance, yield, turn, stop.

Car following is the intelligent driver model (Treiber, Hennecke, Helbing 2000). Who may enter the
junction is decided by lights and by a lock: nobody enters while a conflicting way is taken.
A last check refuses every move that would make two bodies overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.simulation.actors import STEP_S, Actor, hits, overlapping
from cooptrack_core.simulation.bodies import MAKERS
from cooptrack_core.simulation.layout import Arm, Layout, Path

Array = NDArray[np.float64]
Rng = np.random.Generator

_LOOK = np.arange(0.3, 34.0, 1.3)
_WALK_LOOK = np.arange(0.2, 1.9, 0.4)
_GREEN_S, _RED_S = 11.0, 2.5


@dataclass(frozen=True)
class Demand:
    """How much traffic there is.

    Attributes:
        vehicles_per_lane: Expected moving vehicles per incoming lane at the start.
        arrivals_per_lane_s: New vehicles per incoming lane and second.
        pedestrians: Expected number of pedestrians.
        parked_share: Share of parking places taken.
        mix: Weights of car, van, truck, bus, cyclist.
    """

    vehicles_per_lane: float = 3.0
    arrivals_per_lane_s: float = 0.12
    pedestrians: float = 12.0
    parked_share: float = 0.28
    mix: tuple[float, float, float, float, float] = (0.50, 0.10, 0.08, 0.06, 0.26)


class Traffic:
    """The road users of one scene, stepped through time."""

    def __init__(self, layout: Layout, demand: Demand, before_line: float, rng: Rng) -> None:
        """Fill the junction.

        Args:
            layout: The junction.
            demand: How much traffic.
            before_line: Metres the ego, the vehicle that will carry the sensors, starts before
                its stop line.
            rng: All chance comes from here.
        """
        self.layout = layout
        self.demand = demand
        self.rng = rng
        self.actors: list[Actor] = []
        self.gone: list[Actor] = []
        self.step_count = 0
        self._clock = rng.uniform(0, 2 * (_GREEN_S + _RED_S))
        self._next_id = 1
        self._lanes = sorted({(r.arm_in, r.lane_in) for r in layout.routes})
        self.ego = self._place_ego(before_line)
        self._fill(before_line)

    def _make(self, kind: str, path: Path, **values: float) -> Actor:
        actor = Actor(
            self._next_id, MAKERS[kind](self.rng), kind, path,
            route=int(values.get('route', -1)), walk_arm=int(values.get('walk_arm', -1)),
            s=values['s'], v=values.get('v', 0.0), wish=values.get('wish', 0.0),
            aside=values.get('aside', 0.0), first=self.step_count,
        )  # fmt: skip
        self._next_id += 1
        return actor

    def _place_ego(self, before_line: float) -> Actor:
        straight = [i for i, r in enumerate(self.layout.routes) if abs(r.turn) < 0.7]
        every = list(range(len(self.layout.routes)))
        choice = straight if straight and self.rng.random() < 0.55 else every
        index = int(self.rng.choice(choice))
        route = self.layout.routes[index]
        if self.layout.signals and self.rng.random() < 0.75:
            group = self.layout.arms[route.arm_in].signal_group
            self._clock = group * (_GREEN_S + _RED_S) + self.rng.uniform(0, 5)
        s = max(4.0, route.path.stop - before_line)
        ego = self._make('car', route.path, route=index, s=s, wish=self.rng.uniform(7, 11))
        ego.v = min(7.0, self._limit(ego))
        ego.holds = bool(s + ego.body.size[0] / 2 > route.path.stop)
        self.actors.append(ego)
        return ego

    def _fill(self, before_line: float) -> None:
        rng, arms = self.rng, self.layout.arms
        ego_arm = self.layout.routes[self.ego.route].arm_in
        for k, arm in enumerate(arms):
            # What stays behind the ego is in nobody's camera; the street starts beside it.
            end = min(75.0, arm.mouth + before_line + 6.0) if k == ego_arm else 75.0
            for side in (1.0, -1.0):
                width = arm.parking_in if side > 0 else arm.parking_out
                half = arm.half_in if side > 0 else arm.half_out
                s = arm.mouth + rng.uniform(7.5, 10.0)
                while width and s < end:
                    if rng.random() < self.demand.parked_share:
                        kind = str(rng.choice(['car', 'van', 'truck'], p=[0.66, 0.17, 0.17]))
                        self._park(arm.offset(s, side * (half - width / 2)), s, arm, side, kind)
                        s += 3.0 if kind == 'truck' else 0.5
                    s += rng.uniform(5.8, 7.5)
        for k, lane in self._lanes:
            for _ in range(int(rng.poisson(self.demand.vehicles_per_lane))):
                s = rng.uniform(5.0, 140.0)
                if k == ego_arm and s < self.ego.s and rng.random() < 0.7:
                    continue  # few follow the ego, where no camera looks
                self._enter(k, lane, s)
        for _ in range(int(rng.poisson(self.demand.pedestrians))):
            self._walk()

    def _park(self, at: Array, s: float, arm: Arm, side: float, kind: str) -> None:
        heading = float(arm.line.heading(s)) + (np.pi if side > 0 else 0.0)
        heading += self.rng.normal(0, 0.02)
        d = np.array([np.cos(heading), np.sin(heading)])
        line = Path(at + np.arange(-10, 10.5, 0.5)[:, None] * d)
        actor = self._make(kind, line, s=10.0)
        if not self._overlaps(actor, actor.s):
            self.actors.append(actor)

    def _enter(self, arm: int, lane: int, s: float) -> None:
        rng = self.rng
        fitting = [
            i for i, r in enumerate(self.layout.routes) if (r.arm_in, r.lane_in) == (arm, lane)
        ]
        index = int(rng.choice(fitting))
        route = self.layout.routes[index]
        mix = np.array(self.demand.mix) / sum(self.demand.mix)
        kind = str(rng.choice(['car', 'van', 'truck', 'bus', 'cyclist'], p=mix))
        wish, aside = rng.uniform(7.5, 13.0), 0.0
        if kind in ('truck', 'bus'):
            wish = min(wish, 9.5)
        if kind == 'cyclist':
            if lane != self.layout.arms[arm].lanes_in - 1 or route.turn > 0.7:
                kind = 'car'
            else:
                wish, aside = rng.uniform(3.5, 6.0), -self.layout.arms[arm].lane_width / 2 + 0.7
        actor = self._make(kind, route.path, route=index, s=s, wish=wish, aside=aside)
        actor.v = min(0.8 * wish, self._limit(actor))
        half = float(actor.body.size[0]) / 2
        if route.path.stop - half < s < route.path.clear + half:
            return  # nobody starts inside the junction
        actor.holds = s > route.path.clear
        # Room to brake to the one ahead, and for the one behind.
        for distance in (-8.0, -4.0, 0.0, 4.0, 8.0):
            if self._overlaps(actor, s + distance):
                return
        self.actors.append(actor)

    def _walk(self) -> None:
        index = int(self.rng.integers(len(self.layout.walks)))
        path = self.layout.walks[index]
        s = self.rng.uniform(1.0, path.length - 1.0)
        if path.stop - 0.5 < s < path.clear:
            s = path.stop - self.rng.uniform(0.5, 6.0)
        wish = self.rng.uniform(0.9, 1.7)
        arm = self.layout.walk_arms[index]
        actor = self._make('pedestrian', path, walk_arm=arm, s=s, v=wish, wish=wish)
        actor.holds = s > path.clear
        if not self._overlaps(actor, s):
            self.actors.append(actor)

    def _limit(self, actor: Actor) -> float:
        if actor.route < 0:
            return np.inf
        limits = self.layout.routes[actor.route].speed_limits
        return float(limits[min(max(int(actor.s * 2), 0), len(limits) - 1)])

    def green(self, arm: int) -> bool:
        """Whether vehicles of this arm may go."""
        if not self.layout.signals:
            return True
        period = _GREEN_S + _RED_S
        phase = (self._clock + self.step_count * STEP_S) % (2 * period)
        group = self.layout.arms[arm].signal_group
        return group * period <= phase < group * period + _GREEN_S

    def step(self) -> None:
        """Advance everybody by STEP_S and record where they are."""
        for actor in self.actors:
            actor.record.append((actor.s, actor.v))
        self.step_count += 1
        self._grant()
        poses = np.array([a.pose(a.s) for a in self.actors]).reshape(-1, 3)
        sizes = np.array([a.body.size[:2] for a in self.actors]).reshape(-1, 2)
        speeds = np.array([a.v for a in self.actors])
        moving = [i for i, a in enumerate(self.actors) if not a.parked]
        proposals = poses.copy()
        plan: dict[int, tuple[float, float]] = {}
        for i, gap, leader in self._gaps(moving, poses, sizes, speeds):
            actor = self.actors[i]
            v = max(0.0, actor.v + STEP_S * self._acceleration(actor, gap, leader))
            s = actor.s + 0.5 * (actor.v + v) * STEP_S
            plan[i] = (s, v)
            proposals[i] = actor.pose(s)
        clash = overlapping(proposals, sizes)
        for i, (s, v) in plan.items():
            actor = self.actors[i]
            if clash[i].any():  # careful pass: against where the others are by now
                others = np.delete(np.arange(len(poses)), i)
                if hits(proposals[i], sizes[i], poses[others], sizes[others]).any():
                    actor.v = 0.0
                    continue
            poses[i] = proposals[i]
            actor.s, actor.v = s, v
        self._retire()
        for arm, lane in self._lanes:
            if self.rng.random() < self.demand.arrivals_per_lane_s * STEP_S:
                self._enter(arm, lane, 8.0)
        if self.rng.random() < 0.02 * self.demand.pedestrians * STEP_S:
            self._walk()

    def _grant(self) -> None:
        """Decide who may enter the junction or step on a crosswalk in this step."""
        routes, conflicts = self.layout.routes, self.layout.conflicts
        vehicles = [a for a in self.actors if a.route >= 0]
        inside = [a for a in vehicles if a.holds and a.s - a.body.size[0] / 2 < a.path.clear + 1]
        waiting = []
        for a in vehicles:
            to_line = a.path.stop - a.s - a.body.size[0] / 2
            if not a.holds and to_line < max(9.0, a.v**2 / 3.0 + 5):
                waiting.append((abs(routes[a.route].turn) > 0.7, to_line, a.track_id, a))
        for turning, to_line, _, a in sorted(waiting, key=lambda w: w[:3]):
            route = routes[a.route]
            if not self.green(route.arm_in) or to_line < -2.0:
                continue
            if any(conflicts[a.route, b.route] for b in inside):
                continue
            if any(
                b is not a
                and b.route >= 0
                and not b.holds
                and routes[b.route].arm_in == route.arm_in
                and routes[b.route].lane_in == route.lane_in
                and a.s < b.s
                for b in vehicles
            ):
                continue  # one is still waiting ahead in the same lane
            if (
                turning
                and route.turn > 0
                and any(
                    not b.holds
                    and conflicts[a.route, b.route]
                    and self.green(routes[b.route].arm_in)
                    and abs(routes[b.route].turn) <= 0.7
                    and b.v > 2.0
                    and b.path.stop - b.s < 4.0 * b.v
                    for b in vehicles
                )
            ):
                continue  # left turns give way to oncoming traffic
            a.holds = True
            inside.append(a)
        for a in self.actors:
            if a.walk_arm < 0 or a.holds or a.s < a.path.stop - 1.5:
                continue
            if self.layout.signals:
                soon = self.green(a.walk_arm)
            else:
                soon = any(
                    routes[b.route].arm_in == a.walk_arm and b.v > 2.0
                    and -8.0 < b.path.stop - b.s < 3.0 * b.v for b in vehicles
                )  # fmt: skip
            leaving = any(
                routes[b.route].arm_out == a.walk_arm and b.holds
                and -6.0 < b.s - b.path.clear < 8.0 for b in vehicles
            )  # fmt: skip
            a.holds = not (soon or leaving)

    def _gaps(
        self, moving: list[int], poses: Array, sizes: Array, speeds: Array
    ) -> list[tuple[int, float, float]]:
        """For each moving one the free metres ahead and the speed of who limits them."""
        if not moving:
            return []
        looks = np.full((len(moving), len(_LOOK), 2), np.inf)
        for row, i in enumerate(moving):
            a = self.actors[i]
            ahead = _WALK_LOOK if a.route < 0 else _LOOK
            s = a.s + a.body.size[0] / 2 + ahead
            points = a.path.at(s)
            if a.aside:
                h = a.path.heading(s)
                points = points + a.aside * np.stack([-np.sin(h), np.cos(h)], -1)
            looks[row, : len(ahead)] = points
        c, s_ = np.cos(poses[:, 2]), np.sin(poses[:, 2])
        with np.errstate(invalid='ignore'):
            d = looks[:, None] - poses[None, :, None, :2]
            along = np.abs(c[:, None] * d[..., 0] + s_[:, None] * d[..., 1])
            across = np.abs(-s_[:, None] * d[..., 0] + c[:, None] * d[..., 1])
        half = np.array([min(sizes[i, 1] / 2, 1.3) + 0.22 for i in moving])[:, None]
        length = sizes[None, :, 0] / 2 + 0.25 + 0.2 * (half - 0.5)
        width = sizes[None, :, 1] / 2 + half
        hit = (along < length[..., None]) & (across < width[..., None])
        hit[np.arange(len(moving)), moving] = False
        walker = np.array([self.actors[i].route < 0 for i in moving])
        walks = np.array([a.walk_arm >= 0 or a.kind == 'pedestrian' for a in self.actors])
        later = np.array(moving)[:, None] > np.arange(len(self.actors))[None]
        hit &= ~(walker[:, None] & walks[None] & ~later)[..., None]  # of two walkers one yields
        result = []
        for row, i in enumerate(moving):
            who, where = np.nonzero(hit[row])
            gap, leader = np.inf, 0.0
            if len(who):
                first = int(np.argmin(where))
                gap = float(_LOOK[where[first]]) if self.actors[i].route >= 0 else 0.0
                j = int(who[first])
                leader = max(0.0, speeds[j] * float(np.cos(poses[j, 2] - poses[i, 2])))
            result.append((i, gap, leader))
        return result

    def _acceleration(self, actor: Actor, gap: float, leader: float) -> float:
        if actor.route < 0:  # walkers stop at once and go at once
            held = not actor.holds and actor.walk_arm >= 0 and actor.s >= actor.path.stop - 0.3
            wish = 0.0 if gap < 2.0 or held else actor.wish
            return float(np.clip((wish - actor.v) / STEP_S, -12.0, 3.0))
        wish = max(0.5, min(actor.wish, self._limit(actor)))
        accel, brake, headway, standstill = 1.8, 2.2, 1.1, 2.0
        if actor.kind == 'cyclist':
            accel, standstill = 1.0, 1.2
        best = accel * (1 - (actor.v / wish) ** 4)
        limits = [(gap, leader)]
        if not actor.holds:
            to_line = actor.path.stop - actor.s - float(actor.body.size[0]) / 2
            limits.append((to_line + standstill - 0.6, 0.0))  # comes to rest 0.6 m before it
        for free, speed in limits:
            if np.isfinite(free):
                need = standstill + actor.v * headway
                need += actor.v * (actor.v - speed) / (2 * np.sqrt(accel * brake))
                best = min(
                    best,
                    accel
                    * (1 - (actor.v / wish) ** 4 - (max(need, standstill) / max(free, 0.1)) ** 2),
                )
        return float(np.clip(best, -7.0, accel))

    def _retire(self) -> None:
        staying: list[Actor] = []
        for actor in self.actors:
            done = not actor.parked and actor.s > actor.path.length - 3.0
            (self.gone if done and actor is not self.ego else staying).append(actor)
        self.actors = staying

    def _overlaps(self, actor: Actor, s: float) -> bool:
        if not self.actors:
            return False
        poses = np.array([a.pose(a.s) for a in self.actors])
        sizes = np.array([a.body.size[:2] for a in self.actors])
        here = np.array(actor.pose(s))
        return bool(hits(here, actor.body.size[:2] + 0.4, poses, sizes).any())

    def everyone(self) -> list[Actor]:
        """All actors that ever were, in order of their ids."""
        return sorted([*self.gone, *self.actors], key=lambda a: a.track_id)
