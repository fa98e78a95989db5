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

"""AB3DMOT: the filter, the affinities, the assignment, and the life of a track."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull

from cooptrack_core.geometry import SE3, Boxes3D
from cooptrack_core.geometry.se3 import wrap_angle
from cooptrack_core.structures import Source, TrackedObjects
from cooptrack_core.tracking import kalman
from cooptrack_core.tracking.ab3dmot import Ab3dmot, Ab3dmotConfig, ClassRule
from cooptrack_core.tracking.affinity import affinity_of, associate, giou_3d

MS = 1_000_000
PERIOD_MS = 100
POSE = SE3.from_yaw(0.7, (4_000_000.0, 500_000.0, 30.0))


def config(**changes: object) -> Ab3dmotConfig:
    """One rule for every class."""
    rule = ClassRule(**{'min_hits': 1, **changes})  # type: ignore[arg-type]
    return Ab3dmotConfig((rule,) * 3)


def boxes(centers: object, yaws: object = 0.0, size: object = (4.5, 1.8, 1.5)) -> Boxes3D:
    xyz = np.array(centers, dtype=np.float64).reshape(-1, 3)
    n = len(xyz)
    return Boxes3D(
        xyz,
        np.tile(np.array(size, dtype=np.float64), (n, 1)),
        np.broadcast_to(np.asarray(yaws, dtype=np.float64), (n,)),
        np.zeros((n, 2)),
    )


def found(
    given_boxes: Boxes3D,
    ms: float = 0.0,
    *,
    scores: object = 0.5,
    labels: object = 0,
    sequence_id: str = 'a',
    pose: SE3 = POSE,
    source: Source = Source.EGO,
) -> TrackedObjects:
    n = len(given_boxes)
    return TrackedObjects(
        sequence_id,
        f'{ms:.0f}',
        round(ms * MS),
        pose,
        given_boxes,
        np.broadcast_to(np.asarray(scores, dtype=np.float64), (n,)),
        np.broadcast_to(np.asarray(labels, dtype=np.int64), (n,)),
        np.full(n, -1),
        np.full(n, int(source)),
        (() if source is Source.EGO else ('roadside',),) * n,
    )


def nothing(ms: float) -> TrackedObjects:
    return found(Boxes3D.empty(), ms)


# --- the filter


def plain_filter(measured: np.ndarray, steps: list[float]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Textbook Kalman filter of one box, by matrices; angles must need no wrapping."""
    H = np.concatenate([np.eye(7), np.zeros((7, 3))], axis=1)
    Q, R = np.diag([1.0] * 7 + [0.01] * 3), np.eye(7)
    x, P = H.T @ measured[0], np.diag([10.0] * 7 + [10_000.0] * 3)
    states = [(x, P)]
    for z, dt in zip(measured[1:], steps, strict=True):
        F = np.eye(10)
        F[:3, 7:] = dt * np.eye(3)
        x, P = F @ x, F @ P @ F.T + dt * Q
        K = P @ H.T @ np.linalg.inv(H @ P @ H.T + R)
        x = x + K @ (z - H @ x)
        # Joseph's form: another way to the same covariance.
        rest = np.eye(10) - K @ H
        P = rest @ P @ rest.T + K @ R @ K.T
        states.append((x, P))
    return states


@given(seed=st.integers(0, 2**32 - 1), steps=st.lists(st.floats(0.1, 8.0), min_size=1, max_size=6))
def test_the_filter_is_a_plain_kalman_filter_for_each_box(seed: int, steps: list[float]) -> None:
    random = np.random.default_rng(seed)
    # (frame, box, 7); yaws within 90 degrees of each other.
    measured = random.uniform(-0.7, 0.7, (len(steps) + 1, 3, 7)) + np.array([9, 5, 1, 0, 5, 2, 2])
    means, covariances = kalman.start(measured[0])
    expected = [plain_filter(measured[:, k], steps) for k in range(3)]
    for frame, dt in enumerate(steps, start=1):
        means, covariances = kalman.correct(
            *kalman.predict(means, covariances, dt), measured[frame]
        )
        for k in range(3):
            np.testing.assert_allclose(means[k], expected[k][frame][0], atol=1e-7)
            np.testing.assert_allclose(covariances[k], expected[k][frame][1], rtol=1e-7, atol=1e-6)


