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

"""V2X-Seq labels: classes, gaps, velocities, corrections, duplicates, the ego's own box."""

from __future__ import annotations

import json

import numpy as np
import pytest
from builder import Spec, Thing, build_v2x_seq
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.datasets.v2x_seq import V2XSeqDataset, is_ego_box
from cooptrack_core.datasets.v2x_seq.labels import LabelledFrame, sequence_labels
from cooptrack_core.datasets.v2x_seq.objects import RawObject
from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3, Boxes3D, wrap_angle

HIDDEN = frozenset({('cooperative', 1, 1), ('cooperative', 1, 2), ('vehicle', 1, 2)})


def label_of(labels, track_id):
    return labels.select(labels.track_ids == track_id)


def test_types_become_classes_and_cones_are_dropped_and_counted(tmp_path):
    built = build_v2x_seq(tmp_path, Spec(frames=3))
    dataset = V2XSeqDataset(built.root)
    labels = dataset.scenes[0].labels('vehicle', built.frame_id('vehicle', 0))
    assert labels.raw_types == ('Car', 'Van', 'Cyclist', 'Pedestrian')
    assert labels.class_names == ('car', 'car', 'bicycle', 'pedestrian')
    assert labels.occlusion.tolist() == [1] * 4
    np.testing.assert_allclose(labels.boxes.sizes[0], [4.5, 1.9, 1.6])
    assert dataset.counts['dropped: class trafficcone'] == 3


@pytest.mark.parametrize('side', ['vehicle', 'cooperative'])
def test_gaps_are_bridged_in_the_world_frame(tmp_path, side):
    built = build_v2x_seq(tmp_path, Spec(hidden=HIDDEN))
    scene = V2XSeqDataset(built.root).scenes[0]
    frame_id = built.frame_id('vehicle', 2)
    labels = (
        scene.cooperative_labels(frame_id)
        if side == 'cooperative'
        else scene.labels('vehicle', frame_id)
    )
    car = label_of(labels, 1)
    assert car.interpolated.tolist() == [True]
    assert car.occlusion.tolist() == [3]
    assert car.raw_types == ('Car',)
    # The object moves straight in the world while the ego turns: only there is the line straight.
    world = car.boxes.transformed(built.pose('vehicle', 2))
    np.testing.assert_allclose(world.centers[0], built.center(1, 0.2), rtol=0, atol=1e-6)
    np.testing.assert_allclose(world.yaws, [0.2], atol=1e-8)
    assert not label_of(labels, 2).interpolated.any()


def test_a_bridged_heading_turns_the_short_way():
    def at(stamp_ns, yaw):
        item = RawObject('t', 'Car', 'car', 5, (9.0, 1.0, 0.0), (4.0, 2.0, 1.5), yaw, 0)
        return LabelledFrame(stamp_ns, SE3.identity(), [item] if yaw is not None else [])

    # From 172 to -172 degrees through 180, a quarter of the time gone; the official code
    # interpolates in the moving LiDAR frame, here the heading is one of the world.
    frames = [at(0, 3.0), at(25_000_000, None), at(100_000_000, -3.0)]
    labels = sequence_labels(frames, interpolate=True, velocity='repaired')
    expected = 3.0 + 0.25 * (2 * np.pi - 6.0)
    assert float(labels[1].boxes.yaws[0]) == pytest.approx(expected)


def test_gaps_stay_open_on_request(tmp_path):
    built = build_v2x_seq(tmp_path, Spec(hidden=HIDDEN))
    scene = V2XSeqDataset(built.root, interpolate=False).scenes[0]
    assert 1 not in scene.cooperative_labels(built.frame_id('vehicle', 2)).track_ids
    assert 1 in scene.cooperative_labels(built.frame_id('vehicle', 3)).track_ids


def test_nothing_is_invented_before_the_first_or_after_the_last_sighting(tmp_path):
    hidden = frozenset({('vehicle', 2, 0), ('vehicle', 2, 4)})
    built = build_v2x_seq(tmp_path, Spec(hidden=hidden))
    scene = V2XSeqDataset(built.root).scenes[0]
    present = [2 in scene.labels('vehicle', f).track_ids for f in scene.frame_ids('vehicle')]
    assert present == [False, True, True, True, False]


@pytest.mark.parametrize('interpolate', [True, False])
def test_velocity_is_over_ground_in_the_agent_frame(tmp_path, interpolate):
    built = build_v2x_seq(tmp_path, Spec(hidden=HIDDEN))
    scene = V2XSeqDataset(built.root, interpolate=interpolate).scenes[0]
    for number in range(5):
        labels = scene.labels('vehicle', built.frame_id('vehicle', number))
        for track_id, v in ((1, (5.0, 1.0)), (2, (0.0, 0.0)), (4, (0.0, 1.0))):
            found = label_of(labels, track_id).boxes.transformed(built.pose('vehicle', number))
            for row in found.velocities:
                np.testing.assert_allclose(row, v, atol=1e-4)


