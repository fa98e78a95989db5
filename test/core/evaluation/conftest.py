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

"""Small frames for evaluation tests, and the seeded scenes of the peer comparison."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from cooptrack_core.evaluation import GroundTruthFrame, PredictionFrame
from cooptrack_core.geometry import Boxes3D

SCENES = Path(__file__).resolve().parents[3] / 'benchmarks' / 'peers' / 'scenes.py'


def _boxes(rows):
    n = len(rows)
    centers = np.array([[r[0], r[1], 0.8] for r in rows]).reshape(n, 3)
    return Boxes3D(centers, np.tile([4.0, 2.0, 1.5], (n, 1)), np.zeros(n), np.zeros((n, 2)))


def _truth(k, rows, *, scene='s', ego=(0.0, 0.0), by_ego=None, by_remote=None, label=0):
    """Frame k at 10 Hz; rows are (x, y, id)."""
    n = len(rows)
    return GroundTruthFrame(
        scene,
        str(k),
        k * 100_000_000,
        np.array(ego),
        _boxes(rows),
        np.full(n, label, np.int64),
        np.array([r[2] for r in rows], dtype=np.int64),
        None if by_ego is None else np.array(by_ego, dtype=bool),
        None if by_remote is None else np.array(by_remote, dtype=bool),
    )


def _output(k, rows, *, scene='s', label=0):
    """Frame k; rows are (x, y, id, score)."""
    n = len(rows)
    return PredictionFrame(
        scene,
        str(k),
        _boxes(rows),
        np.full(n, label, np.int64),
        np.array([r[3] for r in rows], dtype=np.float64),
        np.array([r[2] for r in rows], dtype=np.int64),
    )


@pytest.fixture(scope='session')
def truth():
    return _truth


@pytest.fixture(scope='session')
def output():
    return _output


@pytest.fixture(scope='session')
def scenes():
    name = 'cooptrack_peer_scenes'
    spec = importlib.util.spec_from_file_location(name, SCENES)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