def test_prediction_follows_the_velocity_for_the_time_that_passed() -> None:
    means, covariances = kalman.start(np.array([[10.0, 5, 0, 0, 4, 2, 1.5]]))
    means[:, 7:] = [2.0, -1.0, 0.0]
    np.testing.assert_allclose(kalman.predict(means, covariances, 2.5)[0][0, :3], [15, 2.5, 0])
    still, same = kalman.predict(means, covariances, 0.0)
    np.testing.assert_array_equal(still, means)
    np.testing.assert_array_equal(same, covariances)


@given(state=st.floats(-10, 10), measured=st.floats(-10, 10))
def test_angles_are_averaged_within_a_right_angle(state: float, measured: float) -> None:
    turned = float(kalman.facing(np.array([state]), np.array([measured]))[0])
    target = float(wrap_angle(measured))
    assert abs(turned - target) <= np.pi / 2 + 1e-9
    # Nothing but whole and half turns were added.
    half_turns = (turned - state) / np.pi
    assert abs(half_turns - round(half_turns)) < 1e-9
    # A half turn only where the state looks the other way.
    if abs(wrap_angle(state - measured)) < np.pi / 2 - 1e-6:
        assert round(half_turns) % 2 == 0


@pytest.mark.parametrize(
    ('state', 'measured', 'near'),
    [
        (0.1, np.pi - 0.1, np.pi),  # back to front: the state is flipped
        (-3.1, 3.1, np.pi),  # across the seam: no flip, no way round
        (3.1, -3.1, np.pi),
        (0.05, -0.05, 0.0),
        (-0.05, np.pi - 0.02, np.pi),
    ],
)
def test_a_flipped_heading_does_not_turn_the_box_across(state, measured, near) -> None:
    means, covariances = kalman.start(np.array([[0.0, 0, 0, state, 4, 2, 1.5]]))
    seen = np.array([[0.0, 0, 0, measured, 4, 2, 1.5]])
    corrected = kalman.correct(means, covariances, seen)[0][0, kalman.YAW]
    assert abs(wrap_angle(corrected - near)) < 0.1
    assert -np.pi <= corrected < np.pi


# --- affinities


@st.composite
def some_boxes(draw: st.DrawFn) -> Boxes3D:
    n = draw(st.integers(1, 3))
    numbers = st.floats(-6, 6)
    size = st.floats(0.3, 8)
    return Boxes3D(
        np.array([[draw(numbers), draw(numbers), draw(numbers) / 4] for _ in range(n)]),
        np.array([[draw(size) for _ in range(3)] for _ in range(n)]),
        np.array([draw(st.sampled_from([0.0, np.pi / 2, 1e-9, draw(numbers)])) for _ in range(n)]),
        np.zeros((n, 2)),
    )


@given(a=some_boxes(), b=some_boxes())
def test_giou_is_bounded_symmetric_and_one_only_for_equal_boxes(a: Boxes3D, b: Boxes3D) -> None:
    values = giou_3d(a, b)
    assert (values > -1).all() and (values <= 1).all()
    np.testing.assert_allclose(values, giou_3d(b, a).T, atol=1e-9)
    np.testing.assert_allclose(np.diag(giou_3d(a, a)), 1.0, atol=1e-9)


@given(a=some_boxes(), b=some_boxes(), yaw=st.floats(-3, 3))
def test_giou_does_not_depend_on_the_frame(a: Boxes3D, b: Boxes3D, yaw: float) -> None:
    world = SE3.from_yaw(yaw, (400_000.0, 4_000_000.0, 50.0))
    np.testing.assert_allclose(
        giou_3d(a.transformed(world), b.transformed(world)), giou_3d(a, b), atol=1e-6
    )


