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

"""The mean map: its thresholds are the best there are, and it survives a file."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.errors import InputError
from cooptrack_core.evaluation.map_prior import MapPrior, PriorCounter
from cooptrack_core.evaluation.map_protocol import MapProtocol
from cooptrack_core.evaluation.maps import MapScore
from cooptrack_core.geometry import MapGrid
from cooptrack_core.structures import MAP_CLASSES

GRID = MapGrid(5, 4, 1.0)
PROTOCOL = MapProtocol(GRID, half_side=2.0)


def frames(seed: int, n: int):
    random = np.random.default_rng(seed)
    rate = random.random((3, 5, 4))
    visible = random.random((n, 5, 4)) < 0.8
    truths = [
        dict(zip(MAP_CLASSES, random.random((3, 5, 4)) < rate, strict=True)) for _ in range(n)
    ]
    return truths, visible


def dataset_iou(predicted, truths, visible) -> MapScore:
    score = MapScore(PROTOCOL)
    for truth, seen in zip(truths, visible, strict=True):
        score.add(predicted, truth, seen)
    return score


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 6))
def test_no_other_threshold_does_better_on_the_training_set(seed, n):
    truths, visible = frames(seed, n)
    counter = PriorCounter(PROTOCOL)
    for truth, seen in zip(truths, visible, strict=True):
        counter.add(truth, seen)
    prior = counter.prior()
    assert prior.frames == n
    found = dataset_iou(prior.predict(), truths, visible).as_dict()
    for name in MAP_CLASSES:
        if found[name] is None:
            assert math.isnan(prior.ious[name])
            continue
        assert found[name] == pytest.approx(prior.ious[name], abs=1e-12)
        for threshold in np.unique(prior.shares[name]):
            other = {**prior.predict(), name: prior.shares[name] >= threshold}
            iou = dataset_iou(other, truths, visible).dataset.iou(name)
            assert (iou or 0.0) <= found[name] + 1e-12


def test_shares_are_those_of_the_frames_in_which_a_cell_was_seen():
    counter = PriorCounter(PROTOCOL)
    on, off = np.ones((5, 4), bool), np.zeros((5, 4), bool)
    hidden = on.copy()
    hidden[2, 1] = False
    counter.add({'vehicle': on}, on)
    counter.add({'vehicle': off}, hidden)
    share = counter.prior().shares['vehicle']
    expected = np.full((5, 4), 0.5)
    expected[2, 1] = 1.0
    np.testing.assert_array_equal(share, expected)


def test_a_class_that_never_occurs_is_never_predicted():
    counter = PriorCounter(PROTOCOL)
    counter.add({'lane': np.zeros((5, 4), bool)})
    prior = counter.prior()
    assert not prior.predict()['lane'].any() and math.isnan(prior.ious['lane'])
    with pytest.raises(ValueError, match='needs frames'):
        PriorCounter(PROTOCOL).prior()


def test_a_prior_survives_a_file(tmp_path):
    truths, visible = frames(3, 4)
    counter = PriorCounter(PROTOCOL)
    for truth, seen in zip(truths, visible, strict=True):
        counter.add(truth, seen)
    prior = counter.prior()
    prior.save(tmp_path / 'prior.npz')
    again = MapPrior.load(tmp_path / 'prior.npz')
    assert again.grid == prior.grid and again.frames == 4
    assert again.thresholds == prior.thresholds and again.ious == prior.ious
    for name, mask in prior.predict().items():
        np.testing.assert_array_equal(again.predict()[name], mask)


def test_a_file_that_is_no_prior_is_refused_by_name(tmp_path):
    path = tmp_path / 'prior.npz'
    for content in (b'', b'no zip', b'PK\x03\x04 damaged'):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r'prior\.npz'):
            MapPrior.load(path)
    np.savez(path, other=np.zeros(3))
    with pytest.raises(InputError, match='mean map'):
        MapPrior.load(path)
    with pytest.raises(InputError, match='absent'):
        MapPrior.load(tmp_path / 'absent.npz')
