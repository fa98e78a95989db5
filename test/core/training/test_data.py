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

"""Training frames: network size, targets an agent can see, inputs as at inference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cooptrack_core.datasets.v2x_seq import V2XSeqDataset, is_ego_box
from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3, PerceptionRange
from cooptrack_core.models.cooptrack.config import ImageConfig
from cooptrack_core.models.cooptrack.interface import RemoteInstances
from cooptrack_core.models.cooptrack.preprocess import prepare_image
from cooptrack_core.structures import CLASS_NAMES
from cooptrack_core.training.cooperative import pose_noise
from cooptrack_core.training.data import TrainingData
from cooptrack_core.training.inputs import prepare
from cooptrack_core.training.messages import knowable
from cooptrack_core.training.targets import GroundTruth

RANGE = PerceptionRange(-51.2, -51.2, -5.0, 76.8, 51.2, 3.0)
IMAGE = ImageConfig(height=96, width=128)


@pytest.fixture(scope='module')
def data(scenes: Path) -> TrainingData:
    return TrainingData([scenes], IMAGE.width, RANGE, min_visible_pixels=5)


def test_every_frame_of_both_roles_is_there_once(data: TrainingData):
    frames = data.single_frames('both')
    assert len(frames) == len(set(frames)) == 2 * 2 * 4
    assert {f.agent_id for f in data.single_frames('roadside')} == {'roadside'}
    assert len(data.single_frames('vehicle', per_scene=1)) == 2
    assert all(len(c.frames) == 2 for c in data.clips('vehicle', 2))
    assert [c.pairs for c in data.pair_clips(3)] == [(0, 1, 2)] * 2


def test_targets_are_what_the_agents_own_camera_shows(data: TrainingData, scenes: Path):
    scene = V2XSeqDataset(scenes).scenes[0]
    pair = scene.pairs[0]
    visibility = scene.visibility(pair.ego_frame_id)
    assert visibility is not None
    for agent, frame_id in (('vehicle', pair.ego_frame_id),
                            ('roadside', pair.remote_frame_ids['roadside'])):  # fmt: skip
        seen = set(visibility.track_ids[visibility.visible_pixels[agent] >= 5].tolist())
        truth = data.frame(0, agent, frame_id).truth
        assert set(truth.ids.tolist()) <= seen
        inside = scene.labels(agent, frame_id)
        expected = {
            int(i)
            for i, c, known in zip(inside.track_ids, inside.boxes.centers, inside.class_names,
                                   strict=True)
            if int(i) in seen and RANGE.contains_xy(c) and known in CLASS_NAMES
        }  # fmt: skip
        assert set(truth.ids.tolist()) == expected
    both = data.cooperative_truth(0, 0, ['vehicle', 'roadside'])
    alone = data.cooperative_truth(0, 0, ['vehicle'])
    assert set(alone.ids.tolist()) <= set(both.ids.tolist())


def test_nobody_learns_to_find_itself(data: TrainingData, scenes: Path):
    dataset = V2XSeqDataset(scenes)
    everyone = [a.agent_id for a in dataset.agents]
    labelled = 0
    for number, scene in enumerate(dataset.scenes):
        for row, pair in enumerate(scene.pairs):
            labels = scene.cooperative_labels(pair.ego_frame_id)
            own = labels.track_ids[is_ego_box(labels.boxes)]
            labelled += len(own)
            truth = data.cooperative_truth(number, row, everyone)
            assert not set(own.tolist()) & set(truth.ids.tolist())
    assert labelled > 0, 'the roadside unit sees the ego somewhere'


def test_training_sees_what_inference_sees(data: TrainingData, scenes: Path):
    scene = V2XSeqDataset(scenes).scenes[0]
    frame_id = scene.pairs[0].ego_frame_id
    image, matrix = prepare_image(scene.frame('vehicle', frame_id).images[0], IMAGE)
    inputs = prepare(data.frame(0, 'vehicle', frame_id), IMAGE).inputs
    assert torch.equal(inputs.images[0], image)
    torch.testing.assert_close(inputs.agent_to_image[0], matrix)


def test_skipped_rows_move_the_projection_with_the_image(data: TrainingData, scenes: Path):
    scene = V2XSeqDataset(scenes).scenes[0]
    camera = scene.frame('vehicle', scene.pairs[0].ego_frame_id).images[0]
    whole, matrix = prepare_image(camera, IMAGE)
    cut = ImageConfig(height=32, width=128, skip_rows=24)
    rows, moved = prepare_image(camera, cut)
    assert torch.equal(rows, whole[:, 24:56])
    u, v, depth = (matrix @ torch.tensor([20.0, 2.0, -1.0, 1.0]))[:3]
    uu, vv, same = (moved @ torch.tensor([20.0, 2.0, -1.0, 1.0]))[:3]
    assert same == depth
    assert uu / same == u / depth
    assert (vv / same).item() == pytest.approx((v / depth).item() - 24, abs=1e-4)
    for mirrored in (False, True):  # rows do not know left from right
        inputs = prepare(data.frame(0, 'vehicle', scene.pairs[0].ego_frame_id), cut,
                         mirrored=mirrored).inputs  # fmt: skip
        expected = rows.flip(-1) if mirrored else rows
        assert torch.equal(inputs.images[0], expected)


def test_rows_below_the_image_are_empty(scenes: Path):
    scene = V2XSeqDataset(scenes).scenes[0]
    camera = scene.frame('vehicle', scene.pairs[0].ego_frame_id).images[0]
    tall, _ = prepare_image(camera, ImageConfig(height=96, width=128, skip_rows=40))
    assert not tall[:, 32:].any()
    assert tall[:, :32].any()
    with pytest.raises(ValueError, match='skip_rows'):
        ImageConfig(height=96, width=128, skip_rows=-1)


def test_a_mirrored_clip_keeps_its_ego_motion_mirrored(data: TrainingData):
    clip = data.clips('vehicle', 2)[0]
    frames = [data.frame(clip.scene, 'vehicle', f) for f in clip.frames]
    plain = [prepare(f, IMAGE).inputs.world_T_agent for f in frames]
    turned = [prepare(f, IMAGE, mirrored=True).inputs.world_T_agent for f in frames]
    step = SE3.from_matrix(np.linalg.inv(plain[0]) @ plain[1], project=True)
    mirrored = SE3.from_matrix(np.linalg.inv(turned[0]) @ turned[1], project=True)
    assert mirrored.yaw == pytest.approx(-step.yaw, abs=1e-9)
    np.testing.assert_allclose(mirrored.translation, step.translation * [1, -1, 1], atol=1e-9)


def test_frames_are_read_once(data: TrainingData):
    clip = data.single_frames('vehicle')[0]
    first = data.frame(clip.scene, clip.agent_id, clip.frames[0])
    assert data.frame(clip.scene, clip.agent_id, clip.frames[0]) is first


def test_nothing_to_train_on_is_an_error(tmp_path: Path):
    with pytest.raises(InputError):
        TrainingData([tmp_path], 128, RANGE)
    with pytest.raises(InputError, match='no sequence'):
        TrainingData([], 128, RANGE)


def truth_at(*xy: tuple[float, float]) -> GroundTruth:
    codes = torch.zeros(len(xy), 10)
    codes[:, :2] = torch.tensor(xy)
    codes[:, 7] = 1.0
    ids = torch.arange(len(xy))
    return GroundTruth(codes, torch.zeros(len(xy), dtype=torch.int64), ids)


def test_only_objects_somebody_reports_are_asked_for():
    truth = truth_at((10.0, 0.0), (30.0, 20.0), (0.0, 40.0), (-20.0, 0.0))
    own = truth.select(torch.tensor([0]))
    ego_T_remote = SE3.from_yaw(np.pi, (40.0, 20.0, 0.0)).matrix
    code = torch.zeros(1, 10)
    code[0, 0], code[0, 7] = 10.5, 1.0  # at (29.5, 20) of the ego
    feats = torch.zeros(1, 8)
    remote = RemoteInstances(
        'roadside', feats, feats, feats, torch.zeros(1, 3), code, RANGE, ego_T_remote
    )
    assert knowable(truth, own, [], None).ids.tolist() == [0]
    assert knowable(truth, own, [remote], None).ids.tolist() == [0, 1]
    assert knowable(truth, own, [remote], torch.tensor([3, -1])).ids.tolist() == [0, 1, 3]


def test_pose_noise_is_a_small_rigid_motion():
    error = SE3.from_matrix(pose_noise(np.random.default_rng(0), 0.1, 0.01))
    assert np.linalg.norm(error.translation) < 1.0 and abs(error.yaw) < 0.1
    assert np.array_equal(pose_noise(np.random.default_rng(0), 0.0, 0.0), np.eye(4))
