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


from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from v2x_messages import make_message

from cooptrack_core.geometry import SE3, Boxes3D, CameraModel
from cooptrack_core.structures import AgentFrame, CameraImage, InstanceMessage, Role
from cooptrack_core.v2x.flow import FLOW, FlowArrays, pack_flow, read_flow
from cooptrack_core.v2x.selection import Outbox, Selection, selected

MS = 1_000_000


def with_flow(message: InstanceMessage) -> InstanceMessage:
    n, d = message.query_features.shape
    rates = np.arange(n, dtype=np.float32)[:, None]
    flow = FlowArrays(
        np.broadcast_to(rates, (n, d)).copy(), np.zeros((n, d), np.float32), np.tile(rates, (1, 4))
    )
    return replace(message, extensions={FLOW: pack_flow(flow)})


def test_by_default_the_very_same_message_goes_out_every_frame() -> None:
    message = make_message(5)
    assert Selection().apply(message) is message
    assert Selection().due(100 * MS, 99 * MS)


@given(
    n=st.integers(0, 12),
    low=st.floats(0, 1),
    most=st.none() | st.integers(0, 12),
    seed=st.integers(0, 9),
)
def test_the_best_instances_go_out_in_their_order_with_all_that_belongs_to_them(
    n: int, low: float, most: int | None, seed: int
) -> None:
    message = with_flow(make_message(n, seed=seed))
    sent = Selection(min_score=low, most=most).apply(message)
    best = message.class_scores.max(1, initial=0.0)
    sure = best[best >= low]
    assert len(sent) == min(len(sure), n if most is None else most)
    assert set(sent.class_scores.max(1, initial=0.0)) == set(
        sorted(sure, reverse=True)[: len(sent)]
    )
    rows = [message.track_ids.tolist().index(i) for i in sent.track_ids]
    assert rows == sorted(rows)
    for name in ('query_features', 'query_embeddings', 'motion_features', 'reference_points'):
        np.testing.assert_array_equal(getattr(sent, name), getattr(message, name)[rows])
    np.testing.assert_array_equal(sent.boxes.centers, message.boxes.centers[rows])
    flow = read_flow(sent)
    assert flow is not None
    np.testing.assert_allclose(flow.state[:, 0], rows, rtol=1e-3)


def test_the_rate_holds_with_stamps_that_jitter_and_clocks_that_jump_back() -> None:
    rate = Selection(message_hz=2.0)
    stamps = [round((k * 100 + (-1) ** k * 20) * MS) for k in range(40)]
    sent: list[int] = []
    for stamp in stamps:
        if rate.due(stamp, sent[-1] if sent else None):
            sent.append(stamp)
    assert len(sent) == 8
    assert rate.due(0, sent[-1])


def receiver(*, looks_along: float) -> AgentFrame:
    """A vehicle at x = 10 of the world with one camera of 90 degrees."""
    look = np.eye(4)
    look[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    camera = CameraModel('front', 100, 60, np.array([[50.0, 0, 50], [0, 50, 30], [0, 0, 1]]), look)
    image = CameraImage(np.zeros((60, 100, 3), np.uint8), camera, 0)
    pose = SE3.from_yaw(looks_along, (10.0, 0.0, 0.0))
    return AgentFrame('vehicle', Role.VEHICLE, 'a', '0', 0, (image,), pose, pose)


def at(*places: tuple[float, float]) -> InstanceMessage:
    n = len(places)
    centres = np.array([(*place, 0.0) for place in places])
    boxes = Boxes3D(centres, np.ones((n, 3)), np.zeros(n), np.zeros((n, 2)))
    return make_message(n, boxes=boxes, world_SE3_agent=SE3.identity())


def test_what_stands_near_in_the_image_of_the_receiver_stays_at_home() -> None:
    message = at((20.0, 0.0), (45.0, 0.0), (0.0, 0.0), (20.0, 30.0))
    near = Selection(outside_view_m=25.0)
    assert near.apply(message, receiver(looks_along=0.0)).track_ids.tolist() == [1000, 2000, 3000]
    assert near.apply(message, receiver(looks_along=np.pi)).track_ids.tolist() == [0, 1000, 3000]
    assert near.apply(message, None) is message
    assert len(Selection(outside_view_m=50.0).apply(message, receiver(looks_along=0.0))) == 2


def test_nothing_left_is_a_message_without_instances() -> None:
    assert len(selected(make_message(3), np.zeros(3, dtype=bool))) == 0


@pytest.mark.parametrize(
    'wrong',
    [
        {'min_score': -0.1},
        {'min_score': float('nan')},
        {'most': -1},
        {'message_hz': 0.0},
        {'message_hz': float('inf')},
        {'outside_view_m': -1.0},
    ],
)
def test_impossible_values_are_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Selection(**wrong)  # type: ignore[arg-type]


def test_what_is_not_sent_leaves_no_gap_in_the_numbers() -> None:
    outbox = Outbox(Selection(message_hz=2.0))
    taken = [
        outbox.take(make_message(2, sequence=k, stamp_ns=k * 100 * MS, session_id=5))
        for k in range(20)
    ]
    sent = [message for message in taken if message is not None]
    assert [m.sequence for m in sent] == [0, 1, 2, 3]
    assert [m.stamp_ns // MS for m in sent] == [0, 500, 1000, 1500]
    outbox.reset()
    after = outbox.take(make_message(2, sequence=20, stamp_ns=1600 * MS, session_id=5))
    assert after is not None
    assert after.sequence == 4
    restarted = outbox.take(make_message(2, sequence=0, stamp_ns=1700 * MS, session_id=6))
    assert restarted is not None
    assert restarted.sequence == 0
