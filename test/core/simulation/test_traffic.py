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

"""Traffic keeps its distance, its lane and the lights; overlaps are checked with OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cooptrack_core.simulation.actors import STEP_S
from cooptrack_core.simulation.layout import make_layout, road_clearance
from cooptrack_core.simulation.traffic import Demand, Traffic


@pytest.fixture(scope='module', params=[0, 1, 2, 3])
def traffic(request) -> Traffic:
    rng = np.random.default_rng(request.param)
    traffic = Traffic(make_layout(rng), Demand(), 30.0, rng)
    for _ in range(150):
        traffic.step()
    return traffic


def _rectangles(traffic: Traffic, step: int):
    for actor in traffic.everyone():
        state = actor.state_at(step)
        if state is not None:
            x, y, yaw, _ = state
            size = tuple(float(v) for v in actor.body.size[:2])
            yield actor, ((x, y), size, float(np.degrees(yaw)))


def test_nobody_drives_through_anybody(traffic):
    for step in range(0, 150, 10):
        bodies = list(_rectangles(traffic, step))
        for i, (a, first) in enumerate(bodies):
            for b, second in bodies[i + 1 :]:
                if np.hypot(first[0][0] - second[0][0], first[0][1] - second[0][1]) > 14:
                    continue
                kind, corners = cv2.rotatedRectangleIntersection(first, second)
                area = 0.0 if kind == 0 else cv2.contourArea(cv2.convexHull(corners))
                assert area < 0.02, (step, a.kind, b.kind, a.track_id, b.track_id)


def test_vehicles_stay_on_the_road_and_walkers_off_it_but_at_crosswalks(traffic):
    for step in (20, 80, 140):
        for actor, ((x, y), _, _) in _rectangles(traffic, step):
            clearance = road_clearance(traffic.layout, np.array([[x, y]]))[0]
            if actor.kind != 'pedestrian':
                on_the_junction = np.hypot(x, y) < max(a.mouth for a in traffic.layout.arms) + 2
                assert clearance < -0.3 or on_the_junction
            elif actor.walk_arm < 0:
                assert clearance > 0.2


def test_speed_follows_position_and_nobody_reverses(traffic):
    for actor in traffic.everyone():
        s = np.array([r[0] for r in actor.record])
        v = np.array([r[1] for r in actor.record])
        assert (np.diff(s) >= 0).all()
        assert (v <= 14.0).all()
        steady = np.abs(np.diff(s) / STEP_S - (v[1:] + v[:-1]) / 2) < 1e-6
        assert steady.mean() > 0.9 if len(steady) > 20 else True


def test_nobody_crosses_the_stop_line_at_red():
    rng = np.random.default_rng(21)
    layout = make_layout(rng)
    while not layout.signals:
        layout = make_layout(rng)
    traffic = Traffic(layout, Demand(vehicles_per_lane=3), 30.0, rng)
    crossings = 0
    for _ in range(250):
        before = {a.track_id: (a.s, a.holds) for a in traffic.actors}
        traffic.step()
        for actor in traffic.actors:
            if actor.route < 0 or actor.track_id not in before:
                continue
            nose = float(actor.body.size[0]) / 2
            s, held = before[actor.track_id]
            if s + nose < actor.path.stop <= actor.s + nose:
                crossings += 1
                # Who was let in may roll over the line a moment after the light has changed.
                assert actor.holds or held
    assert crossings > 3


def test_most_of_the_traffic_moves(traffic):
    moving = [a for a in traffic.everyone() if a.route >= 0 and len(a.record) > 50]
    travelled = [a.record[-1][0] - a.record[0][0] for a in moving]
    assert len(moving) >= 5
    assert np.mean(np.array(travelled) > 5.0) > 0.5


def test_conflicting_ways_are_never_used_at_once(traffic):
    # The lock is kept until the rear has left, so two holders never conflict.
    inside = [
        a for a in traffic.actors
        if a.route >= 0 and a.holds and a.path.stop < a.s and a.s < a.path.clear
    ]  # fmt: skip
    for i, a in enumerate(inside):
        for b in inside[i + 1 :]:
            assert not traffic.layout.conflicts[a.route, b.route]
