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
from cooptrack_ros.nodes import generate
from cooptrack_ros.nodes.parameters import (
    SHARED,
    ChannelParameters,
    CooperativeParameters,
)
from cooptrack_ros.nodes.schema import build, changed, example, parameter_file, table

ROOT = Path(__file__).parents[2]
FILES = {name: kind for name, (kind, _) in generate.NODES.items()}


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
def test_files_and_docs_are_those_that_the_schema_writes(name):
    kind, head = generate.NODES[name]
    again = 'run "python -m cooptrack_ros.nodes.generate"'
    path = ROOT / 'config' / f'{name}.param.yaml'
    assert path.read_text() == parameter_file(kind, head), again
    page = (ROOT / 'docs' / 'nodes.md').read_text()
    assert generate.documented(page) == page, again
    assert table(kind) in page


def test_a_page_without_a_place_for_a_table_is_noticed():
    with pytest.raises(ValueError, match='parameters of agent_node'):
        generate.documented('# Nodes')


@pytest.mark.parametrize('kind', FILES.values())
def test_ranges_hold_the_default_and_only_numbers_have_one(kind):
    for f in dataclasses.fields(kind):
        low, high = f.metadata['low'], f.metadata['high']
        if low is None:
            assert high is None
        else:
            assert isinstance(f.default, (int, float))
            assert low <= f.default <= (float('inf') if high is None else high)
        if isinstance(f.default, float):
            # An infinite time or rate would end in an OverflowError somewhere.
            assert high is not None, f.name


@pytest.mark.parametrize('kind', FILES.values())
def test_names_models_and_topics_cannot_change_while_running(kind):
    fixed = {
        'agent_id', 'role', 'cameras', 'transport', 'weights', 'device', 'world_frame', 'agents',
        'v2x_reliability', 'dataset', 'seed',
    }  # fmt: skip
    for f in dataclasses.fields(kind):
        assert not (f.name in fixed and f.metadata['dynamic']), f.name
    assert {f.name for f in dataclasses.fields(ChannelParameters) if f.metadata['dynamic']} == {
        *SHARED
    }


def test_values_change_all_or_none():
    now = CooperativeParameters()
    new = changed(now, {'wait_ms': 20.0, 'max_age_ms': 400.0, 'qos_overrides./clock.depth': 3})
    assert (new.wait_ms, new.max_age_ms) == (20.0, 400.0)
    assert dataclasses.replace(new, wait_ms=50.0, max_age_ms=500.0) == now
    for changes in ({'wait_ms': 20.0, 'max_age_ms': -1.0}, {'wait_ms': 20.0, 'device': 'cuda'}):
        with pytest.raises(InputError):
            changed(now, changes, 'cooperative')


def test_what_cannot_change_is_refused_with_what_can():
    with pytest.raises(InputError, match='start the node again') as error:
        changed(ChannelParameters(), {'seed': 7}, 'v2x_channel')
    assert error.value.field == 'v2x_channel.seed'
    assert 'bandwidth_mbit_s' in str(error.value)
    changed(ChannelParameters(), {'seed': 0})  # the value it has


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
