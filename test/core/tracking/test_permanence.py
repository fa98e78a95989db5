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

"""What stood still out of sight is reported on; what moved, came back or was replaced is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.geometry import SE3, Boxes3D
from cooptrack_core.structures import Source, TrackedObjects
from cooptrack_core.tracking.permanence import ObjectPermanence, PermanenceConfig

CONFIG = PermanenceConfig(seconds=5.0)


def reported(
    ms: int, world: dict[int, tuple[float, float]], pose: SE3, score: float = 0.8, label: int = 0
) -> TrackedObjects:
    """Tracks by id at places in the world, as an agent at ``pose`` reports them."""
    n = len(world)
    boxes = Boxes3D(
        np.c_[np.array([*world.values()]).reshape(n, 2), np.full(n, 0.5)],
        np.tile([4.5, 1.9, 1.6], (n, 1)),
        np.full(n, 0.3),
        np.zeros((n, 2)),
    ).transformed(pose.inverse())
    return TrackedObjects(
        'scene', str(ms), ms * 1_000_000, pose, boxes, np.full(n, score),
        np.full(n, label, dtype=np.int64), np.array([*world], dtype=np.int64),
        np.ones(n, dtype=np.int64), (('roadside',),) * n,
    )  # fmt: skip


def ahead(points: np.ndarray) -> np.ndarray:
    """The image shows all that is in front of the agent."""
    return points[:, 0] > 0


def pose(ms: int, speed: float = 10.0) -> SE3:
    """An agent that drives along x."""
    return SE3.from_yaw(0.0, [speed * ms / 1e3, 0.0, 0.0])


class Drive:
    """Frames of a drive past things, one after another."""

    def __init__(self, config: PermanenceConfig = CONFIG, speed: float = 10.0) -> None:
        self.memory, self.speed = ObjectPermanence(config), speed

    def __call__(
        self, ms: int, world: dict[int, tuple[float, float]], **kinds: float
    ) -> TrackedObjects:
        tracks = reported(ms, world, pose(ms, self.speed), **kinds)
        found, detections = self.memory.completed(tracks, tracks, ahead)
        assert found.track_ids.tolist() == detections.track_ids.tolist()
        return found

    def past(self, place: tuple[float, float], frames: int = 10, **kinds: float) -> int:
        """Report one thing for so many frames; returns the time of the next one."""
        for k in range(frames):
            found = self(100 * k, {7: place}, **kinds)
            assert found.track_ids.tolist() == [7]
        return 100 * frames


def places(found: TrackedObjects) -> np.ndarray:
    return found.world_SE3_agent.transform_points(found.boxes.centers)[:, :2]


@given(st.floats(-np.pi, np.pi), st.floats(-5, 5))
def test_a_car_that_was_passed_is_reported_where_it_stood(yaw: float, y: float) -> None:
    memory = ObjectPermanence(CONFIG)
    moved = SE3.from_yaw(yaw, [4e5, 3e6, 12.0])
    for k in range(30):
        tracks = reported(100 * k, {7: (8.0, y)} if k < 8 else {}, pose(100 * k))
        tracks = replace(tracks, world_SE3_agent=moved @ tracks.world_SE3_agent)
        found, _ = memory.completed(tracks, tracks, ahead)
    assert found.track_ids.tolist() == [7]
    assert found.sources.tolist() == [Source.REMEMBERED]
    assert found.remote_agents == (('roadside',),)
    assert found.scores[0] == pytest.approx(0.8)
    expected = pose(2900).inverse().transform_points(np.array([[8.0, y, 0.5]]))
    np.testing.assert_allclose(found.boxes.centers, expected, atol=1e-6)
    assert found.boxes.yaws[0] == pytest.approx(0.3)
    assert not found.boxes.velocities.any()


def test_nothing_is_remembered_unless_asked_for():
    drive = Drive(PermanenceConfig())
    now = drive.past((8.0, 3.0))
    assert len(drive(now, {})) == 0


def test_what_is_in_view_and_not_found_is_not_reported_and_soon_forgotten():
    drive = Drive(speed=0.0)
    now = drive.past((8.0, 3.0))
    for k in range(12):
        assert len(drive(now + 100 * k, {})) == 0
    drive.speed = 100.0  # now it is far behind
    assert len(drive(now + 1300, {})) == 0
    hidden = Drive(speed=0.0)
    now = hidden.past((8.0, 3.0))
    hidden(now, {})
    hidden.speed = 100.0
    assert len(hidden(now + 100, {})) == 1, 'it was out of sight for a moment only'


def test_what_moved_or_was_hardly_seen_is_not_remembered():
    drive = Drive()
    for k in range(10):
        drive(100 * k, {7: (8.0 + 0.25 * k, 3.0), 8: (7.0, -3.0 + 0.1 * k), 9: (6.0, 9.0)})
    found = drive(1500, {})
    assert found.track_ids.tolist() == [8, 9], 'at 2.5 m/s one drove; at 1 m/s it is the camera'
    short = Drive()
    now = short.past((2.0, 3.0), frames=4)
    assert len(short(now, {})) == 0


@pytest.mark.parametrize(('offset', 'left'), [(1.5, [9]), (2.5, [7, 9])])
def test_something_seen_in_its_place_takes_it(offset: float, left: list[int]):
    drive = Drive()
    now = drive.past((8.0, 3.0))
    found = drive(now, {9: (8.0, 3.0 + offset)})
    assert sorted(found.track_ids.tolist()) == left
    assert sorted(drive(now + 100, {9: (8.0, 30.0)}).track_ids.tolist()) == left


def test_a_track_that_is_reported_again_is_itself_and_not_twice_there():
    drive = Drive()
    now = drive.past((8.0, 3.0))
    drive(now, {})
    again = drive(now + 100, {7: (8.0, 3.0)})
    assert again.track_ids.tolist() == [7] and again.sources.tolist() == [Source.EGO]


def test_it_is_forgotten_in_time_and_by_a_reset():
    drive = Drive()
    now = drive.past((8.0, 3.0))
    assert len(drive(now - 100 + 5000, {})) == 1
    assert len(drive(now - 100 + 5100, {})) == 0
    assert len(drive(now - 100 + 4000, {})) == 0, 'forgotten for good'
    other = Drive()
    now = other.past((8.0, 3.0))
    other.memory.reset()
    assert len(other(now, {})) == 0


def test_a_less_sure_detection_beside_it_gives_way_and_a_surer_one_stays():
    memory = ObjectPermanence(CONFIG)
    for k in range(10):
        tracks = reported(100 * k, {7: (8.0, 3.0)}, pose(100 * k))
        memory.completed(tracks, tracks, ahead)
    none = reported(1000, {}, pose(1000))
    around = {1: (8.5, 3.0), 2: (8.5, 6.0)}
    for score, kept in ((0.2, [2, 7]), (0.9, [1, 2, 7])):
        detections = reported(1000, around, pose(1000), score)
        _, found = memory.completed(none, detections, ahead)
        assert sorted(found.track_ids.tolist()) == kept


def test_the_place_is_the_mean_of_the_last_second():
    drive, random = Drive(), np.random.default_rng(3)
    seen = 8.0 + random.normal(0, 0.1, 30)
    for k, x in enumerate(seen):
        drive(100 * k, {7: (x, 3.0)})
    found = drive(3000, {})
    assert places(found)[0] == pytest.approx([seen[-11:].mean(), 3.0])
