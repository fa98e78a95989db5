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

"""Configurations: typed, strict, and with errors that name the way out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.config import from_mapping, load_yaml
from cooptrack_core.errors import InputError


@dataclass(frozen=True)
class Encoder:
    layers: int
    width: float = 64.0
    kind: Literal['small', 'large'] = 'small'


@dataclass(frozen=True)
class Model:
    name: str
    encoder: Encoder
    sizes: tuple[int, ...] = (1, 2)
    range: tuple[float, float] = (0.0, 1.0)
    limit: float | None = None
    refine: bool = True
    stages: tuple[Encoder, ...] = ()
    anything: Any = None

    def __post_init__(self) -> None:
        if self.range[0] >= self.range[1]:
            raise ValueError('the range is empty')


GOOD = {'name': 'tiny', 'encoder': {'layers': 3}}


def test_defaults_fill_what_is_not_given():
    assert from_mapping(Model, GOOD) == Model('tiny', Encoder(3))


def test_everything_given_arrives_with_its_type():
    model = from_mapping(
        Model,
        {'name': 'r50', 'encoder': {'layers': 6, 'width': 256, 'kind': 'large'}, 'sizes': [4],
         'range': [-1, 1], 'limit': 2, 'refine': False,
         'stages': [{'layers': 1}, {'layers': 2}], 'anything': ['x']},
    )  # fmt: skip
    assert model.encoder == Encoder(6, 256.0, 'large')
    assert isinstance(model.encoder.width, float)
    assert model.sizes == (4,)
    assert model.range == (-1.0, 1.0)
    assert model.limit == 2.0
    assert model.stages == (Encoder(1), Encoder(2))
    assert from_mapping(Model, {**GOOD, 'limit': None}).limit is None


@pytest.mark.parametrize(
    ('mapping', 'where', 'hint'),
    [
        ({**GOOD, 'encodr': {}}, 'encodr', "did you mean 'encoder'"),
        ({**GOOD, 'zzz': 1}, 'zzz', 'known keys'),
        ({'name': 'a', 'encoder': {'layrs': 3}}, 'encoder.layrs', "did you mean 'layers'"),
        ({'name': 'a'}, 'encoder', 'add it'),
        ({'name': 'a', 'encoder': {}}, 'encoder.layers', 'add it'),
        ({**GOOD, 'stages': [{'layers': 1}, {'layers': 1, 'deep': 2}]}, 'stages[1].deep', 'known'),
    ],
)
def test_a_wrong_key_names_its_place_and_the_nearest_right_one(mapping, where, hint):
    with pytest.raises(InputError) as error:
        from_mapping(Model, mapping, path='model.yaml')
    assert error.value.field == where
    assert hint in error.value.remedy
    assert 'model.yaml' in str(error.value)


@pytest.mark.parametrize(
    ('changes', 'where', 'message'),
    [
        ({'name': 3}, 'name', 'expected str, found 3'),
        ({'encoder': 3}, 'encoder', 'expected a mapping'),
        ({'encoder': {'layers': 2.5}}, 'encoder.layers', 'expected int'),
        ({'encoder': {'layers': True}}, 'encoder.layers', 'expected int'),
        ({'encoder': {'layers': '3'}}, 'encoder.layers', 'expected int'),
        ({'encoder': {'layers': 3, 'kind': 'huge'}}, 'encoder.kind', "one of ['small', 'large']"),
        ({'sizes': 4}, 'sizes', 'expected a list'),
        ({'sizes': [1, 'b']}, 'sizes[1]', 'expected int'),
        ({'range': [0.0]}, 'range', 'a list of 2'),
        ({'limit': 'far'}, 'limit', 'expected float'),
        ({'refine': 1}, 'refine', 'expected bool'),
    ],
)
def test_a_wrong_value_names_its_place_and_what_was_expected(changes, where, message):
    with pytest.raises(InputError) as error:
        from_mapping(Model, {**GOOD, **changes})
    assert error.value.field == where
    assert message in error.value.message


def test_what_the_class_itself_refuses_is_an_input_error():
    with pytest.raises(InputError, match='the range is empty') as error:
        from_mapping(Model, {**GOOD, 'range': [1.0, 0.0]}, path='model.yaml')
    assert 'model.yaml' in str(error.value)


@given(st.integers(), st.floats(allow_nan=False), st.sampled_from(['small', 'large']))
def test_any_valid_values_come_back_unchanged(layers, width, kind):
    mapping = {'layers': layers, 'width': width, 'kind': kind}
    assert from_mapping(Encoder, mapping) == Encoder(layers, width, kind)


def test_yaml_is_read(tmp_path):
    path = tmp_path / 'model.yaml'
    path.write_text('name: tiny\nencoder: {layers: 3}\n')
    assert from_mapping(Model, load_yaml(path)) == Model('tiny', Encoder(3))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'name: [1, 2', 'not valid YAML'),
        (b'- a\n- b\n', 'found list'),
        (b'', 'found NoneType'),
        (b'\xff\xfe\x00', 'not valid YAML'),
        (b'!!python/object/apply:os.system ["true"]', 'not valid YAML'),
    ],
)
def test_bad_yaml_is_named(tmp_path, content, message):
    path = tmp_path / 'model.yaml'
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        load_yaml(path)
    assert error.value.path == path
    assert error.value.remedy


def test_a_missing_yaml_is_named(tmp_path):
    with pytest.raises(InputError, match=r'nowhere\.yaml.*Remedy'):
        load_yaml(tmp_path / 'nowhere.yaml')