def test_giou_of_upright_aligned_boxes_is_what_one_computes_by_hand() -> None:
    a, b = boxes([0, 0, 0], size=(4, 2, 2)), boxes([2, 0, 1], size=(4, 2, 2))
    # Overlap 2 x 2 x 1, union 28, hull 6 x 2 over a height of 3.
    assert giou_3d(a, b)[0, 0] == pytest.approx(4 / 28 - (36 - 28) / 36)
    apart = boxes([10, 0, 0], size=(4, 2, 2))
    assert giou_3d(a, apart)[0, 0] == pytest.approx(-(56 - 32) / 56)


@settings(max_examples=40)
@given(a=some_boxes(), b=some_boxes())
def test_giou_agrees_with_sampling_and_with_scipys_hull(a: Boxes3D, b: Boxes3D) -> None:
    a, b = a[:1], b[:1]
    low = np.minimum(a.corners()[0].min(0), b.corners()[0].min(0))
    high = np.maximum(a.corners()[0].max(0), b.corners()[0].max(0))
    steps = (np.arange(24) + 0.5) / 24
    points = np.array(list(itertools.product(steps, steps, steps))) * (high - low) + low
    inside_a, inside_b = a.contains(points)[0], b.contains(points)[0]
    cell = (high - low).prod() / len(points)
    shared, union = (inside_a & inside_b).sum() * cell, (inside_a | inside_b).sum() * cell
    feet = np.concatenate([a.corners()[0, :4, :2], b.corners()[0, :4, :2]])
    hull = ConvexHull(feet, qhull_options='QJ').volume * (high[2] - low[2])
    expected = shared / max(union, 1e-9) - (hull - union) / hull
    # Boxes thinner than the grid are sampled badly.
    thin = min(a.sizes.min(), b.sizes.min()) < 4 * (high - low).max() / 24
    assert thin or giou_3d(a, b)[0, 0] == pytest.approx(expected, abs=0.12)


def test_distances_are_negated_and_planar_ones_ignore_height() -> None:
    a, b = boxes([0, 0, 0]), boxes([[3, 4, 12], [0, 0, 0]])
    np.testing.assert_allclose(affinity_of('dist_3d', a, b), [[-13, 0]])
    np.testing.assert_allclose(affinity_of('dist_2d', a, b), [[-5, 0]])


# --- the assignment


def test_greedy_takes_the_best_pair_and_hungarian_the_best_sum() -> None:
    affinity = -np.array([[1.0, 1.5], [2.0, 9.0]])
    greedy = associate(affinity, -100, 'greedy')
    assert list(zip(*(x.tolist() for x in greedy), strict=True)) == [(0, 0), (1, 1)]
    best = associate(affinity, -100, 'hungarian')
    assert list(zip(*(x.tolist() for x in best), strict=True)) == [(0, 1), (1, 0)]


def test_the_gate_comes_after_the_assignment() -> None:
    # The better sum gives row 0 away to a pair that the gate then drops.
    affinity = -np.array([[1.0, 2.0], [2.1, 9.0]])
    rows, columns = associate(affinity, -2.05, 'hungarian')
    assert (rows.tolist(), columns.tolist()) == ([0], [1])
    rows, columns = associate(affinity, -2.05, 'greedy')
    assert (rows.tolist(), columns.tolist()) == ([0], [0])


