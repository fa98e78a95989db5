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

"""Weights of CoBEVT in and out, its sizes, and its configurations."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
import small_cobevt
import torch

from cooptrack_core.config import from_mapping, load_yaml
from cooptrack_core.errors import InputError
from cooptrack_core.geometry import MapGrid
from cooptrack_core.models.backbones.resnet import resnet34
from cooptrack_core.models.cobevt import Cobevt, CobevtConfig, CobevtQuirks, load_official
from cooptrack_core.models.cobevt.checkpoint import (
    load_weights,
    model_id,
    save_weights,
    to_official_state_dict,
)
from cooptrack_core.models.cobevt.config import (
    FuseBevtConfig,
    MapDecoderConfig,
    RingBackboneConfig,
    SinBevtConfig,
    nuscenes,
    official,
)
from cooptrack_core.resources import config_path


def count(*parts: torch.nn.Module) -> int:
    return sum(p.numel() for part in parts for p in part.parameters())


def from_yaml(name: str) -> CobevtConfig:
    path = config_path(f'models/{name}.yaml')
    return from_mapping(CobevtConfig, load_yaml(path), path=path)


@pytest.fixture(scope='module')
def dynamic() -> Cobevt:
    return Cobevt(official())


@pytest.fixture(scope='module')
def state(dynamic) -> dict[str, torch.Tensor]:
    return to_official_state_dict(dynamic)


def test_the_dynamic_model_has_the_official_sizes(dynamic, state):
    assert len(state) == 648
    assert count(dynamic) == 26_813_384
    assert count(dynamic.sinbevt) == 3_722_884
    assert count(dynamic.fusion) == 857_176
    assert count(dynamic.decoder) == 434_496
    assert count(dynamic) - count(dynamic.unused) == 26_299_806
    views = [count(s.attention, s.embedding, s.keys, s.values) for s in dynamic.sinbevt.stages]
    assert views == [300_928, 333_824, 400_384]
    assert [count(s.refine) for s in dynamic.sinbevt.stages] == [35_584] * 3
    assert [count(s.downsample) for s in dynamic.sinbevt.stages[:2]] == [201_216] * 2
    assert count(dynamic.sinbevt.self_attention) == 81_412
    assert [count(layer) for layer in dynamic.fusion.layers] == [280_136] * 3


def test_the_other_official_models_have_theirs():
    assert count(Cobevt(official('static'))) == 26_813_095
    assert count(Cobevt(official(cooperative=False))) == 25_956_208


@pytest.mark.parametrize(
    ('ratio', 'size'), [(8, 185_136), (16, 166_680), (32, 157_452), (64, 152_838)]
)
def test_the_compressor_has_the_official_size(ratio, size):
    config = dataclasses.replace(official(compression=ratio), backbone=from_tiny())
    assert count(Cobevt(dataclasses.replace(config, keep_unused=False)).compressor) == size


def from_tiny() -> RingBackboneConfig:
    return RingBackboneConfig('residual', (8, 8, 8, 8), (1, 1, 1, 1))


def test_sinbevt_for_nuscenes_has_the_official_size_and_runs():
    assert from_yaml('cobevt_nuscenes') == nuscenes()
    model = Cobevt(nuscenes()).eval()
    assert count(model) == 1_609_730
    assert count(model.backbone) == 340_160
    assert model.sinbevt.queries.numel() == 320_000
    assert count(*(p for s in model.sinbevt.stages for p in (s.refine,))) == 47_040
    assert count(*(s.downsample for s in model.sinbevt.stages[:2])) == 228_608
    assert count(model.decoder) == 244_992
    assert count(model.heads) == 37_122
    ring = small_cobevt.ring(1, cameras=6)
    images = torch.randn(1, 6, 3, 224, 480)
    with torch.inference_mode():
        features = model.encode(images, ring.intrinsics, ring.agent_T_camera)
        logits = model.decode(features)['vehicle_center']
    assert features.shape == (1, 128, 25, 25)
    assert logits.shape == (1, 2, 200, 200) and logits.isfinite().all()


def test_the_yaml_of_official_size_is_the_repaired_official_model():
    expected = dataclasses.replace(
        official(), name='cobevt', keep_unused=False, quirks=CobevtQuirks(),
        targets=('dynamic', 'static'),
    )  # fmt: skip
    assert from_yaml('cobevt') == expected


def test_the_tiny_model_is_small_enough_to_ship(tmp_path):
    model = Cobevt(from_yaml('cobevt_tiny'))
    save_weights(model, tmp_path / 'tiny.safetensors', half=True)
    assert (tmp_path / 'tiny.safetensors').stat().st_size < 15e6
    assert model.config.features == MapGrid(32, 32, 3.125)


def test_official_weights_load_under_our_names(state, tmp_path):
    renamed = {f'module.{k}': torch.randn_like(v) if v.ndim > 1 and v.is_floating_point() else v
               for k, v in state.items()}  # fmt: skip
    path = tmp_path / 'net_epoch.pth'
    torch.save({'state_dict': renamed}, path)
    model = load_official(path)
    assert model.config == official() and not model.training
    back = to_official_state_dict(model)
    assert {k: tuple(v.shape) for k, v in back.items()} == {
        k: tuple(v.shape) for k, v in state.items()
    }
    assert all(torch.equal(back[k], renamed[f'module.{k}']) for k in state)
    assert model.config.quirks == CobevtQuirks.official()


def test_every_kind_of_official_model_is_recognised():
    for config in (official('static', compression=32), official(cooperative=False)):
        small = to_official_state_dict(Cobevt(config))
        assert load_official(small).config == config


def test_wrong_keys_are_named_with_their_counterparts(state):
    broken = dict(state)
    del broken['fax.cross_views.1.img_embed.weight']
    broken['fax.cross_views.1.img_embedding.weight'] = torch.zeros(1)
    broken['decoder.decoder.0.bias'] = torch.zeros(3)
    with pytest.raises(InputError) as error:
        load_official(broken)
    text = str(error.value)
    assert '1 missing, 1 unexpected and 1 misshaped' in text
    assert 'missing fax.cross_views.1.img_embed.weight' in text
    assert 'sinbevt.stages.1.embedding.direction.weight' in text
    assert 'unexpected fax.cross_views.1.img_embedding.weight' in text
    assert 'misshaped decoder.decoder.0.bias' in text


def test_an_index_table_of_another_order_is_refused(state):
    key = 'fusion_net.layers.1.grid_attention.fn.relative_position_index'
    with pytest.raises(InputError, match='relative_position_index'):
        load_official({**state, key: state[key].T})


def test_a_compressor_of_no_whole_ratio_is_refused(state):
    more = {**state, 'naive_compressor.encoder.0.weight': torch.zeros(3, 128, 3, 3)}
    with pytest.raises(InputError, match='whole ratio'):
        load_official(more)


def test_loading_runs_no_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return (exec, ('raise SystemExit("ran")',))

    path = tmp_path / 'trap.pth'
    path.write_bytes(pickle.dumps({'state_dict': Trap()}, protocol=2))
    with pytest.raises(InputError, match='without running its code'):
        load_official(path)


@pytest.mark.parametrize('half', [False, True])
def test_our_weights_come_back_as_they_were(tmp_path, half):
    model = small_cobevt.model()
    path = tmp_path / 'w.safetensors'
    identity = save_weights(model, path, half=half, metadata={'note': 'x'})
    loaded = load_weights(path)
    assert loaded.config == model.config
    assert model_id(loaded) == model_id(model) == identity
    state = model.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in loaded.state_dict().items())


def test_files_of_something_else_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({'a': torch.zeros(1)}, tmp_path / 'w.safetensors', {'config': '{}'})
    with pytest.raises(InputError, match='no weights of CoBEVT'):
        load_weights(tmp_path / 'w.safetensors')


def test_a_model_of_another_shape_has_no_official_names():
    nus = Cobevt(nuscenes())
    with pytest.raises(InputError, match='no counterpart'):
        to_official_state_dict(nus)


def test_fewer_stages_of_a_resnet_are_the_first_ones():
    whole, part = resnet34(), resnet34(stages=2)
    assert part.out_channels == (64, 128)
    assert set(part.state_dict()) < set(whole.state_dict())
    part.load_state_dict({k: whole.state_dict()[k] for k in part.state_dict()})
    x = torch.randn(1, 3, 64, 64)
    expected = whole.eval()(x)[:2]
    assert all(map(torch.equal, part.eval()(x), expected))


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        ({'compression': 3}, 'compression 3'),
        ({'targets': ()}, 'targets'),
        ({'decoder': MapDecoderConfig(channels=(8,))}, 'decoder.channels'),
        ({'fusion': FuseBevtConfig(window=5)}, 'fusion.window'),
        ({'map': MapGrid(64, 32, 1.0)}, 'square'),
        ({'map': MapGrid(96, 96, 1.0)}, 'query window'),
        ({'backbone': RingBackboneConfig('residual', levels=(1,))}, 'one entry per stage'),
    ],
)
def test_sizes_that_do_not_fit_are_named(change, text):
    with pytest.raises(ValueError, match=text):
        dataclasses.replace(small_cobevt.SMALL, **change)


def test_parts_check_their_own_sizes():
    with pytest.raises(ValueError, match='one entry per stage'):
        SinBevtConfig(dims=(64, 64))
    with pytest.raises(ValueError, match='levels'):
        RingBackboneConfig('efficientnet_b4', levels=(1, 3))
    with pytest.raises(ValueError, match='input size'):
        dataclasses.replace(small_cobevt.SMALL.image, height=0)
