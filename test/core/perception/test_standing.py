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

"""A unit that stands still has one pose, however often and vaguely it says it."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from cooptrack_core.geometry import SE3, Boxes3D, PerceptionRange
from cooptrack_core.perception.standing import StandingPoses
from cooptrack_core.structures import InstanceMessage, Role

SPREAD = np.diag([1.0, 1.0, 0.0, 0.0, 0.0, 0.035**2])


NUMBERS = itertools.count()


def message(pose: SE3, **changes: object) -> InstanceMessage:
    nothing = np.zeros((0, 4), dtype=np.float32)
    fields: dict[str, object] = {
        'agent_id': 'roadside', 'role': Role.ROADSIDE, 'model_id': 'm', 'session_id': 1,
        'sequence': next(NUMBERS), 'stamp_ns': 0,
        'world_SE3_agent': pose, 'pose_covariance': SPREAD,
        'range': PerceptionRange(-1, -1, -1, 1, 1, 1), 'query_features': nothing,
        'query_embeddings': nothing, 'motion_features': nothing,
        'reference_points': nothing[:, :3], 'boxes': Boxes3D.empty(),
        'class_scores': nothing[:, :3], 'track_ids': np.zeros(0, dtype=np.int64),
    }  # fmt: skip
    return InstanceMessage(**(fields | changes))


def noisy(rng: np.random.Generator, true: SE3) -> SE3:
    x, y = rng.normal(size=2)
    return SE3.from_yaw(true.yaw + 0.035 * rng.normal(), true.translation + np.array([x, y, 0]))


@pytest.mark.parametrize('yaw', [0.3, np.pi])  # also across the cut of the angle
def test_thirty_vague_messages_make_one_good_pose(yaw: float):
    true, rng = SE3.from_yaw(yaw, (450_000.0, 4_400_000.0, 20.0)), np.random.default_rng(0)
    poses = StandingPoses()
    for _ in range(30):
        found = poses.settled(message(noisy(rng, true)))
    assert np.linalg.norm((found.world_SE3_agent.translation - true.translation)[:2]) < 0.6
    assert abs((true.inverse() @ found.world_SE3_agent).yaw) < 0.02
    np.testing.assert_allclose(found.pose_covariance, SPREAD / 30)


@pytest.mark.parametrize(
    'changes', [{'role': Role.VEHICLE}, {'pose_covariance': np.zeros((6, 6))}]
)
def test_who_moves_or_claims_to_be_exact_is_taken_at_its_word(changes: dict[str, object]):
    poses = StandingPoses()
    for x in (0.0, 3.0):
        said = message(SE3.from_yaw(0.0, (x, 0.0, 0.0)), **changes)
        assert poses.settled(said) is said


def test_a_new_session_a_moved_unit_and_a_reset_begin_anew():
    first, there = SE3.identity(), SE3.from_yaw(0.0, (1.0, 0.0, 0.0))
    poses = StandingPoses()
    poses.settled(message(first))
    restarted = poses.settled(message(there, session_id=2))
    np.testing.assert_allclose(restarted.world_SE3_agent.translation, there.translation)
    far = SE3.from_yaw(0.0, (30.0, 0.0, 0.0))
    carried = poses.settled(message(far, session_id=2))
    np.testing.assert_allclose(carried.world_SE3_agent.translation, far.translation)
    poses.reset()
    again = poses.settled(message(first, session_id=2))
    np.testing.assert_allclose(again.world_SE3_agent.translation, first.translation)
    np.testing.assert_allclose(again.pose_covariance, SPREAD)


def test_units_do_not_mix():
    poses = StandingPoses()
    poses.settled(message(SE3.identity()))
    there = SE3.from_yaw(0.0, (2.0, 0.0, 0.0))
    other = poses.settled(dataclasses.replace(message(there), agent_id='roadside_1'))
    np.testing.assert_allclose(other.world_SE3_agent.translation, there.translation)


def test_a_message_that_is_fused_again_counts_once():
    true, rng = SE3.from_yaw(0.3, (450_000.0, 4_400_000.0, 20.0)), np.random.default_rng(1)
    once, often = StandingPoses(), StandingPoses()
    for _ in range(3):
        said = message(noisy(rng, true))
        wanted = once.settled(said)
        for _ in range(4):
            found = often.settled(said)
        np.testing.assert_array_equal(found.world_SE3_agent.matrix, wanted.world_SE3_agent.matrix)
        np.testing.assert_array_equal(found.pose_covariance, wanted.pose_covariance)