@given(
    rows=st.integers(0, 5),
    columns=st.integers(0, 5),
    seed=st.integers(0, 1000),
    threshold=st.floats(-1, 1),
)
def test_pairs_are_one_to_one_above_the_gate_and_hungarian_is_never_worse(
    rows: int, columns: int, seed: int, threshold: float
) -> None:
    affinity = np.random.default_rng(seed).uniform(-1, 1, (rows, columns))
    for algorithm in ('greedy', 'hungarian'):
        i, j = associate(affinity, threshold, algorithm)  # type: ignore[arg-type]
        assert len(set(i.tolist())) == len(i) == len(set(j.tolist()))
        assert (affinity[i, j] >= threshold).all()
    sums = [affinity[associate(affinity, -2, a)].sum() for a in ('greedy', 'hungarian')]  # type: ignore[arg-type]
    assert sums[1] >= sums[0] - 1e-12


# --- the life of a track


def test_with_age_two_a_track_survives_exactly_one_miss() -> None:
    tracker = Ab3dmot(config(max_age=2))
    reported = [len(tracker.update(found(boxes([20, 0, 0]))))]
    for k in (1, 2, 3):
        reported.append(len(tracker.update(nothing(k * PERIOD_MS))))
    assert reported == [1, 1, 0, 0]
    again = tracker.update(found(boxes([20, 0, 0]), 4 * PERIOD_MS))
    assert again.track_ids.tolist() == [2]


def test_a_missed_track_goes_on_at_its_velocity_and_comes_back_with_its_id() -> None:
    tracker = Ab3dmot(config(max_age=3))
    for k in range(8):
        tracker.update(found(boxes([k, 0, 0]), k * PERIOD_MS, scores=0.1 * k))
    missed = tracker.update(nothing(8 * PERIOD_MS))
    assert missed.boxes.centers[0, 0] == pytest.approx(8.0, abs=0.05)
    assert missed.boxes.velocities[0] == pytest.approx([10.0, 0.0], abs=0.3)
    assert missed.scores.tolist() == pytest.approx([0.7])
    back = tracker.update(found(boxes([9, 0, 0]), 9 * PERIOD_MS))
    assert back.track_ids.tolist() == missed.track_ids.tolist() == [1]


def test_a_track_is_reported_from_its_third_hit_and_sooner_only_at_the_start() -> None:
    tracker = Ab3dmot(config(min_hits=3))
    old, new = [20.0, 0, 0], [40.0, 10, 0]
    reported = []
    for k in range(7):
        seen = [old] if k < 3 else [old, new]
        reported.append(tracker.update(found(boxes(seen), k * PERIOD_MS)).track_ids.tolist())
    # Frames 1 to 3 report at once; what begins in the fourth waits for three hits.
    assert reported == [[1], [1], [1], [1], [1], [1, 2], [1, 2]]


def test_classes_do_not_mix_and_share_one_row_of_ids() -> None:
    tracker = Ab3dmot(config())
    first = tracker.update(found(boxes([[20, 0, 0], [20, 0, 0]]), labels=[0, 2]))
    assert sorted(first.track_ids.tolist()) == [1, 2]
    second = tracker.update(found(boxes([[20, 0, 0], [20, 0, 0]]), PERIOD_MS, labels=[2, 1]))
    ids = dict(zip(second.track_ids.tolist(), second.labels.tolist(), strict=True))
    assert ids == {1: 0, 2: 2, 3: 1}
    assert second.labels[second.track_ids == 3].tolist() == [1]


def test_each_class_has_its_own_rule() -> None:
    short, long = ClassRule(min_hits=1, max_age=1), ClassRule(min_hits=1, max_age=4)
    tracker = Ab3dmot(Ab3dmotConfig((short, long, short)))
    tracker.update(found(boxes([[20, 0, 0], [30, 5, 0]]), labels=[0, 1]))
    assert tracker.update(nothing(PERIOD_MS)).labels.tolist() == [1]


