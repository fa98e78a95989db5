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

"""Late fusion: who is paired, what stays of a pair, and what of the rest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import MS, frame, message
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.geometry import SE3, Boxes3D
from cooptrack_core.perception.agent import AgentResult
from cooptrack_core.perception.late_fusion import (
    LateFusion,
    LateFusionConfig,
    fuse,
    matched,
    received,
)
from cooptrack_core.structures import AgentFrame, InstanceMessage, Source, TrackedObjects
from cooptrack_core.tracking.ab3dmot import Ab3dmot

# DAIR-V2X's factors and no thresholds, whatever the tuned defaults are.
PLAIN = LateFusionConfig(
    ego_score=0.0,
    remote_score=0.0,
    gate=1.0,
    trust='ego',
    ego_factor=1.0,
    remote_factor=0.4,
    track_score=0.0,
    score_bias=0.0,
)


def objects(
    centers: object,
    scores: object = 0.5,
    labels: object = 0,
    *,
    agent: str | None = None,
    yaws: object = 0.0,
    ms: float = 0.0,
) -> TrackedObjects:
    """Cars of 4 x 2 x 1.5 m in the ego's frame, of the ego or of another agent."""
    xyz = np.array(centers, dtype=np.float64).reshape(-1, 3)
    n = len(xyz)
    source = Source.EGO if agent is None else Source.REMOTE
    ego = frame('vehicle', ms)
    return TrackedObjects(
        ego.sequence_id,
        ego.frame_id,
        ego.stamp_ns,
        ego.world_SE3_agent,
        Boxes3D(
            xyz,
            np.tile([4.0, 2.0, 1.5], (n, 1)),
            np.broadcast_to(np.asarray(yaws, dtype=np.float64), (n,)),
            np.zeros((n, 2)),
        ),
        np.broadcast_to(np.asarray(scores, dtype=np.float64), (n,)),
        np.broadcast_to(np.asarray(labels, dtype=np.int64), (n,)),
        np.arange(n),
        np.full(n, int(source)),
        ((agent,) if agent else (),) * n,
    )


def sent(
    centers: object,
    *,
    pose: SE3,
    ms: float = 0.0,
    velocity: tuple[float, float] = (0.0, 0.0),
    scores: object = (0.7, 0.1, 0.2),
    agent_id: str = 'roadside',
) -> InstanceMessage:
    """A message with boxes at ``centers`` of the sender's frame."""
    xyz = np.array(centers, dtype=np.float64).reshape(-1, 3)
    n = len(xyz)
    return replace(
        message(agent_id, round(ms * MS), 0, n),
        world_SE3_agent=pose,
        boxes=Boxes3D(xyz, np.tile([4.0, 2, 1.5], (n, 1)), np.zeros(n), np.tile(velocity, (n, 1))),
        class_scores=np.tile(np.array(scores, dtype=np.float32), (n, 1)),
    )


def alone(detections: TrackedObjects, *, reset: bool = False) -> AgentResult:
    empty = message('vehicle', detections.stamp_ns, 0, 0)
    return AgentResult(detections.select(detections.scores < 0), detections, empty, reset)


def test_of_a_pair_the_egos_box_and_score_stay() -> None:
    own = objects([20, 0, 0], 0.3)
    fused, pairs = fuse(own, [objects([21, 0.5, 0], 0.9, agent='roadside')], PLAIN)
    np.testing.assert_array_equal(fused.boxes.centers, own.boxes.centers)
    assert fused.scores.tolist() == [0.3]
    assert fused.sources.tolist() == [Source.FUSED]
    assert fused.remote_agents == (('roadside',),)
    assert pairs[0].agent_id == 'roadside'
    np.testing.assert_allclose(pairs[0].remote_position, [21, 0.5, 0])
    np.testing.assert_allclose(pairs[0].ego_position, [20, 0, 0])


@pytest.mark.parametrize(('theirs', 'kept'), [(0.9, 1), (0.2, 0)])
def test_if_so_configured_box_and_score_of_the_surer_side_stay(theirs, kept) -> None:
    own, remote = objects([[50, 9, 0], [20, 0, 0]], 0.3), objects([21, 0, 0], theirs, agent='r')
    fused, _ = fuse(own, [remote], replace(PLAIN, trust='surer'))
    assert fused.boxes.centers[:, 0].tolist() == [50, [20, 21][kept]]
    assert fused.scores.tolist() == [0.3, max(0.3, theirs)]
    assert fused.sources.tolist() == [Source.EGO, Source.FUSED]


def test_what_one_side_sees_stays_with_the_factor_of_its_side() -> None:
    own, theirs = objects([20, 0, 0], 0.5), objects([40, 10, 0], 0.9, agent='roadside')
    config = replace(PLAIN, ego_factor=0.8)
    fused, pairs = fuse(own, [theirs], config)
    assert fused.scores.tolist() == pytest.approx([0.4, 0.36])
    assert fused.sources.tolist() == [Source.EGO, Source.REMOTE]
    assert fused.remote_agents == ((), ('roadside',))
    assert fused.boxes.centers[:, 0].tolist() == [20, 40]
    assert pairs == ()


