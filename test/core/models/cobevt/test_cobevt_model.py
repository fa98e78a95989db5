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

"""The whole model: steps, batches, missing cameras and agents, gradients, the inference form."""

from __future__ import annotations

import dataclasses

import pytest
import small_cobevt
import torch
from torch import Tensor

from cooptrack_core.models.cobevt import MapInputs, MapOutputs, RingInputs
from cooptrack_core.models.cobevt.inference import for_inference


@pytest.fixture(scope='module')
def model():
    return small_cobevt.model()


def run(model, inputs: MapInputs) -> MapOutputs:
    with torch.inference_mode():
        return model(inputs)


def assert_same(a: MapOutputs, b: MapOutputs, atol: float = 1e-5) -> None:
    for target, logits in a.logits.items():
        torch.testing.assert_close(b.logits[target], logits, atol=atol, rtol=1e-4)


def difference(a: MapOutputs, b: MapOutputs) -> float:
    """Largest change of a logit, in spreads of the logits."""
    x, y = a.logits['dynamic'], b.logits['dynamic']
    return float((x - y).abs().max() / x.std())


def with_rings(inputs: MapInputs, **changes: Tensor) -> MapInputs:
    return dataclasses.replace(inputs, rings=dataclasses.replace(inputs.rings, **changes))


def test_the_steps_one_by_one_give_what_the_whole_gives():
    model = small_cobevt.model(compression=4)
    inputs = small_cobevt.scene((3,))
    whole = run(model, inputs)
    with torch.inference_mode():
        sent = []
        for a in range(3):
            r = inputs.rings
            one = (r.images[a : a + 1], r.intrinsics[a : a + 1], r.agent_T_camera[a : a + 1])
            sent.append(model.compress(model.encode(*one)))
        assert sent[0].shape == (1, 8, 8, 8)
        assert model.config.sent_channels == 8
        features = model.decompress(torch.cat(sent))
        logits = model.decode(model.fuse(features, inputs.ego_T_agent))
    assert set(logits) == {'dynamic', 'static'}
    for target, expected in whole.logits.items():
        assert expected.shape == (1, {'dynamic': 2, 'static': 3}[target], 64, 64)
        torch.testing.assert_close(logits[target], expected[0], atol=1e-5, rtol=1e-4)


def test_scenes_of_a_batch_do_not_touch_each_other(model):
    together = run(model, small_cobevt.scene((1, 3, 2)))
    first, start = small_cobevt.scene((1, 3, 2)), 0
    for b, count in enumerate((1, 3, 2)):
        part = slice(start, start + count)
        start += count
        rings = RingInputs(
            *(getattr(first.rings, f.name)[part] for f in dataclasses.fields(RingInputs))
        )
        alone = run(model, MapInputs(rings, first.ego_T_agent[part], (count,)))
        for target in alone.logits:
            torch.testing.assert_close(
                together.logits[target][b : b + 1], alone.logits[target], atol=1e-5, rtol=1e-4
            )


def test_another_agent_changes_the_map_only_through_its_images_and_pose(model):
    inputs = small_cobevt.scene((2,))
    base = run(model, inputs)
    images = inputs.rings.images.clone()
    images[1] += 1
    changed = run(model, with_rings(inputs, images=images))
    assert difference(base, changed) > 0.05
    far = inputs.ego_T_agent.clone()
    far[1, 0, 3] = 500.0
    outside = dataclasses.replace(inputs, ego_T_agent=far)
    assert_same(run(model, outside), run(model, small_cobevt.scene((1,))))


def test_a_missing_camera_is_as_good_as_one_never_mounted(model):
    full = small_cobevt.scene((1,)).rings
    kept = [0, 1, 3]
    three = RingInputs(*(getattr(full, f.name)[:, kept] for f in dataclasses.fields(RingInputs)))
    images, poses = full.images.clone(), full.agent_T_camera.clone()
    images[:, 2], poses[:, 2] = float('nan'), float('nan')
    valid = full.cameras_valid.clone()
    valid[:, 2] = False
    intrinsics = full.intrinsics.clone()
    intrinsics[:, 2] = 0
    ego = torch.eye(4)[None]
    expected = run(model, MapInputs(three, ego, (1,)))
    broken = RingInputs(images, intrinsics, poses, valid)
    assert_same(run(model, MapInputs(broken, ego, (1,))), expected)
    assert_same(run(for_inference(model), MapInputs(broken, ego, (1,))), expected, atol=1e-4)


def test_the_order_of_the_cameras_means_nothing(model):
    ring, ego, order = small_cobevt.ring(1), torch.eye(4)[None], [2, 0, 3, 1]
    shuffled = RingInputs(
        *(getattr(ring, f.name)[:, order] for f in dataclasses.fields(RingInputs))
    )
    assert_same(run(model, MapInputs(shuffled, ego, (1,))), run(model, MapInputs(ring, ego, (1,))))


def test_rings_of_different_length_are_filled_up(model):
    rings = [small_cobevt.ring(1, cameras=n, seed=n) for n in (1, 4)]
    poses = small_cobevt.scene((2,)).ego_T_agent
    both = run(model, MapInputs(RingInputs.stack(rings), poses, (2,)))
    with torch.inference_mode():
        each = [model.encode(r.images, r.intrinsics, r.agent_T_camera) for r in rings]
    torch.testing.assert_close(both.features, torch.cat(each), atol=1e-5, rtol=1e-4)