def test_the_official_protocol_stops_the_last_sighting(tmp_path):
    hidden = frozenset({('vehicle', 4, n) for n in (0, 1, 2, 3)})
    built = build_v2x_seq(tmp_path, Spec(hidden=hidden))
    last = built.frame_id('vehicle', 4)
    official = V2XSeqDataset(built.root, velocity='official').scenes[0].labels('vehicle', last)
    np.testing.assert_array_equal(official.boxes.velocities, 0.0)
    repaired = V2XSeqDataset(built.root).scenes[0].labels('vehicle', last)
    assert np.linalg.norm(label_of(repaired, 1).boxes.velocities) == pytest.approx(26**0.5, 1e-4)
    # Seen once: unknown, not standing.
    assert np.isnan(label_of(repaired, 4).boxes.velocities).all()


def test_a_track_id_twice_in_a_frame_keeps_the_first_and_counts(tmp_path):
    built = build_v2x_seq(tmp_path)
    frame_id = built.frame_id('vehicle', 1)

    def repeat(rows):
        rows.append({**rows[0], 'token': 'again', '3d_location': {'x': 1.0, 'y': 1.0, 'z': 1.0}})

    built.edit(f'vehicle-side/label/lidar/{frame_id}.json', repeat)
    dataset = V2XSeqDataset(built.root)
    labels = dataset.scenes[0].labels('vehicle', frame_id)
    assert sorted(labels.track_ids.tolist()) == [1, 2, 3, 4]
    world = label_of(labels, 1).boxes.transformed(built.pose('vehicle', 1))
    np.testing.assert_allclose(world.centers[0], built.center(1, 0.1), rtol=0, atol=1e-6)
    assert dataset.counts['dropped: track id twice in a frame'] == 1


def test_labels_without_a_box_are_dropped_and_counted(tmp_path):
    built = build_v2x_seq(tmp_path)
    frame_id = built.frame_id('vehicle', 0)
    built.edit(
        f'vehicle-side/label/lidar/{frame_id}.json',
        lambda rows: rows[0].update({'3d_dimensions': {'h': 0, 'w': 0, 'l': 0}}),
    )
    dataset = V2XSeqDataset(built.root)
    assert 1 not in dataset.scenes[0].labels('vehicle', frame_id).track_ids
    assert dataset.counts['dropped: no 3-D box'] == 1


def corrections(tmp_path, **sides):
    path = tmp_path / 'update_label_info.json'
    names = {'vehicle': 'vehicle-side', 'roadside': 'infrastructure-side'}
    content = {'vehicle-side': [], 'infrastructure-side': [], 'cooperative': []}
    for side, rows in sides.items():
        content[names.get(side, side)] = [
            {'frame': '000100', 'token': token, 'operation': operation}
            for token, operation in rows.items()
        ]
    path.write_text(json.dumps(content))
    return path


def test_corrections_change_and_delete_labels_of_their_side(tmp_path):
    built = build_v2x_seq(tmp_path / 'data')
    path = corrections(
        tmp_path,
        vehicle={'vehicle-0000-0-1': ['Cyclist', '000042'], 'vehicle-0000-0-2': []},
        roadside={'roadside-0000-0-3': []},
    )
    dataset = V2XSeqDataset(built.root, label_corrections=path)
    scene = dataset.scenes[0]
    labels = scene.labels('vehicle', built.frame_id('vehicle', 0))
    assert sorted(labels.track_ids.tolist()) == [3, 4, 42]
    assert label_of(labels, 42).class_names == ('bicycle',)
    roadside = scene.labels('roadside', built.frame_id('roadside', 0))
    assert sorted(roadside.track_ids.tolist()) == [1, 2, 4]
    assert len(scene.cooperative_labels(built.frame_id('vehicle', 0))) == 4
    assert dataset.counts['corrected: deleted'] == 2
    assert dataset.counts['corrected: type or track'] == 1


def test_cooperative_deletions_are_applied_only_on_request(tmp_path):
    built = build_v2x_seq(tmp_path / 'data')
    path = corrections(tmp_path, cooperative={'cooperative-0000-0-1': []})
    for deletions, count in ((False, 4), (True, 3)):
        dataset = V2XSeqDataset(
            built.root, label_corrections=path, cooperative_deletions=deletions
        )
        labels = dataset.scenes[0].cooperative_labels(built.frame_id('vehicle', 0))
        assert len(labels) == count
        assert dataset.protocol['label_corrections']['cooperative'] == int(deletions)