def test_classes_must_agree() -> None:
    fused, _ = fuse(objects([20, 0, 0]), [objects([20, 0, 0], labels=2, agent='roadside')], PLAIN)
    assert fused.sources.tolist() == [Source.EGO, Source.REMOTE]
    assert fused.labels.tolist() == [0, 2]


@pytest.mark.parametrize(
    ('offset', 'paired'),
    [
        ((3.9, 0, 0), True),
        ((4.1, 0, 0), False),
        ((0, 1.9, 0), True),
        ((0, 2.1, 0), False),
        ((0, 0, 1.4), True),
        ((0, 0, 1.6), False),
    ],
)
@pytest.mark.parametrize('yaw', [0.0, np.pi / 2, 0.6])
def test_the_gate_is_the_size_of_the_remote_box_along_its_own_axes(offset, paired, yaw) -> None:
    turn = SE3.from_yaw(yaw)
    own = objects(turn.rotate_vectors(offset))
    rows, _ = matched(own, objects([0, 0, 0], agent='roadside', yaws=yaw), 1.0)
    assert len(rows) == int(paired)
    assert len(matched(own, objects([0, 0, 0], agent='roadside', yaws=yaw), 2.0)[0]) == 1


def test_as_many_pairs_as_the_gate_allows_are_made_and_of_those_the_nearest() -> None:
    own = objects([[0, 0, 0], [3, 0, 0]])
    # The second remote box is nearest to the first own box, but only that one can take it.
    rows, columns = matched(own, objects([[2, 0, 0], [-1, 0, 0]], agent='roadside'), 1.0)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]


@given(seed=st.integers(0, 1000), n=st.integers(0, 6), m=st.integers(0, 6))
def test_every_object_appears_once_and_pairs_are_one_to_one(seed: int, n: int, m: int) -> None:
    random = np.random.default_rng(seed)

    def some(count: int, agent: str | None) -> TrackedObjects:
        return objects(
            random.uniform(-8, 8, (count, 3)) * [1, 1, 0.1],
            random.uniform(0, 1, count),
            random.integers(0, 2, count),
            agent=agent,
        )

    own, theirs = some(n, None), some(m, 'roadside')
    fused, pairs = fuse(own, [theirs], PLAIN)
    assert len(fused) == n + m - len(pairs)
    np.testing.assert_array_equal(fused.boxes.centers[:n], own.boxes.centers)
    np.testing.assert_array_equal(fused.scores[:n], own.scores)
    assert (fused.sources[:n] == Source.FUSED).sum() == len(pairs)
    assert (fused.sources[n:] == Source.REMOTE).all()
    assert len(set(fused.track_ids.tolist())) == len(fused)


def test_an_object_that_two_roadside_units_see_comes_once() -> None:
    first = objects([[30, 0, 0], [20, 0, 0]], 0.5, agent='roadside')
    second = objects([30.5, 0, 0], 0.9, agent='roadside_1')
    fused, _ = fuse(objects([20, 0, 0]), [first, second], PLAIN)
    assert fused.sources.tolist() == [Source.FUSED, Source.REMOTE]
    assert fused.remote_agents == (('roadside',), ('roadside', 'roadside_1'))
    assert fused.scores.tolist() == pytest.approx([0.5, 0.2])


def test_a_message_is_moved_into_the_egos_frame_and_time() -> None:
    ego = frame('vehicle', 200)
    pose = SE3.from_yaw(np.pi / 2, (40.0, 5.0, 0.0))
    objects_ = received(sent([[10, 0, 0]], pose=pose, velocity=(10.0, 0.0)), ego, PLAIN)
    # 0.2 s at 10 m/s along the sender's x axis, which is the world's y axis.
    expected = ego.world_SE3_agent.inverse().transform_points([40.0, 17.0, 0.0])
    np.testing.assert_allclose(objects_.boxes.centers[0], expected, atol=1e-9)
    assert objects_.stamp_ns == ego.stamp_ns
    assert objects_.scores.tolist() == pytest.approx([0.7])
    assert objects_.labels.tolist() == [0]


def test_the_ego_in_a_message_is_not_taken_for_another_car() -> None:
    ego = frame('vehicle', 0)
    at = ego.world_SE3_agent.transform_points([[0.5, 0.2, 0], [6.0, 0.2, 0]])
    objects_ = received(sent(at, pose=SE3.identity()), ego, PLAIN)
    np.testing.assert_allclose(objects_.boxes.centers, [[6.0, 0.2, 0]], atol=1e-9)


