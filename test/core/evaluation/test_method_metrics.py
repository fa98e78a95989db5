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

"""All numbers of a method as JSON, the protocol, and bytes on the air."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from cooptrack_core.config import from_mapping
from cooptrack_core.evaluation import (
    BytesLog,
    GroundTruthFrame,
    PredictionFrame,
    Protocol,
    evaluate_method,
    observed_duration,
)
from cooptrack_core.geometry import SE3, Boxes3D
from cooptrack_core.structures import AgentFrame, ObjectLabels, Role, TrackedObjects


def test_the_json_has_the_agreed_names_and_is_valid(scenes):
    case = scenes.make_case('one class without ground truth', 0)
    content = evaluate_method(case.ground_truth, case.detections, case.tracks).as_dict()
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert set(content['ap']) == {'0.5', '1.0', '2.0', '4.0'}
    assert content['mean_ap'] == pytest.approx(np.mean(list(content['ap'].values())))
    for key in ('amota', 'amotp', 'mota', 'motp', 'ids', 'recall'):
        assert isinstance(content[key], (int, float))
        assert content[key] == content['classes']['car'][key]
    assert content['hidden_recall'] is None
    assert content['classes']['bicycle']['amota'] is None
    assert content['classes']['bicycle']['ground_truth_boxes'] == 0


def test_output_below_the_score_is_neither_tracked_nor_hidden(truth, output):
    frames = [truth(k, [(20, 0, 2)], by_ego=[False], by_remote=[True]) for k in range(4)]
    weak = [output(k, [(20, 0, 2, 0.29)]) for k in range(4)]
    strong = [output(k, [(20, 0, 2, 0.3)]) for k in range(4)]
    a, b = (evaluate_method(frames, x, x).as_dict() for x in (weak, strong))
    assert (a['mean_ap'], b['mean_ap']) == (pytest.approx(1), pytest.approx(1))
    assert (a['amota'], b['amota']) == (0.0, 1.0)
    assert (a['hidden_recall'], b['hidden_recall']) == (0.0, 1.0)


def test_no_frames_give_valid_json():
    json.dumps(evaluate_method([], [], []).as_dict(), allow_nan=False)


def test_the_same_input_gives_the_same_numbers_bit_for_bit(scenes):
    case = scenes.make_case('crowd', 1)
    first, second = (
        evaluate_method(case.ground_truth, case.detections, case.tracks).as_dict()
        for _ in range(2)
    )
    assert json.dumps(first) == json.dumps(second)


def test_labels_and_tracks_meet_in_the_world():
    # The ego stands at (100, 50) and looks along +y; its LiDAR sits 1 m ahead of the body.
    world_T_body = SE3.from_yaw(np.pi / 2, (100.0, 50.0, 0.0))
    world_T_agent = world_T_body @ SE3.from_yaw(0.0, (1.0, 0.0, 1.8))
    boxes = Boxes3D([[10.0, 2.0, -1.0]], [[4.0, 2.0, 1.5]], [0.1], [[3.0, 0.0]])
    frame = AgentFrame('vehicle', Role.VEHICLE, 's', '0', 5, (), world_T_agent, world_T_body)
    one = np.ones(1, dtype=np.int64)
    labels = ObjectLabels(boxes, ('bicycle',), one, ('Cyclist',), one, one.astype(bool))
    actual = GroundTruthFrame.from_labels(frame, labels)
    tracked = TrackedObjects(
        's', '0', 5, world_T_agent, boxes, np.array([0.9]), one, one, one, ((),)
    )
    predicted = PredictionFrame.from_tracked(tracked)
    np.testing.assert_allclose(actual.boxes.centers, [[98.0, 61.0, 0.8]], atol=1e-9)
    np.testing.assert_allclose(actual.boxes.centers, predicted.boxes.centers)
    np.testing.assert_allclose(actual.boxes.velocities, [[0.0, 3.0]], atol=1e-9)
    np.testing.assert_allclose(actual.ego_position, [100.0, 50.0])
    assert evaluate_method([actual], [predicted], [predicted]).tracking['bicycle'].amota == 1.0


def test_the_protocol_is_printed_whole_and_checked():
    content = Protocol.roadside().as_dict()
    json.dumps(content, allow_nan=False)
    assert content['class_ranges'] == {'car': 100.0, 'bicycle': 80.0, 'pedestrian': 80.0}
    assert from_mapping(Protocol, {'class_ranges': [100.0, 80.0, 80.0], 'name': 'roadside'}) == (
        Protocol.roadside()
    )
    with pytest.raises(ValueError, match='tp_distance'):
        replace(Protocol(), tp_distance=3.0)
    with pytest.raises(ValueError, match='min_recall'):
        replace(Protocol(), min_recall=1.0)


def test_bytes_per_second_count_every_frame_as_a_period():
    log = BytesLog()
    for _ in range(10):
        log.add(total_bytes=1000, header_bytes=200, instances=5)
    duration = observed_duration(('s', k * 100_000_000) for k in range(10))
    assert duration == pytest.approx(1.0)
    summary = log.summary(duration)
    assert summary.bytes_per_second == pytest.approx(10_000)
    assert (summary.mean_instances, summary.header_share) == (5.0, pytest.approx(0.2))


def test_nothing_sent_is_zero_bytes_and_undefined_means():
    content = BytesLog().summary(2.0).as_dict()
    assert content['bytes_per_second'] == 0.0
    assert content['mean_instances'] is None
    assert math.isnan(BytesLog().summary(0.0).bytes_per_second)


def test_scenes_do_not_add_the_time_between_them():
    frames = [('a', 0), ('a', 100_000_000), ('b', 10**12), ('b', 10**12 + 100_000_000)]
    assert observed_duration(frames) == pytest.approx(0.4)


def test_an_impossible_message_is_refused():
    with pytest.raises(ValueError, match='impossible'):
        BytesLog().add(10, 20, 0)