def test_the_egos_own_box_is_removed_on_request(tmp_path):
    ego = Thing(6, 'Car', (0.2, 0.1, 0.8), (4.0, 1.0), 0.3)
    built = build_v2x_seq(tmp_path, Spec(things=(*Spec().things, ego)))
    for remove in (False, True):
        dataset = V2XSeqDataset(built.root, remove_ego_from_cooperative=remove)
        scene = dataset.scenes[0]
        for pair in scene.pairs:
            labels = scene.cooperative_labels(pair.ego_frame_id)
            assert (6 in labels.track_ids) is not remove
            assert len(labels) == (4 if remove else 5)
        assert dataset.counts["dropped: ego's own box"] == (5 if remove else 0)
        # The labels of the sides are not touched.
        assert 6 in scene.labels('roadside', built.frame_id('roadside', 0)).track_ids


def test_a_long_ego_box_counts_by_its_footprint_and_a_neighbour_does_not():
    boxes = Boxes3D(
        centers=[[-4.0, 0.2, -1], [0.0, 3.2, -1], [1.9, -0.9, -1], [2.2, 0.0, -1]],
        sizes=[[12.0, 2.5, 3.0], [4.5, 1.9, 1.6], [0.5, 0.5, 1.0], [0.5, 0.5, 1.0]],
        yaws=np.zeros(4),
        velocities=np.zeros((4, 2)),
    )
    assert is_ego_box(boxes).tolist() == [True, False, True, False]


def test_further_types_can_be_mapped(tmp_path):
    things = (Thing(1, 'Tram', (20.0, 5.0, 1.0)), Thing(2, 'Balloon', (9.0, 1.0, 1.0)))
    built = build_v2x_seq(tmp_path, Spec(things=things))
    frame_id = built.frame_id('vehicle', 0)
    with pytest.raises(InputError, match=r"\[0\]\.type'.*'Tram' is unknown.*class_map"):
        V2XSeqDataset(built.root).scenes[0].labels('vehicle', frame_id)
    dataset = V2XSeqDataset(built.root, class_map={'Tram': 'car', 'balloon': None})
    assert dataset.scenes[0].labels('vehicle', frame_id).class_names == ('car',)
    with pytest.raises(InputError, match=r'class_map\.Tram.*tramway'):
        V2XSeqDataset(built.root, class_map={'Tram': 'tramway'})


def test_an_empty_scene_gives_empty_labels(tmp_path):
    built = build_v2x_seq(tmp_path, Spec(things=()))
    scene = V2XSeqDataset(built.root).scenes[0]
    assert len(scene.labels('roadside', built.frame_id('roadside', 0))) == 0
    assert len(scene.cooperative_labels(built.frame_id('vehicle', 4))) == 0


@given(
    present=st.lists(st.booleans(), min_size=2, max_size=9),
    steps=st.lists(st.integers(20, 300), min_size=9, max_size=9),
    yaw=st.floats(-3.1, 3.1),
    speed=st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
)
def test_straight_motion_is_restored_whatever_is_hidden(present, steps, yaw, speed):
    """Constant velocity in the world, irregular stamps, a turning observer."""
    times = np.cumsum(steps[: len(present)]) * 1_000_000
    start, v = np.array([400000.0, 4400000.0, 10.0]), np.array([*speed, 0.0])
    frames = []
    for i, (t, seen) in enumerate(zip(times, present, strict=True)):
        pose = SE3.from_yaw(0.4 * i, start + np.array([3.0 * i, -2.0, 1.0]))
        x, y, z = pose.inverse().transform_points(start + v * t * 1e-9)
        item = RawObject('t', 'Car', 'car', 5, (x, y, z), (4.0, 2.0, 1.5), yaw - pose.yaw, 0)
        frames.append(LabelledFrame(int(t), pose, [item] if seen else []))
    labels = sequence_labels(frames, interpolate=True, velocity='repaired')
    seen_at = np.flatnonzero(present)
    for i, (frame, found) in enumerate(zip(frames, labels, strict=True)):
        inside = len(seen_at) > 0 and seen_at[0] <= i <= seen_at[-1]
        assert len(found) == int(inside)
        if not inside:
            continue
        assert bool(found.interpolated[0]) is not present[i]
        world = found.boxes.transformed(frame.world_SE3_agent)
        expected = start + v * frame.stamp_ns * 1e-9
        np.testing.assert_allclose(world.centers[0], expected, rtol=0, atol=1e-6)
        np.testing.assert_allclose(wrap_angle(world.yaws - yaw), 0.0, atol=1e-6)
        if len(seen_at) > 1:
            np.testing.assert_allclose(world.velocities[0], v[:2], atol=1e-4)
