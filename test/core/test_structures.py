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

"""The nouns refuse what does not fit together, and select consistently."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cooptrack_core.errors import InputError, MessageError
from cooptrack_core.geometry import SE3, Boxes3D, CameraModel, MapGrid, PerceptionRange
from cooptrack_core.structures import (
    MAP_CLASSES,
    BevFeature,
    BevMap,
    CameraImage,
    InstanceMessage,
    ObjectLabels,
    Role,
    TrackedObjects,
)


def boxes(n):
    return Boxes3D(np.arange(3.0 * n).reshape(n, 3), np.ones((n, 3)), np.zeros(n),
                   np.zeros((n, 2)))  # fmt: skip


def labels(n=3, **changes):
    fields = {
        'boxes': boxes(n),
        'class_names': ('car',) * n,
        'track_ids': np.arange(n),
        'raw_types': tuple(f'T{i}' for i in range(n)),
        'occlusion': np.zeros(n, dtype=np.int64),
        'interpolated': np.zeros(n, dtype=bool),
    }
    return ObjectLabels(**{**fields, **changes})


def message(m=2, d=4, **changes):
    features = np.zeros((m, d), dtype=np.float32)
    fields = {
        'agent_id': 'roadside',
        'role': Role.ROADSIDE,
        'model_id': 'tiny',
        'session_id': 1,
        'sequence': 0,
        'stamp_ns': 0,
        'world_SE3_agent': SE3.identity(),
        'pose_covariance': np.zeros((6, 6)),
        'range': PerceptionRange(-1, -1, -1, 1, 1, 1),
        'query_features': features,
        'query_embeddings': features,
        'motion_features': features,
        'reference_points': np.zeros((m, 3), dtype=np.float32),
        'boxes': boxes(m),
        'class_scores': np.zeros((m, 3), dtype=np.float32),
        'track_ids': np.arange(m),
    }
    return InstanceMessage(**{**fields, **changes})


def tracks(n=3, **changes):
    fields = {
        'sequence_id': '0000',
        'frame_id': '000001',
        'stamp_ns': 5,
        'world_SE3_agent': SE3.identity(),
        'boxes': boxes(n),
        'scores': np.linspace(0, 1, n),
        'labels': np.zeros(n, dtype=np.int64),
        'track_ids': np.arange(n),
        'sources': np.ones(n, dtype=np.int64),
        'remote_agents': tuple((f'a{i}',) for i in range(n)),
    }
    return TrackedObjects(**{**fields, **changes})


@pytest.mark.parametrize(
    ('word', 'role'),
    [
        ('infrastructure', Role.ROADSIDE),
        ('infrastructure-side', Role.ROADSIDE),
        ('inf', Role.ROADSIDE),
        ('Roadside', Role.ROADSIDE),
        ('vehicle-side', Role.VEHICLE),
        ('veh', Role.VEHICLE),
    ],
)
def test_dataset_words_become_roles(word, role):
    assert Role.from_dataset(word) is role


def test_an_unknown_word_for_a_role_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'drone'.*infrastructure"):
        Role.from_dataset('drone')


def test_roles_print_as_their_plain_word():
    assert f'{Role.ROADSIDE}' == str(Role.ROADSIDE) == 'roadside'


@pytest.mark.parametrize(
    'image',
    [np.zeros((48, 65, 3), np.uint8), np.zeros((48, 64), np.uint8), np.zeros((48, 64, 3))],
)
def test_an_image_must_fit_its_calibration(image):
    k = np.array([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]])
    camera = CameraModel('front', 64, 48, k, np.eye(4))
    assert CameraImage(np.zeros((48, 64, 3), np.uint8), camera, 0).stamp_ns == 0
    with pytest.raises(ValueError, match=r'front.*\(48, 64, 3\)'):
        CameraImage(image, camera, 0)


@pytest.mark.parametrize(
    'changes',
    [
        {'class_names': ('car',)},
        {'track_ids': np.arange(4)},
        {'raw_types': ()},
        {'occlusion': np.zeros(2, dtype=np.int64)},
        {'interpolated': np.zeros(1, dtype=bool)},
    ],
)
def test_labels_need_one_entry_per_object(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        labels(**changes)


def test_selected_labels_keep_their_rows_together():
    chosen = labels().select(np.array([True, False, True]))
    assert len(chosen) == 2
    assert chosen.track_ids.tolist() == [0, 2]
    assert chosen.raw_types == ('T0', 'T2')
    np.testing.assert_array_equal(chosen.boxes.centers, boxes(3).centers[[0, 2]])
    assert len(labels().select(np.zeros(3, dtype=bool))) == 0


@pytest.mark.parametrize(
    'changes',
    [
        {'query_features': np.zeros((2, 5), np.float32)},
        {'motion_features': np.zeros((3, 4), np.float32)},
        {'query_features': np.zeros(2, np.float32)},
        {'boxes': boxes(1)},
        {'reference_points': np.zeros((3, 3), np.float32)},
        {'class_scores': np.zeros((1, 3), np.float32)},
        {'track_ids': np.arange(3)},
    ],
)
def test_a_message_needs_one_row_per_instance(changes):
    assert len(message()) == 2
    with pytest.raises(ValueError, match=r'shapes differ|rows'):
        message(**changes)


def test_an_empty_message_is_a_message():
    assert len(message(0)) == 0


@pytest.mark.parametrize('name', ['scores', 'labels', 'track_ids', 'sources', 'remote_agents'])
def test_tracks_need_one_entry_per_object(name):
    with pytest.raises(ValueError, match=name):
        tracks(**{name: getattr(tracks(), name)[:2]})


def test_selected_tracks_keep_their_rows_together():
    chosen = tracks().select(np.array([False, True, True]))
    assert chosen.track_ids.tolist() == [1, 2]
    assert chosen.scores.tolist() == [0.5, 1.0]
    assert chosen.remote_agents == (('a1',), ('a2',))
    assert (chosen.sequence_id, chosen.frame_id, chosen.stamp_ns) == ('0000', '000001', 5)


def test_predicted_tracks_move_with_their_velocity_and_stay_where_it_is_unknown():
    speeds = np.array([[4.0, -2.0], [0.0, 0.0], [np.nan, np.nan]])
    given = tracks(boxes=dataclasses.replace(boxes(3), velocities=speeds))
    later = given.predicted(given.stamp_ns + 500_000_000)
    moved = later.boxes.centers - given.boxes.centers
    np.testing.assert_allclose(moved, [[2.0, -1.0, 0.0], [0, 0, 0], [0, 0, 0]], atol=1e-12)
    assert later.stamp_ns == given.stamp_ns + 500_000_000
    np.testing.assert_array_equal(later.track_ids, given.track_ids)
    back = later.predicted(given.stamp_ns)
    np.testing.assert_allclose(back.boxes.centers, given.boxes.centers, atol=1e-12)


@pytest.mark.parametrize('make', [labels, message, tracks])
def test_nouns_are_frozen(make):
    noun = make()
    with pytest.raises(dataclasses.FrozenInstanceError):
        noun.boxes = boxes(1)


def test_an_input_error_reads_as_file_field_and_remedy():
    error = InputError('it is empty', path='a/b.json', field='x[0].y', remedy='fill it')
    assert str(error) == "file a/b.json, field 'x[0].y': it is empty. Remedy: fill it"
    assert str(InputError('it is empty')) == 'it is empty'
    assert isinstance(error, ValueError)


def test_a_message_error_carries_its_reason_for_the_counters():
    error = MessageError('too_old', '900 ms')
    assert error.reason == 'too_old'
    assert str(error) == 'too_old: 900 ms'


def test_map_features_and_maps_must_fit_their_grid():
    grid = MapGrid(4, 6, 1.0)
    head = ('v', Role.VEHICLE, 'm', 1, 2, 3, SE3.identity(), np.zeros((6, 6)), grid)
    assert BevFeature(*head, np.zeros((3, 4, 6), np.float32)).features.shape == (3, 4, 6)
    for shape in ((3, 6, 4), (4, 6), (1, 3, 4, 6)):
        with pytest.raises(ValueError, match='do not fit'):
            BevFeature(*head, np.zeros(shape, np.float32))
    where = ('s', 'f', 3, grid, SE3.identity())
    whole, source = np.zeros((2, 4, 6), np.float32), np.zeros((4, 6), np.int64)
    assert BevMap(*where, whole, MAP_CLASSES[:2], source).remote_agents == ()
    with pytest.raises(ValueError, match='do not fit'):
        BevMap(*where, whole, MAP_CLASSES, source)
    with pytest.raises(ValueError, match='do not fit'):
        BevMap(*where, whole, MAP_CLASSES[:2], source.T)
