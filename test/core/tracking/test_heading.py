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

"""What drives heads where it goes; what stands, walks, backs up or jumps keeps its heading."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.geometry import SE3, Boxes3D
from cooptrack_core.geometry.se3 import wrap_angle
from cooptrack_core.structures import TrackedObjects
from cooptrack_core.tracking.heading import TravelHeadings

LAG = np.radians(25)  # by which the network turns the boxes too late
angles = st.floats(-np.pi, np.pi)


def tracks(
    ms: int, places: np.ndarray, yaws: np.ndarray, velocities: np.ndarray, pose: SE3
) -> TrackedObjects:
    """Objects given in the world, as tracks of an ego that stands at ``pose``."""
    n = len(places)
    world = Boxes3D(
        np.c_[places, np.zeros(n)],
        np.tile([4.5, 1.9, 1.6], (n, 1)),
        np.asarray(yaws, dtype=float),
        np.asarray(velocities, dtype=float),
    )
    return TrackedObjects(
        'scene', str(ms), ms * 1_000_000, pose, world.transformed(pose.inverse()),
        np.full(n, 0.9), np.zeros(n, dtype=np.int64), np.arange(n), np.ones(n, dtype=np.int64),
        ((),) * n,
    )  # fmt: skip


def circle(ms: int, speed: float, turn: float, start: float) -> tuple[np.ndarray, float]:
    """Place and heading on a circle, ``turn`` rad/s."""
    yaw, radius = start + turn * ms / 1e3, speed / turn
    return radius * np.array([np.sin(yaw) - np.sin(start), np.cos(start) - np.cos(yaw)]), yaw


def drive(
    pose: Callable[[int], SE3], speed: float = 8.0, turn: float = 0.5, start: float = 0.0,
    lag: float = LAG, steps: int = 15, period: int = 100,
) -> Iterator[tuple[TrackedObjects, TrackedObjects, float]]:  # fmt: skip
    """A turning car, its box ``lag`` behind: track before and after, and the true heading."""
    memory = TravelHeadings()
    for ms in range(0, steps * period, period):
        place, yaw = circle(ms, speed, turn, start)
        believed = yaw - lag * np.sign(turn)
        velocity = speed * np.array([[np.cos(believed), np.sin(believed)]])
        before = tracks(ms, place[None], np.array([believed]), velocity, pose(ms))
        yield before, memory.steered(before), yaw


def standing(ms: int) -> SE3:
    return SE3.identity()


def error(found: TrackedObjects, yaw: float) -> float:
    world = found.boxes.yaws[0] + found.world_SE3_agent.yaw
    return float(abs(wrap_angle(world - yaw)))


@given(angles, st.sampled_from([-0.6, -0.3, 0.3, 0.6]), st.floats(4, 15))
def test_a_turning_car_heads_where_it_goes(start: float, turn: float, speed: float) -> None:
    *_, (before, after, yaw) = drive(standing, speed, turn, start)
    assert error(before, yaw) == pytest.approx(LAG)
    # The way is that of the middle of the window, 0.3 s ago.
    assert error(after, yaw) == pytest.approx(0.3 * abs(turn), abs=0.01)
    # Its velocity turns with it, and nothing else changes.
    turned = wrap_angle(after.boxes.yaws - before.boxes.yaws)
    for boxes in (before.boxes, after.boxes):
        assert np.linalg.norm(boxes.velocities) == pytest.approx(speed)
        direction = np.arctan2(*boxes.velocities[0, ::-1])
        assert wrap_angle(direction - boxes.yaws[0]) == pytest.approx(0, abs=1e-9)
    assert abs(turned[0]) == pytest.approx(LAG - 0.3 * abs(turn), abs=0.01)
    np.testing.assert_array_equal(after.boxes.centers, before.boxes.centers)
    np.testing.assert_array_equal(after.scores, before.scores)


@given(angles, angles, st.floats(-10, 10))
def test_the_motion_of_the_ego_does_not_count(start: float, ego_yaw: float, speed: float) -> None:
    def moving(ms: int) -> SE3:
        return SE3.from_yaw(ego_yaw + 0.4 * ms / 1e3, [4e5 + speed * ms / 1e3, 3e6, 20.0])

    still = [error(after, yaw) for _, after, yaw in drive(standing, start=start)]
    moved = [error(after, yaw) for _, after, yaw in drive(moving, start=start)]
    np.testing.assert_allclose(moved, still, atol=1e-6)


def test_nothing_is_changed_before_there_is_a_way() -> None:
    changed = [before is not after for before, after, _ in drive(standing)]
    assert changed == [False] * 3 + [True] * 12
    slow = [before is not after for before, after, _ in drive(standing, speed=1.9)]
    assert not any(slow)
    assert not any(before is not after for before, after, _ in drive(standing, period=250))


@pytest.mark.parametrize('lag', [0.0, np.pi, np.pi / 2])
def test_what_heads_there_already_backs_up_or_is_something_else_stays(lag: float) -> None:
    for before, after, _ in drive(standing, turn=1e-9, lag=lag):
        np.testing.assert_allclose(after.boxes.yaws, before.boxes.yaws, atol=1e-6)


def test_a_track_that_jumps_keeps_its_heading() -> None:
    memory, random = TravelHeadings(), np.random.default_rng(0)
    for ms in range(0, 3000, 100):
        places = np.r_[random.normal(0, 2.0, (1, 2)), [[0.8 * ms / 100, 30.0]]]
        before = tracks(ms, places, [0.3, 0.3], [[3.0, 0], [8.0, 0]], SE3.identity())
        after = memory.steered(before)
        assert after.boxes.yaws[0] == before.boxes.yaws[0]
        np.testing.assert_array_equal(after.boxes.velocities[0], before.boxes.velocities[0])
    assert after.boxes.yaws[1] == pytest.approx(0, abs=1e-9), 'the even one beside it is turned'


def test_unknown_velocities_stay_unknown_and_no_track_is_no_trouble() -> None:
    memory = TravelHeadings()
    for ms in range(0, 1000, 100):
        places = np.array([[ms / 100, 0.0], [ms / 100, 9.0]])
        velocities = np.array([[np.nan, np.nan], [10.0, 0]])
        after = memory.steered(tracks(ms, places, [0.4, 0.4], velocities, SE3.identity()))
    assert after.boxes.yaws == pytest.approx([0.4, 0.0])
    assert np.isnan(after.boxes.velocities[0]).all()
    none = after.select(np.zeros(2, dtype=bool))
    assert len(memory.steered(dataclasses.replace(none, stamp_ns=10**9))) == 0


def test_tracks_are_forgotten_by_a_reset_and_when_they_are_gone() -> None:
    ways = [before for before, _, _ in drive(standing)]
    memory = TravelHeadings()
    for one in ways[:10]:
        memory.steered(one)
    memory.reset()
    assert memory.steered(ways[10]) is ways[10]
    for one in ways[:10]:
        memory.steered(one)
    late = dataclasses.replace(ways[10], stamp_ns=ways[10].stamp_ns + 10**9)
    assert memory.steered(late) is late
    assert len(memory._ways) == 1 and len(memory._ways[0]) == 1
