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

"""IoU of maps: both means, the released script's quirks, ranges and masks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.evaluation.map_protocol import MapProtocol
from cooptrack_core.evaluation.maps import MapScore, frame_ious, map_report
from cooptrack_core.geometry import MapGrid
from cooptrack_core.structures import MAP_CLASSES, MapLabels

GRID = MapGrid(6, 8, 1.0)
PROTOCOL = MapProtocol(GRID)
ALL = np.ones((6, 8), bool)


def masks(seed: int, empty: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    dynamic = (random.random((6, 8)) < 0.3).astype(int)
    static = random.integers(0, 3, (6, 8))
    out = dict(PROTOCOL.masks(dynamic, static))
    for name in empty:
        out[name] = np.zeros((6, 8), bool)
    return out


def block(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((6, 8), bool)
    mask[rows, columns] = True
    return mask


NOTHING = {name: np.zeros((6, 8), bool) for name in MAP_CLASSES}


def test_the_dataset_iou_weighs_cells_and_the_mean_weighs_frames():
    truth = {**NOTHING, 'vehicle': block(slice(0, 2), slice(0, 2))}  # 4 cells
    half = {**NOTHING, 'vehicle': block(slice(0, 2), slice(0, 1))}  # 2 of them
    wide = {**NOTHING, 'vehicle': block(slice(0, 6), slice(0, 6))}  # 36, 4 of them right
    score = MapScore(PROTOCOL)
    score.add(half, truth)
    score.add(wide, truth)
    found = score.as_dict()
    assert found['vehicle'] == (2 + 4) / (4 + 36)
    assert found['vehicle_frame_mean'] == (2 / 4 + 4 / 36) / 2
    assert found['cells']['vehicle'] == {'tp': 6, 'fp': 32, 'fn': 2}
    assert found['frames'] == 2


def test_a_class_in_neither_is_left_out_and_on_one_side_only_is_zero():
    vehicle = {**NOTHING, 'vehicle': block(slice(0, 1), slice(0, 1))}
    score = MapScore(PROTOCOL)
    score.add(NOTHING, NOTHING)
    score.add(vehicle, vehicle)
    score.add(vehicle, NOTHING)
    found = score.as_dict()
    assert found['vehicle_frame_mean'] == 0.5
    assert found['frames_left_out'] == {'vehicle': 1, 'drivable': 3, 'lane': 3}
    assert found['lane'] is None and found['lane_frame_mean'] is None
    assert found['vehicle'] == 0.5


def released(predicted: np.ndarray, truth: np.ndarray) -> list[float]:
    """IoUs as the reference describes the released function: of the classes that occur."""
    out = []
    for k in sorted(set(predicted.ravel().tolist()) | set(truth.ravel().tolist())):
        p, t = predicted == k, truth == k
        if not p.any() or not t.any():
            out.append(0.0)
        else:
            out.append((p & t).sum() / ((p & t).sum() + (p & ~t).sum() + (~p & t).sum()))
    return out


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), classes=st.sets(st.sampled_from([0, 1, 2]), min_size=1))
def test_the_published_frame_iou_is_the_released_one_with_its_positions(seed, classes):
    random = np.random.default_rng(seed)
    kinds = sorted(classes)
    dynamic = [random.choice([k for k in kinds if k < 2] or [0], (6, 8)) for _ in range(2)]
    static = [random.choice(kinds, (6, 8)) for _ in range(2)]
    predicted, truth = (PROTOCOL.masks(d, s) for d, s in zip(dynamic, static, strict=True))
    found = frame_ious(predicted, truth, ALL, as_published=True)
    vehicles, statics = released(*dynamic), released(*static)
    for name, values, place in (
        ('vehicle', vehicles, 1), ('drivable', statics, 1), ('lane', statics, 2),
    ):  # fmt: skip
        if place < len(values):
            assert found[name] == pytest.approx(values[place], abs=1e-12)
        else:
            assert found[name] is None
    if classes == {0, 1, 2}:  # the quirks show only where a class is missing
        assert found == frame_ious(predicted, truth, ALL)


def test_a_frame_without_road_lends_the_lane_to_the_road_as_published():
    lane = {**NOTHING, 'lane': block(slice(0, 1), slice(0, 4))}
    score = MapScore(MapProtocol(GRID, as_published=True))
    score.add(lane, lane)
    found = score.as_dict()
    assert found['drivable_frame_mean'] == 1.0 and found['lane_frame_mean'] is None
    assert found['drivable'] is None and found['lane'] == 1.0
    plain = MapScore(PROTOCOL)
    plain.add(lane, lane)
    assert plain.as_dict()['drivable_frame_mean'] is None


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000))
def test_cells_out_of_range_or_out_of_sight_do_not_count(seed):
    protocol = MapProtocol(GRID, half_side=2.0)  # the inner 4 x 4
    assert protocol.evaluated().sum() == 16
    visible = np.random.default_rng(seed).random((6, 8)) < 0.7
    truth, predicted = masks(seed), masks(seed + 1)
    spoilt = {n: np.where(protocol.evaluated() & visible, m, ~m) for n, m in predicted.items()}
    a, b = MapScore(protocol), MapScore(protocol)
    a.add(predicted, truth, visible)
    b.add(spoilt, truth, visible)
    assert a.as_dict() == b.as_dict()
    assert sum(a.as_dict()['cells']['vehicle'].values()) <= 16


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), published=st.booleans())
def test_parts_of_a_dataset_add_up_in_any_order(seed, published):
    protocol = MapProtocol(GRID, as_published=published)
    frames = [(masks(seed + i, ('lane',) * (i % 2)), masks(seed + i + 9)) for i in range(4)]
    whole, first, second = (MapScore(protocol) for _ in range(3))
    for i, (predicted, truth) in enumerate(frames):
        whole.add(predicted, truth)
        (first if i < 2 else second).add(predicted, truth)
    second.merge(first)
    merged, expected = second.as_dict(), whole.as_dict()
    for name in MAP_CLASSES:
        key = f'{name}_frame_mean'
        assert merged.pop(key) == pytest.approx(expected.pop(key))
    assert merged == expected


def test_a_perfect_map_scores_one_and_its_complement_zero():
    truth = masks(3)
    perfect, wrong = MapScore(PROTOCOL), MapScore(PROTOCOL)
    perfect.add(truth, truth)
    wrong.add({name: ~mask for name, mask in truth.items()}, truth)
    for name in MAP_CLASSES:
        for key in (name, f'{name}_frame_mean'):
            assert perfect.as_dict()[key] == 1.0 and wrong.as_dict()[key] == 0.0


def labels(static: bool = True) -> MapLabels:
    m = masks(5)
    road = m['drivable'] | m['lane'] if static else None
    return MapLabels(
        GRID, m['vehicle'], road, m['lane'] if static else None, masks(6)['vehicle'],
        masks(7)['vehicle'],
    )  # fmt: skip


def test_the_protocol_chooses_the_truth():
    found = PROTOCOL.truth(labels())
    np.testing.assert_array_equal(found['vehicle'], labels().visible_all)
    np.testing.assert_array_equal(found['drivable'], labels().drivable & ~labels().lane)
    np.testing.assert_array_equal(found['lane'], labels().lane)
    other = MapProtocol(GRID, vehicles='dynamic', drivable_with_lane=True).truth(labels())
    np.testing.assert_array_equal(other['vehicle'], labels().dynamic)
    np.testing.assert_array_equal(other['drivable'], labels().drivable)
    with pytest.raises(ValueError, match='labels on'):
        MapProtocol().truth(labels())


def test_a_dataset_without_a_road_map_is_scored_on_vehicles_alone():
    score = MapScore(PROTOCOL)
    score.add(masks(1), PROTOCOL.truth(labels(static=False)))
    found = score.as_dict()
    assert found['vehicle'] is not None and found['drivable'] is None and found['lane'] is None
    assert frame_ious(masks(1), {'vehicle': masks(2)['vehicle']}, ALL, True).keys() == {'vehicle'}


def test_the_report_is_json_with_the_names_scripts_rely_on():
    score = MapScore(PROTOCOL)
    score.add(masks(1), masks(2))
    report = json.loads(json.dumps(map_report(PROTOCOL, {'cobevt': score}), allow_nan=False))
    assert set(report) == {'protocol', 'methods'}
    for name in MAP_CLASSES:
        assert 0 <= report['methods']['cobevt'][name] <= 1
        assert 0 <= report['methods']['cobevt'][f'{name}_frame_mean'] <= 1
    assert report['protocol']['half_side'] == 50.0
    assert report['protocol']['as_published'] is False
    assert report['protocol']['grid'] == {'rows': 6, 'columns': 8, 'cell': 1.0}


def test_what_does_not_fit_is_refused():
    score = MapScore(PROTOCOL)
    with pytest.raises(ValueError, match='missing from the output'):
        score.add({'vehicle': ALL}, masks(0))
    with pytest.raises(ValueError, match='unknown'):
        score.add({**masks(0), 'tree': ALL}, masks(0))
    with pytest.raises(ValueError, match='is due'):
        score.add({**masks(0), 'vehicle': ALL[1:]}, masks(0))
    with pytest.raises(ValueError, match='is due'):
        score.add({**masks(0), 'vehicle': ALL.astype(float)}, masks(0))
    with pytest.raises(ValueError, match='do not add up'):
        score.merge(MapScore(MapProtocol(GRID, half_side=2.0)))
    with pytest.raises(ValueError, match='another protocol'):
        map_report(MapProtocol(), {'a': score})
    for wrong in ({'half_side': 0.0}, {'half_side': 0.1}, {'vehicles': 'all'}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            MapProtocol(GRID, **wrong)
    with pytest.raises(ValueError, match='published'):
        MapProtocol(GRID, as_published=True, drivable_with_lane=True)
