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

"""Tracks that are lost for a while keep their ids."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.geometry import SE3
from cooptrack_core.tracking.reappearance import Sightings


def sightings(
    *rows: tuple[int, int, float, float], velocity: tuple[float, float] = (0.0, 0.0)
) -> Sightings:
    """Id, class, x and y of each."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return Sightings(
        table[:, 0].astype(np.int64),
        table[:, 1].astype(np.int64),
        table[:, 2:],
        np.tile(velocity, (len(table), 1)),
        np.zeros(len(table)),
    )


NEW = np.eye(4)
NOBODY = np.zeros(0, dtype=np.int64)
metres = st.floats(-50, 50)


@given(metres, metres, metres, metres, st.floats(-3, 3), st.floats(0.05, 1))
def test_what_stands_stays_where_it_is_in_the_world(x, y, ego_x, ego_y, yaw, seconds):
    turn = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
    world_T_ego = np.eye(4)
    world_T_ego[:2, :2], world_T_ego[:2, 3] = turn, (ego_x, ego_y)
    moved = sightings((1, 0, x, y), velocity=(0.3, 0.3)).moved(np.linalg.inv(world_T_ego), seconds)
    there = SE3.from_matrix(world_T_ego).transform_points(np.array([[*moved.centers[0], 0.0]]))
    assert there[0, :2] == pytest.approx([x, y], abs=1e-9)
    assert moved.seconds.tolist() == [seconds]


def test_what_drives_drives_on():
    left = sightings((1, 0, 10.0, 0.0), velocity=(8.0, 0.0)).moved(NEW, 0.5)
    assert left.centers.tolist() == [[14.0, 0.0]]
    quarter = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert left.moved(quarter, 0.0).velocities[0] == pytest.approx([0.0, -8.0])


def test_a_new_track_takes_up_the_nearest_lost_id_of_its_class():
    lost = sightings((1, 0, 10.0, 0.0), (2, 0, 13.0, 0.0), (3, 2, 11.0, 0.0))
    new = sightings((-1, 0, 11.0, 0.0), (-1, 0, 11.8, 0.0), (-1, 1, 10.0, 0.0))
    assert lost.taken_up(new, NOBODY, 2.0, 1.0).tolist() == [1, 2, -1]


def test_an_id_is_given_once_and_not_while_its_track_is_there():
    lost = sightings((1, 0, 10.0, 0.0))
    new = sightings((-1, 0, 10.5, 0.0), (-1, 0, 10.1, 0.0))
    assert lost.taken_up(new, NOBODY, 2.0, 1.0).tolist() == [-1, 1]
    assert lost.taken_up(new, np.array([1]), 2.0, 1.0).tolist() == [-1, -1]


def test_what_was_lost_longer_may_be_farther_off():
    lost = sightings((1, 0, 10.0, 0.0))
    new = sightings((-1, 0, 12.5, 0.0))
    assert lost.moved(NEW, 0.3).taken_up(new, NOBODY, 2.0, 1.0).tolist() == [-1]
    assert lost.moved(NEW, 0.8).taken_up(new, NOBODY, 2.0, 1.0).tolist() == [1]


def test_sightings_are_renewed_and_forgotten():
    before = replace(sightings((1, 0, 0.0, 0.0), (2, 0, 5.0, 0.0), (3, 0, 9.0, 0.0)),
                     seconds=np.array([0.4, 0.4, 1.2]))  # fmt: skip
    kept = before.followed_by(sightings((2, 0, 6.0, 0.0)), longest=1.0)
    assert kept.ids.tolist() == [2, 1]
    assert kept.seconds.tolist() == [0.0, 0.4]
    assert kept.centers[0].tolist() == [6.0, 0.0]
