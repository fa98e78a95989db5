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

"""The shipped configurations build and run: frames in, tracks and a message out."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from small import config, frame, model, remote

from cooptrack_core.config import from_mapping, load_yaml
from cooptrack_core.geometry import SE3, CameraModel
from cooptrack_core.models.cooptrack.config import ModelConfig, r50
from cooptrack_core.models.cooptrack.interface import message_fields
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.models.cooptrack.preprocess import prepare_frame
from cooptrack_core.models.cooptrack.quirks import OfficialQuirks
from cooptrack_core.models.trace import record_stages
from cooptrack_core.resources import config_path
from cooptrack_core.structures import AgentFrame, CameraImage, Role


def read(name: str) -> ModelConfig:
    path = config_path(f'models/{name}.yaml')
    return from_mapping(ModelConfig, load_yaml(path), path=path)


@pytest.fixture(scope='module')
def tiny() -> CoopTrack:
    torch.manual_seed(0)
    return CoopTrack(read('tiny')).eval()


def agent_frame(index: int, cameras: int = 1) -> AgentFrame:
    intrinsic = np.array([[800.0, 0, 479.5], [0, 800.0, 269.5], [0, 0, 1]])
    extrinsic = np.eye(4)
    extrinsic[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    camera = CameraModel('front', 960, 540, intrinsic, extrinsic)
    pixels = np.random.default_rng(index).integers(0, 255, (540, 960, 3), dtype=np.uint8)
    pose = SE3.from_yaw(0.01 * index, (0.5 * index, 0, 1.8))
    stamp = 1_700_000_000_000_000_000 + index * 100_000_000
    images = tuple(CameraImage(pixels, camera, stamp) for _ in range(cameras))
    return AgentFrame('vehicle', Role.VEHICLE, 's', str(index), stamp, images, pose, pose)


def test_the_r50_file_is_the_published_configuration() -> None:
    assert read('r50') == r50('cooperative')


def test_tiny_runs_end_to_end(tiny: CoopTrack) -> None:
    with torch.no_grad():
        tiny.refine.to_logits[-1].bias.fill_(0.3)
    memory = None
    with torch.inference_mode():
        for i in range(3):
            inputs = prepare_frame(agent_frame(i), tiny.config)
            assert inputs.images.shape == (1, 3, 384, 960)
            sender, _ = tiny(inputs)
            fields = message_fields(sender.select_live())
            assert fields['query_feats'].shape[1] == 96
            outputs, memory = tiny(inputs, memory)
    assert len(memory.live) > 0
    assert (memory.live.hist_padding[:, 1:].any(1) == False).any()  # noqa: E712
    assert torch.isfinite(outputs.queries.boxes).all()
    assert len(set(memory.live.ids.tolist())) == len(memory.live)


def test_tiny_starts_its_queries_where_a_camera_sees(tiny: CoopTrack) -> None:
    low, extent = tiny.config.range.minimum, tiny.config.range.extent
    points = tiny.learnt.refs.weight.detach().numpy() * extent + low
    assert (np.abs(np.arctan2(points[:, 1], points[:, 0])) < 0.8).all()
    assert points[:, 0].max() > 55 and points[:, 0].min() < 12
    # The untrained boxes sit on their references.
    with torch.inference_mode():
        outputs, _ = tiny(prepare_frame(agent_frame(0), tiny.config))
    torch.testing.assert_close(
        outputs.decoder.last_refs[0], tiny.learnt.refs.weight, atol=1e-4, rtol=1e-3
    )


def test_preprocessing_keeps_points_on_their_pixels(tiny: CoopTrack) -> None:
    small = agent_frame(0)
    (image,) = small.images
    camera = image.camera.resized(1920, 1080)  # as the cameras of V2X-Seq
    large = CameraImage(np.zeros((1080, 1920, 3), np.uint8), camera, image.stamp_ns)
    inputs = prepare_frame(dataclasses.replace(small, images=(large,)), tiny.config)
    point = np.array([20.0, 3.0, -1.0, 1.0])
    h = inputs.agent_to_image[0].double().numpy() @ point
    (u, v), _ = camera.project(point[:3])
    assert h[0] / h[2] + 0.5 == pytest.approx((u + 0.5) / 2, abs=1e-3)
    # 128 rows above the horizon are left out.
    assert h[1] / h[2] + 0.5 == pytest.approx((v + 0.5) / 2 - 128, abs=1e-3)


@pytest.mark.parametrize('encoder', ['bevformer', 'lift'])
@pytest.mark.parametrize('cameras', [0, 2])
def test_any_number_of_cameras_works(encoder: str, cameras: int) -> None:
    network, one = model(config(encoder)), frame(0)
    inputs = dataclasses.replace(
        one,
        images=one.images.expand(cameras, -1, -1, -1),
        agent_to_image=one.agent_to_image.expand(cameras, -1, -1),
    )
    with torch.inference_mode():
        outputs, _ = network(inputs, None, [remote(2)])
    assert torch.isfinite(outputs.queries.boxes).all()


@pytest.mark.parametrize('encoder', ['bevformer', 'lift'])
def test_a_camera_that_sees_no_cell_works(encoder: str) -> None:
    network = model(config(encoder))
    inputs = dataclasses.replace(frame(0), agent_to_image=-frame(0).agent_to_image)
    with torch.inference_mode():
        outputs, _ = network(inputs)
    assert torch.isfinite(outputs.queries.boxes).all()


@pytest.mark.parametrize('encoder', ['bevformer', 'lift'])
def test_a_batch_gives_what_single_frames_give(encoder: str) -> None:
    network = model(config(encoder))
    frames = [frame(i) for i in range(3)]
    images = torch.stack([f.images for f in frames])
    matrices = torch.stack([f.agent_to_image for f in frames])
    matrices[1, :, 0, 3] += 300.0
    with torch.inference_mode():
        _, together = network.detect(images, matrices)
        for i in range(3):
            _, alone = network.detect(images[i : i + 1], matrices[i : i + 1])
            torch.testing.assert_close(
                together.boxes[:, i], alone.boxes[:, 0], atol=1e-4, rtol=1e-4
            )


def test_gradients_reach_every_weight_that_is_used() -> None:
    network = model(config('lift', quirks=None)).train()
    _, memory = network(frame(0))
    outputs = network.step(frame(1), memory.detach(), [remote(6)], matching='rule')
    loss = outputs.queries.logits.sum() + outputs.queries.boxes.sum()
    loss = loss + outputs.decoder.logits.sum() + outputs.decoder.boxes.sum()
    judged = network.step(frame(1), memory.detach(), [remote(6)], matching='learned')
    loss = loss + sum(r.affinity.sum() for r in judged.remotes)
    loss.backward()
    frozen = ('bn', 'downsample.1')
    without = [
        name
        for name, p in network.named_parameters()
        if p.grad is None and p.requires_grad and not any(f in name for f in frozen)
    ]
    # A single token attends to itself with weight one, so its query and key weights are idle,
    # but they share a tensor with the value weights.
    assert without == []


def test_the_memory_is_dropped_at_a_gap_a_new_scene_and_backwards_in_time() -> None:
    network = model(config())
    with torch.inference_mode():
        _, memory = network(frame(10))
        ahead = dataclasses.replace(frame(10), stamp_ns=frame(10).stamp_ns + 750_000_000)
        assert not network(ahead, memory)[0].reset
        late = dataclasses.replace(ahead, stamp_ns=ahead.stamp_ns + 1)
        assert network(late, memory)[0].reset
        assert network(frame(9), memory)[0].reset
        outputs, after = network(frame(11, scene='other'), memory)
    assert outputs.reset
    assert after.next_id <= 1 + 20


def test_as_released_two_hertz_with_jitter_drop_the_memory() -> None:
    quirks = OfficialQuirks(resets_above_half_a_second=True)
    with torch.inference_mode():
        for chosen, dropped in ((quirks, True), (OfficialQuirks(), False)):
            network = model(config(quirks=chosen))
            _, memory = network(frame(10))
            late = dataclasses.replace(frame(10), stamp_ns=frame(10).stamp_ns + 510_000_000)
            assert network(late, memory)[0].reset is dropped


def test_a_detection_model_starts_anew_each_frame() -> None:
    tracking = dataclasses.replace(config().tracking, carry=False, record_threshold=0.4)
    settings = config(motion=None, reasoning=None, cooperation=None, tracking=tracking)
    network = model(settings, confident=0.5)
    with torch.inference_mode():
        _, memory = network(frame(0))
        outputs, _ = network(frame(1), memory)
    assert len(memory.live) > 0
    assert (outputs.start.ids == -1).all()
    low = outputs.decoder.logits[-1, 0].sigmoid().max(-1).values < 0.4
    assert (outputs.queries.logits[low] == 0).all()


def test_recording_leaves_no_hook_behind() -> None:
    network = model(config())
    with torch.inference_mode():
        with record_stages(network) as trace:
            network(frame(0), None, [remote(3)])
            network(frame(1), None, [remote(3)])
        network(frame(2))
    assert len(trace.frames) == 2
    assert trace.frames[0]['gba.attn'].shape[1] == len(trace.frames[0]['caa.ref_pts'])
    assert not network._forward_hooks


def test_an_unfitting_configuration_is_explained() -> None:
    with pytest.raises(ValueError, match='embed_dims 30 is no multiple'):
        config(embed_dims=30)
    with pytest.raises(ValueError, match='cooperation needs motion and reasoning'):
        config(motion=None, reasoning=None)
    assert math.isclose(config().bev.grid.cell_size[0], 10.24)
