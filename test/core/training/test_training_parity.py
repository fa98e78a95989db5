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

"""Losses of the official training step: the deterministic filler, printed numbers only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from official_step import Step, filled_model, play, published_truth, truth_of

from cooptrack_core.models.cooptrack.model import CoopTrack

TOLERANCE = 1e-4
Role = Literal['vehicle', 'cooperative']

# Printed by the official streaming step: frames 0 and 1, batch 1, dropout 0, identity randperm.
PUBLISHED: dict[str, list[dict[str, float]]] = {
    'vehicle': [
        {
            'frame_0_loss_cls_0': 89.91204,
            'frame_0_loss_bbox_0': 1.7488617,
            'frame_0_loss_cls_3': 64.260681,
            'frame_0_loss_bbox_3': 2.4483707,
            'frame_0_loss_cls_5': 168.46501,
            'frame_0_loss_bbox_5': 1.9420457,
            'ref_loss_cls': 27.120583,
            'ref_loss_box': 6.6000023,
            'total': 703.29095,
        },
        {
            'frame_0_loss_cls_0': 147.9605,
            'frame_0_loss_bbox_0': 1.5951803,
            'frame_0_loss_cls_5': 99.472923,
            'frame_0_loss_bbox_5': 2.4841218,
            'ref_loss_cls': 38.362965,
            'ref_loss_box': 5.2019196,
            'total': 795.31671,
        },
    ],
    'cooperative': [
        {
            'fused_frame_0_loss_cls_0': 23.51367,
            'fused_frame_0_loss_bbox_0': 2.3456662,
            'asso_loss': 0.0,
            'ref_loss_cls': 23.51367,
            'ref_loss_box': 2.3456662,
            'total': 51.718674,
        },
        {
            'fused_frame_0_loss_cls_0': 18.625967,
            'fused_frame_0_loss_bbox_0': 2.780447,
            'asso_loss': 0.0,
            'ref_loss_cls': 18.625967,
            'ref_loss_box': 2.780447,
            'total': 42.812828,
        },
    ],
}

# Gradient norms that do not hang on the sign of a nearly perfect coordinate.
GRADIENTS: dict[str, list[dict[str, float]]] = {
    'vehicle': [
        {
            'pts_bbox_head.cls_branches.5.6.weight': 1736.3515,
            'query_feat_embedding.weight': 29.065457,
            'STReasoner.track_cls.6.weight': 409.73375,
            'STReasoner.track_reg.6.weight': 82.787157,
            'MotionExtractor.pointnet.0.weight': 6.0312131,
        },
        {
            'STReasoner.track_cls.6.weight': 558.19422,
            'STReasoner.track_reg.6.weight': 84.087938,
        },
    ],
    'cooperative': [
        {
            'pts_bbox_head.cls_branches.5.6.weight': 0.0,
            'STReasoner.track_cls.6.weight': 822.58006,
            'crossview_alignment.rot_mlp.0.weight': 0.18605422,
        },
        {'crossview_alignment.rot_mlp.0.weight': 0.32424009},
    ],
}


@pytest.fixture(scope='module')
def models() -> dict[Role, CoopTrack]:
    return {'vehicle': filled_model('vehicle'), 'cooperative': filled_model('cooperative')}


@pytest.fixture
def identity_permutation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, 'randperm', lambda n, **_: torch.arange(n))


def compare(step: Step, expected: dict[str, float], gradients: dict[str, float]) -> None:
    got = {**step.losses, 'total': step.total}
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, rel=TOLERANCE, abs=1e-6), name
    for name, value in gradients.items():
        assert step.gradients[name] == pytest.approx(value, rel=1e-3, abs=1e-6), name


@pytest.mark.parametrize('role', ['vehicle', 'cooperative'])
def test_losses_and_gradients_of_the_official_step(
    role: Role, models: dict[Role, CoopTrack], identity_permutation: None
):
    steps = play(models[role], role, [published_truth(0), published_truth(1)])
    for step, expected, gradients in zip(steps, PUBLISHED[role], GRADIENTS[role], strict=True):
        compare(step, expected, gradients)
        assert step.carried == []


@pytest.mark.parametrize('role', ['vehicle', 'cooperative'])
def test_carried_disappeared_and_new_objects_of_the_official_step(
    role: Role, models: dict[Role, CoopTrack], identity_permutation: None, shared_dir: Path
):
    path = shared_dir / 'golden' / f'cooptrack_training_{role}_tracks.json'
    golden: dict[str, Any] = json.loads(path.read_text())
    truths = [
        truth_of(part['boxes_xyzwlh_yaw_vxvy'], part['labels'], part['ids'])
        for part in (golden['ground_truth'][f'frame{i}'] for i in (0, 1))
    ]
    boxes = golden.get('message_pred_boxes_frame0')
    message = None if boxes is None else torch.tensor(boxes)
    for i, step in enumerate(play(models[role], role, truths, message)):
        printed = golden[f'frame{i}']
        losses = {n: v for n, v in printed.items() if isinstance(v, float) and n != 'TOTAL'}
        # Frame 0 puts objects exactly on predictions: signs of L1 there are rounding.
        sure = ('STReasoner.track_cls.6.weight', 'STReasoner.fuse_feats.0.weight')
        gradients = {n: v for n, v in printed['gradnorms'].items() if n in sure}
        compare(step, {**losses, 'total': printed['TOTAL']}, gradients)
        assert sorted(step.carried) == sorted(printed['carried_ids'])
