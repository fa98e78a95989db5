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

"""Pairs meet where both cameras' uncertainty says."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.geometry import SE3, PerceptionRange
from cooptrack_core.models.cooptrack.config import PlacementConfig
from cooptrack_core.models.cooptrack.interface import RemoteInstances
from cooptrack_core.models.cooptrack.placement import (
    meet,
    remote_covariance,
    sight_covariance,
    within_gate,
)
from cooptrack_core.structures import Role

SPREAD = (0.3, 0.05, 0.1, 0.01)
coordinate = st.floats(-60, 60).filter(lambda x: abs(x) > 0.5)


def message(pose: SE3, **changes) -> RemoteInstances:
    nothing = torch.zeros(1, 4)
    fields = {
        'agent_id': 'a', 'query_feats': nothing, 'query_embeds': nothing, 'motion_feats': nothing,
        'ref_pts': torch.zeros(1, 3), 'boxes': torch.zeros(1, 10),
        'range': PerceptionRange(-1, -1, -1, 1, 1, 1), 'ego_T_remote': pose.matrix,
    }  # fmt: skip
    return RemoteInstances(**(fields | changes))


@given(coordinate, coordinate)
def test_the_spread_lies_along_the_line_of_sight(x, y):
    points = torch.tensor([[x, y]], dtype=torch.float64)
    distance = math.hypot(x, y)
    sight = points[0] / distance
    across = torch.stack([-sight[1], sight[0]])
    covariance = sight_covariance(points, SPREAD)[0].double()
    assert float(sight @ covariance @ sight) == pytest.approx((0.3 + 0.05 * distance) ** 2, 1e-4)
    assert float(across @ covariance @ across) == pytest.approx((0.1 + 0.01 * distance) ** 2, 1e-4)


def test_an_object_at_the_camera_has_a_finite_spread():
    assert torch.isfinite(sight_covariance(torch.zeros(1, 2), SPREAD)).all()


@settings(max_examples=30)
@given(st.floats(-3, 3), coordinate, coordinate)
def test_a_remote_spread_is_that_of_its_own_frame_turned(yaw, x, y):
    pose = SE3.from_yaw(yaw, (x, y, 0.0))
    config = PlacementConfig()
    seen = torch.tensor([[20.0, 5.0]], dtype=torch.float64)
    turn = torch.from_numpy(pose.matrix[:2, :2])
    here = seen @ turn.T + torch.from_numpy(pose.matrix[:2, 3])
    expected = turn @ sight_covariance(seen, config.vehicle)[0].double() @ turn.T
    found = remote_covariance(here, message(pose, role=Role.VEHICLE), config)[0].double()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_the_senders_pose_and_the_age_make_a_place_less_sure():
    pose = SE3.from_yaw(0.0, (10.0, 0.0, 0.0))
    config = PlacementConfig(speed=2.0)
    points = torch.tensor([[40.0, 0.0]])  # 30 m in front of the sender
    plain = remote_covariance(points, message(pose), config)[0]
    noisy = message(pose, pose_covariance=np.diag([0.04, 0.09, 0.01**2]))
    gained = remote_covariance(points, noisy, config)[0] - plain
    # The yaw error swings the object sideways: 30 m x 0.01 rad.
    torch.testing.assert_close(gained, torch.diag(torch.tensor([0.04, 0.09 + 0.09])))
    old = remote_covariance(points, message(pose, age_s=0.5), config)[0] - plain
    torch.testing.assert_close(old, torch.eye(2))


def test_two_lines_of_sight_complement_each_other():
    own, theirs = torch.tensor([[1.0, 0.2, 0.0]]), torch.tensor([[0.2, 1.0, 1.0]])
    along_x, along_y = torch.diag(torch.tensor([4.0, 0.01])), torch.diag(torch.tensor([0.01, 4.0]))
    place, after = meet(own, theirs, along_x[None], along_y[None])
    # The first is believed about y, the second about x.
    torch.testing.assert_close(place[0, :2], torch.tensor([0.2, 0.2]), atol=0.01, rtol=0)
    assert float(place[0, 2]) == pytest.approx(0.5, abs=1e-5)
    assert (after[0].diagonal() < 0.011).all()


@given(st.floats(0.1, 5), st.floats(0.1, 5))
def test_equal_sides_meet_halfway_and_neither_side_matters_by_order(a, b):
    own, theirs = torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([[2.0, -4.0, 1.0]])
    first, second = a * torch.eye(2)[None], b * torch.eye(2)[None]
    halfway, after = meet(own, theirs, first, first)
    torch.testing.assert_close(halfway, (own + theirs) / 2)
    torch.testing.assert_close(after, first / 2)
    there, back = meet(own, theirs, first, second), meet(theirs, own, second, first)
    torch.testing.assert_close(there[0], back[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(there[1], back[1], rtol=1e-4, atol=1e-4)


def test_the_gate_counts_standard_deviations():
    own, theirs = torch.zeros(1, 2), torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    covariance = torch.diag(torch.tensor([1.0, 0.25]))[None]
    near = within_gate(own, theirs, covariance, torch.zeros(2, 2, 2), gate=3.5)
    assert near.tolist() == [[True, False]]