def test_without_any_ego_camera_the_map_rests_on_the_others(model):
    inputs = small_cobevt.scene((2,))
    valid = inputs.rings.cameras_valid.clone()
    valid[0] = False
    blind = run(model, with_rings(inputs, cameras_valid=valid))
    assert blind.logits['dynamic'].isfinite().all()
    # The ego's slot counts nowhere; the other's counts where it stands.
    assert not blind.valid[0, 0].any() and blind.valid[0, 1].any()
    images = inputs.rings.images.clone()
    images[0] = float('nan')
    assert_same(run(model, with_rings(inputs, cameras_valid=valid, images=images)), blind)
    images[1] += 1
    other = run(model, with_rings(inputs, cameras_valid=valid, images=images))
    assert difference(blind, other) > 0.05


def test_without_any_camera_at_all_the_map_is_the_same_everywhere_it_comes_from(model):
    inputs = small_cobevt.scene((2,))
    valid = torch.zeros_like(inputs.rings.cameras_valid)
    out = run(model, with_rings(inputs, cameras_valid=valid))
    assert out.logits['static'].isfinite().all()
    assert torch.equal(out.fused[..., :1, :1].expand_as(out.fused), out.fused)


def test_an_agent_can_be_left_out_of_the_fusion(model):
    inputs = small_cobevt.scene((3,))
    features = run(model, inputs).features
    with torch.inference_mode():
        two = model.fuse(features[:2], inputs.ego_T_agent[:2])
        left_out = torch.tensor([True, True, False])
        masked = model.fuse(features, inputs.ego_T_agent, left_out)
    torch.testing.assert_close(masked, two, atol=1e-5, rtol=1e-4)


def test_another_operator_takes_the_place_of_fusebevt():
    class Largest(torch.nn.Module):
        def forward(self, maps, valid, ego_T_agent=None):
            assert ego_T_agent.shape == (*maps.shape[:2], 4, 4)
            return maps.masked_fill(~valid[:, :, None], float('-inf')).amax(1)

    model = small_cobevt.model()
    model.fusion = Largest()
    out = run(model, small_cobevt.scene((2,)))
    expected = out.warped.masked_fill(~out.valid[:, :, None], float('-inf')).amax(1)
    assert torch.equal(out.fused, expected)


def test_without_fusion_an_agent_is_alone():
    model = small_cobevt.model(fusion=None)
    both = run(model, small_cobevt.scene((2,)))
    assert both.warped is None
    assert torch.equal(both.fused, both.features[:1])


@pytest.mark.parametrize('targets', [('dynamic',), ('static',), ('dynamic', 'static')])
def test_every_parameter_learns(targets):
    model = small_cobevt.model(targets=targets, compression=4).train()
    out = model(small_cobevt.scene((2,)))
    sum(logits.square().mean() for logits in out.logits.values()).backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_the_inference_form_gives_the_same_for_every_calibration():
    model = small_cobevt.model(compression=4)
    ready, before = for_inference(model), {k: v.clone() for k, v in model.state_dict().items()}
    first = small_cobevt.scene((2,))
    for _ in range(2):  # the second time from what it remembers
        assert_same(run(ready, first), run(model, first), atol=1e-4)
    poses = first.rings.agent_T_camera.clone()
    poses[..., :3, 3] += 0.5
    moved = with_rings(first, agent_T_camera=poses)
    assert_same(run(ready, moved), run(model, moved), atol=1e-4)
    assert difference(run(ready, first), run(ready, moved)) > 0.01
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in ready.decoder.modules())


def test_rounding_of_the_network_does_not_touch_the_geometry(model):
    inputs = small_cobevt.scene((2,))
    with torch.inference_mode():
        full = model(inputs)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            rounded = model(inputs)
        stage = model.sinbevt.stages[0]
        args = (None, (8, 12), inputs.rings.intrinsics, inputs.rings.agent_T_camera)
        codes = stage.geometry(*args).codes
        with torch.autocast('cpu', dtype=torch.bfloat16):
            assert torch.equal(stage.geometry(*args).codes, codes)
        # What is remembered does not depend on who asked first.
        ready = for_inference(model)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            ready(inputs)
        assert_same(ready(inputs), full, atol=1e-4)
    scale = full.logits['dynamic'].abs().max()
    assert torch.equal(full.valid, rounded.valid)
    assert (full.logits['dynamic'] - rounded.logits['dynamic']).abs().max() < 0.1 * scale


def test_features_that_do_not_make_as_many_windows_as_the_queries_are_named():
    inputs = small_cobevt.scene((1,))
    larger = torch.zeros(1, 4, 3, 64, 192)
    with pytest.raises(ValueError, match='windows of'):
        small_cobevt.model()(with_rings(inputs, images=larger))


def test_rings_and_scenes_that_do_not_fit_are_refused():
    ring = small_cobevt.ring(2)
    with pytest.raises(ValueError, match='images'):
        dataclasses.replace(ring, intrinsics=ring.intrinsics[:1])
    with pytest.raises(ValueError, match='2 agents in scenes'):
        MapInputs(ring, torch.eye(4).repeat(2, 1, 1), (1, 2))
    with pytest.raises(ValueError, match='ego_T_agent'):
        MapInputs(ring, torch.eye(4).repeat(3, 1, 1), (2,))