def test_boxes_below_a_threshold_are_left_out() -> None:
    config = replace(PLAIN, ego_score=0.3, remote_score=0.8)
    fusion, ego = LateFusion(config), frame('vehicle', 0)
    weak = sent([[40, 0, 0]], pose=ego.world_SE3_agent)
    result = fusion.process(ego, alone(objects([[20, 0, 0], [30, 0, 0]], [0.29, 0.31])), [weak])
    assert result.detections.boxes.centers[:, 0].tolist() == [30]


def test_weak_fused_boxes_are_detections_but_no_tracks() -> None:
    fusion = LateFusion(replace(PLAIN, track_score=0.4))
    result = fusion.process(
        frame('vehicle', 0), alone(objects([[20, 0, 0], [30, 0, 0]], [0.39, 0.41])), []
    )
    assert len(result.detections) == 2
    assert result.tracks.boxes.centers[:, 0].tolist() == pytest.approx([30])


def test_without_messages_it_is_ab3dmot_on_the_ego_alone() -> None:
    fusion, tracker = LateFusion(PLAIN), Ab3dmot(PLAIN.tracking)
    for k in range(6):
        own = objects([[20 + k, 0, 0], [30, 10, 0]], [0.5, 0.6], ms=100 * k)
        result = fusion.process(frame('vehicle', 100 * k), alone(own), [])
        expected = tracker.update(own)
        np.testing.assert_array_equal(result.detections.boxes.centers, own.boxes.centers)
        np.testing.assert_array_equal(result.detections.scores, own.scores)
        np.testing.assert_array_equal(result.tracks.boxes.centers, expected.boxes.centers)
        np.testing.assert_array_equal(result.tracks.track_ids, expected.track_ids)
        assert (result.tracks.sources == Source.EGO).all()


def test_an_empty_message_changes_nothing() -> None:
    def run(messages: list[InstanceMessage]) -> list[float]:
        result = LateFusion(PLAIN).process(
            frame('vehicle', 0), alone(objects([20, 0, 0])), messages
        )
        return [*result.detections.boxes.centers.ravel(), *result.tracks.boxes.centers.ravel()]

    assert run([sent([], pose=SE3.identity())]) == run([])


def both(ego: AgentFrame, order: int) -> list[InstanceMessage]:
    at = ego.world_SE3_agent
    return [
        sent([[30, 0, 0]], pose=at, agent_id='roadside'),
        sent([[30.5, 0, 0], [45, 9, 0]], pose=at, agent_id='roadside_1'),
    ][::order]


def test_the_order_of_messages_does_not_matter() -> None:
    ego = frame('vehicle', 0)
    results = [
        LateFusion(PLAIN).process(ego, alone(objects([20, 0, 0])), both(ego, order))
        for order in (1, -1)
    ]
    for name in ('detections', 'tracks'):
        first, second = (getattr(result, name) for result in results)
        np.testing.assert_array_equal(first.boxes.centers, second.boxes.centers)
        assert first.remote_agents == second.remote_agents


def test_a_track_that_only_the_roadside_still_sees_says_so() -> None:
    fusion = LateFusion(PLAIN)
    sources = []
    for k in range(6):
        ego = frame('vehicle', 100 * k)
        theirs = sent([[20, 0, 0]], pose=ego.world_SE3_agent, ms=100 * k)
        own = objects([20, 0, 0] if k < 3 else [], ms=100 * k)
        result = fusion.process(ego, alone(own), [theirs] if k != 4 else [])
        sources.append(result.tracks.sources.tolist())
        assert result.tracks.track_ids.tolist() == [1]
    # At k = 4 nobody sees it, and what was last seen still counts.
    assert sources == [[Source.FUSED]] * 3 + [[Source.REMOTE]] * 3


def test_when_the_ego_starts_anew_so_does_the_tracker() -> None:
    fusion = LateFusion(PLAIN)
    for k in range(3):
        fusion.process(frame('vehicle', 100 * k), alone(objects([20, 0, 0], ms=100 * k)), [])
    ego = frame('vehicle', 2000)
    result = fusion.process(ego, alone(objects([20, 0, 0], ms=2000), reset=True), [])
    assert result.reset
    assert result.tracks.track_ids.tolist() == [2]


def test_a_bias_raises_what_comes_out_and_changes_nothing_else() -> None:
    own = objects([[20, 0, 0], [40, 5, 0], [60, 5, 0]], [0.2, 0.5, 1.0])
    plain = LateFusion(PLAIN).process(frame('vehicle', 0), alone(own), [])
    raised = LateFusion(replace(PLAIN, score_bias=0.54)).process(
        frame('vehicle', 0), alone(own), []
    )
    for before, after in (
        (plain.detections, raised.detections),
        (plain.tracks, raised.tracks),
    ):
        np.testing.assert_array_equal(after.boxes.centers, before.boxes.centers)
        expected = {0.2: 0.3002, 0.5: 0.6318, 1.0: 1.0}
        np.testing.assert_allclose(after.scores, [expected[s] for s in before.scores], atol=1e-4)
