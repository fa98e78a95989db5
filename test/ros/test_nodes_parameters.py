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

"""Parameters: one schema; the shipped files and the tables in the docs say the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from cooptrack_core.errors import InputError
from cooptrack_ros.nodes.parameters import (
    AgentParameters,
    CooperativeParameters,
    PlayerParameters,
    build,
    example,
    table,
)

ROOT = Path(__file__).parents[2]
FILES = {
    'agent': AgentParameters,
    'cooperative': CooperativeParameters,
    'dataset_player': PlayerParameters,
}


def shipped(name):
    content = yaml.safe_load((ROOT / 'config' / f'{name}.param.yaml').read_text())
    return content['/**']['ros__parameters']


@pytest.mark.parametrize('name', FILES)
def test_a_shipped_file_holds_every_parameter_at_its_default_in_the_order_of_the_schema(name):
    values = shipped(name)
    fields = dataclasses.fields(FILES[name])
    assert list(values) == [f.name for f in fields]
    assert build(FILES[name], values) == FILES[name]()


@pytest.mark.parametrize('name', FILES)
def test_numbers_in_a_shipped_file_have_the_type_that_ros_wants(name):
    # ROS refuses 10 for a double; only 10.0 is one.
    defaults = {f.name: f.default for f in dataclasses.fields(FILES[name])}
    for key, value in shipped(name).items():
        wanted = list if isinstance(defaults[key], tuple) else type(defaults[key])
        assert type(value) is wanted, key


@pytest.mark.parametrize('name', FILES)
def test_every_parameter_is_explained_above_it(name):
    lines = (ROOT / 'config' / f'{name}.param.yaml').read_text().splitlines()
    for f in dataclasses.fields(FILES[name]):
        at = lines.index(f'    {f.name}: {example(f.default)}')
        assert lines[at - 1].lstrip().startswith('#')


@pytest.mark.parametrize('name', FILES)
def test_the_docs_show_the_table_of_the_schema(name):
    assert table(FILES[name]) in (ROOT / 'docs' / 'nodes.md').read_text()


@pytest.mark.parametrize(
    ('values', 'field', 'remedy'),
    [
        ({'wait_m': 50.0}, 'wait_m', "did you mean 'wait_ms'"),
        ({'wait_ms': 50}, 'wait_ms', 'double'),
        ({'wait_ms': -1.0}, 'wait_ms', '0 to 10000'),
        ({'wait_ms': float('nan')}, 'wait_ms', '0 to 10000'),
        ({'role': 'infrastructure'}, 'role', 'vehicle, roadside'),
        ({'cameras': []}, 'cameras', 'list of strings'),
        ({'cameras': 'front'}, 'cameras', 'list of strings'),
        ({'threads': True}, 'threads', 'integer'),
    ],
)
def test_a_wrong_name_or_value_is_refused_with_the_reason(values, field, remedy):
    with pytest.raises(InputError) as error:
        build(CooperativeParameters, values, 'cooperative')
    assert error.value.field == f'cooperative.{field}'
    assert remedy in str(error.value)