@settings(max_examples=25)
@given(
    seed=st.integers(0, 500),
    gaps=st.lists(st.sampled_from([50, 100, 100, 100, 130, 200]), min_size=4, max_size=15),
)
def test_cars_of_constant_velocity_keep_their_ids_whatever_the_gaps(
    seed: int, gaps: list[int]
) -> None:
    random = np.random.default_rng(seed)
    starts = np.array([[10.0, -8, 0], [40, -4, 0], [10, 4, 0], [45, 8, 0]])
    speeds = random.uniform(-8, 8, 4)
    yaws = np.where(speeds < 0, np.pi, 0.0)
    tracker = Ab3dmot(config())
    owners: dict[int, int] = {}
    for ms in [0, *np.cumsum(gaps).tolist()]:
        centers = starts + np.stack([speeds * ms / 1000, np.zeros(4), np.zeros(4)], 1)
        order = random.permutation(4)
        # The observer drives too: the tracker must not care.
        pose = SE3.from_yaw(0.7 + ms / 5000, POSE.translation + np.array([ms / 100, 0, 0]))
        seen = boxes(centers[order], yaws[order]).transformed(POSE)
        tracks = tracker.update(found(seen.transformed(pose.inverse()), ms, pose=pose))
        assert tracks.track_ids.tolist() == [1, 2, 3, 4]
        there = tracks.boxes.transformed(POSE.inverse() @ pose)
        for track_id, center in zip(tracks.track_ids.tolist(), there.centers, strict=True):
            car = int(np.argmin(np.abs(centers[:, 1] - center[1])))
            assert owners.setdefault(track_id, car) == car


def test_a_longer_gap_moves_the_prediction_farther() -> None:
    def after(ms: float) -> float:
        tracker = Ab3dmot(config(max_age=3))
        for k in range(8):
            tracker.update(found(boxes([k, 0, 0]), k * PERIOD_MS))
        return float(tracker.update(nothing(7 * PERIOD_MS + ms)).boxes.centers[0, 0])

    assert after(300) - after(100) == pytest.approx(2.0, abs=0.1)


def test_a_track_tells_who_saw_it_last() -> None:
    tracker = Ab3dmot(config(max_age=3))
    tracker.update(found(boxes([20, 0, 0]), 0, source=Source.EGO))
    tracks = tracker.update(found(boxes([20, 0, 0]), PERIOD_MS, source=Source.REMOTE))
    assert (tracks.sources.tolist(), tracks.remote_agents) == ([Source.REMOTE], (('roadside',),))
    missed = tracker.update(nothing(2 * PERIOD_MS))
    assert (missed.sources.tolist(), missed.remote_agents) == ([Source.REMOTE], (('roadside',),))


@pytest.mark.parametrize(('ms', 'sequence_id'), [(-100, 'a'), (100, 'b')])
def test_another_scene_or_time_going_back_starts_anew_with_new_ids(ms, sequence_id) -> None:
    tracker = Ab3dmot(config(min_hits=3))
    for k in range(5):
        tracker.update(found(boxes([20, 0, 0]), 5000 + k * PERIOD_MS))
    tracks = tracker.update(found(boxes([20, 0, 0]), 5400 + ms, sequence_id=sequence_id))
    # Reported at the first hit, as at a start.
    assert tracks.track_ids.tolist() == [2]
    tracker.reset()
    tracks = tracker.update(found(boxes([20, 0, 0]), 5500 + ms, sequence_id=sequence_id))
    assert tracks.track_ids.tolist() == [3]


def test_the_same_detections_give_the_same_tracks() -> None:
    def run() -> list[bytes]:
        random, tracker, out = np.random.default_rng(3), Ab3dmot(), []
        for k in range(12):
            seen = boxes(random.uniform(-20, 20, (6, 3)), random.uniform(-3, 3, 6))
            tracks = tracker.update(found(seen, k * PERIOD_MS, labels=random.integers(0, 3, 6)))
            out += [tracks.boxes.centers.tobytes(), tracks.track_ids.tobytes()]
        return out

    assert run() == run()


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match='max_age'):
        ClassRule(max_age=0)
    with pytest.raises(ValueError, match='period_s'):
        Ab3dmotConfig(period_s=0.0)
    with pytest.raises(ValueError, match='classes'):
        replace(Ab3dmotConfig(), classes=(ClassRule(),))
