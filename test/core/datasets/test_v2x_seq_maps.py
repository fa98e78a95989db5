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

"""Maps of V2X-Seq scenes that the simulator wrote."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('embreex', reason='the simulator needs the extra [simulator]')

from cooptrack_core.datasets.v2x_seq import (
    V2XSeqDataset,
    cooperative_map_frames,
    map_labels,
    read_road_map,
)
from cooptrack_core.errors import InputError
from cooptrack_core.geometry import MapGrid
from cooptrack_core.simulation import load_preset, simulate

GRID = MapGrid()


@pytest.fixture(scope='module')
def made(tmp_path_factory) -> Path:
    tiny = load_preset('tiny')
    preset = replace(tiny, lidar=replace(tiny.lidar, vehicle_rings=32, vehicle_steps=600))
    out = tmp_path_factory.mktemp('maps') / 'data'
    simulate(out, preset, scenes=1, seed=3, workers=1)
    return out


@pytest.fixture
def copy(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / 'copy'))


def test_vehicles_stand_on_the_road_around_the_ego(made):
    scene = V2XSeqDataset(made).scenes[0]
    for pair, frame in zip(scene.pairs, cooperative_map_frames(scene), strict=True):
        maps, labels = frame.labels, scene.cooperative_labels(pair.ego_frame_id)
        assert maps.drivable[120:136, 120:136].all()
        assert not maps.dynamic[127:129, 127:129].any()
        to_body = frame.ego.world_SE3_body.inverse() @ frame.ego.world_SE3_agent
        centers = labels.boxes.transformed(to_body).centers
        rows, columns = np.round(GRID.cells_of(centers)).astype(int).T
        on_map = (rows >= 0) & (rows < 256) & (columns >= 0) & (columns < 256)
        vehicle = np.array([name != 'pedestrian' for name in labels.class_names])
        vehicle &= np.hypot(*centers[:, :2].T) > 3.0
        at = np.flatnonzero(on_map & vehicle)
        assert len(at) > 3
        assert maps.drivable[rows[at], columns[at]].all()
        assert maps.dynamic[rows[at], columns[at]].all()
        assert not (maps.lane & ~maps.drivable).any()
        assert not (maps.visible & ~maps.visible_all).any()
        assert 0 < (maps.visible & maps.dynamic).sum() <= maps.dynamic.sum()


def test_all_agents_in_reach_are_in_the_frame(made):
    scene = V2XSeqDataset(made).scenes[0]
    (first, _) = cooperative_map_frames(scene, load_labels=False)
    assert [a.agent_id for a in first.agents] == ['vehicle', 'roadside']
    assert len(first.ego.images) == 1
    assert first.labels is None
    (near, _) = cooperative_map_frames(scene, communication_range=1.0, load_images=False)
    assert not near.others


def test_without_the_road_there_is_no_static_map(copy):
    scene = V2XSeqDataset(copy).scenes[0]
    before = next(cooperative_map_frames(scene, load_images=False)).labels
    shutil.rmtree(copy / 'cooperative' / 'map')
    assert read_road_map(scene) is None
    after = next(cooperative_map_frames(scene, load_images=False)).labels
    assert after.drivable is None
    assert after.static is None
    assert (after.dynamic & before.drivable == before.dynamic).all()


def test_without_counted_hits_labels_say_what_is_visible(copy):
    shutil.rmtree(copy / 'cooperative' / 'visibility')
    scene = V2XSeqDataset(copy).scenes[0]
    maps = map_labels(scene, scene.pairs[0].ego_frame_id)
    assert (maps.visible_all == maps.dynamic).all()
    assert not (maps.visible & ~maps.dynamic).any()


@pytest.mark.parametrize(
    ('content', 'field'),
    [({}, 'areas'), ({'areas': 3}, 'areas'), ({'areas': [[[0, 0]]]}, 'areas.0'),
     ({'areas': [7]}, 'areas.0')],
)  # fmt: skip
def test_a_damaged_road_map_is_named(copy, content, field):
    (copy / 'cooperative' / 'map' / '0000.json').write_text(json.dumps(content))
    with pytest.raises(InputError, match='Remedy') as error:
        read_road_map(V2XSeqDataset(copy).scenes[0])
    assert error.value.field == field
