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

"""Launch files, RViz configuration and walls of the nodes, checked without ROS."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cooptrack_core.datasets.v2x_seq import V2XSeqDataset
from cooptrack_core.errors import InputError
from cooptrack_core.structures import Role
from cooptrack_ros.bags import names, write_dataset_bag
from cooptrack_ros.nodes import inputs

ROOT = Path(__file__).parents[2]
NODES = ROOT / 'cooptrack_ros' / 'nodes'
LAUNCH_FILES = sorted((ROOT / 'launch').glob('*.launch.py'))

sys.path.insert(0, str(ROOT / 'test' / 'core' / 'datasets'))
from builder import Extra, Spec, build_v2x_seq  # noqa: E402


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    spec = Spec(frames=2, extras=(Extra('vehicle_1', 'vehicle', (5, 5, 0)),))
    return build_v2x_seq(tmp_path_factory.mktemp('dataset'), spec).root


# --- launch files ------------------------------------------------------------------------------


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=lambda p: p.name)
def test_every_file_and_executable_that_a_launch_file_names_exists(path):
    source = path.read_text()
    tree = ast.parse(source)
    texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)
             and isinstance(n.value, str)}  # fmt: skip
    files = {t for t in texts if re.fullmatch(r'[\w.]+\.(param\.yaml|rviz|launch\.py)', t)}
    assert {'agent.param.yaml', 'cooperative.param.yaml', 'cooptrack.rviz'} <= files
    for name in files:
        assert (ROOT / 'config' / name).is_file() or (ROOT / 'launch' / name).is_file(), name
    setup = (ROOT / 'setup.py').read_text()
    for executable in {t for t in texts if t.endswith('_node')}:
        assert f"'{executable} = cooptrack_ros.nodes.{executable}:main'" in setup
    for module in {t for t in texts if t.startswith('cooptrack_ros.nodes.')}:
        assert (ROOT / (module.replace('.', '/') + '.py')).is_file()


def test_the_launch_file_has_the_arguments_that_scripts_rely_on_each_explained():
    tree = ast.parse((ROOT / 'launch' / 'cooperative.launch.py').read_text())
    (arguments,) = (
        ast.literal_eval(n.value) for n in tree.body
        if isinstance(n, ast.Assign) and n.targets[0].id == 'ARGUMENTS'
    )  # fmt: skip
    wanted = {'bag', 'dataset', 'rviz', 'device', 'agents', 'rate', 'loop', 'params_file'}
    assert wanted | {'log_level'} <= set(arguments)
    assert all(len(text) > 5 for _, text in arguments.values())


def test_agents_of_a_dataset_and_of_its_bag_are_the_same(dataset, tmp_path):
    bag = tmp_path / 'scene.mcap'
    write_dataset_bag(V2XSeqDataset(dataset).scenes[0], bag)
    of_dataset = inputs.agents_of_dataset(dataset)
    of_bag, topics = inputs.agents_of_bag(bag)
    assert sorted(of_dataset, key=lambda a: a.agent_id) == list(of_bag)
    assert {a.agent_id: a.role for a in of_bag} == {
        'roadside': Role.ROADSIDE, 'vehicle': Role.VEHICLE, 'vehicle_1': Role.VEHICLE,
    }  # fmt: skip
    assert {'/tf', '/tf_static', '/vehicle/front/camera_info', '/gt/markers'} <= set(topics)


def test_agents_are_chosen_by_name_and_the_ego_always_stays(dataset):
    found = inputs.agents_of_dataset(dataset)
    assert inputs.choose(found, '', 'vehicle') == found
    chosen = inputs.choose(found, 'vehicle_1', 'vehicle')
    assert [a.agent_id for a in chosen] == ['vehicle', 'vehicle_1']
    with pytest.raises(InputError, match='roadside_7'):
        inputs.choose(found, 'roadside,roadside_7', 'vehicle')


def test_a_directory_that_is_no_bag_is_named(tmp_path):
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        inputs.agents_of_bag(tmp_path)


def test_a_demo_scene_without_its_mark_is_not_taken_for_whole(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    directory = inputs.demo_directory(2026)
    directory.mkdir(parents=True)
    assert not inputs.demo_is_there(2026)
    (directory / '.seed').write_text('2026')
    assert inputs.demo_is_there(2026)


# --- RViz --------------------------------------------------------------------------------------


def topics_of(rviz):
    for display in rviz['Visualization Manager']['Displays']:
        if 'Topic' in display:
            yield display['Class'], display['Topic']['Value']


def test_every_topic_of_the_rviz_configuration_is_one_that_is_published():
    rviz = yaml.safe_load((ROOT / 'config' / 'cooptrack.rviz').read_text())
    ego_only = '/cooptrack/ego_only/markers'
    assert (
        "layer = '/cooptrack/ego_only'" in (ROOT / 'launch' / 'cooperative.launch.py').read_text()
    )
    published = {names.MARKERS, names.AGENTS, names.GROUND_TRUTH_MARKERS, ego_only}
    agent = (NODES / 'agent.py').read_text()
    assert "f'/{p.agent_id}/markers'" in agent
    published |= {f'/{a}/markers' for a in ('vehicle', 'roadside')}
    images = {names.image_topic(a, 'front') for a in ('vehicle', 'roadside')}
    shown = list(topics_of(rviz))
    assert len(shown) >= 6
    for kind, topic in shown:
        assert topic in (images if kind.endswith('Image') else published), topic
    assert rviz['Visualization Manager']['Global Options']['Fixed Frame'] == names.MAP


def test_every_frame_of_the_rviz_configuration_exists():
    text = (ROOT / 'config' / 'cooptrack.rviz').read_text()
    frames = set(re.findall(r'(?:Target|Reference) Frame: (\S+)', text))
    assert frames == {names.agent_frame('vehicle')}


# --- walls -------------------------------------------------------------------------------------


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_a_node_contains_no_perception():
    # Nodes may load a model and call the streaming API; the parts of a model are not theirs.
    forbidden = ('models', 'tracking', 'training', 'evaluation', 'simulation')
    for path in NODES.glob('*.py'):
        for name in imports(path):
            assert not name.startswith(tuple(f'cooptrack_core.{room}' for room in forbidden)), path


def test_only_the_nodes_themselves_import_ros_at_once():
    with_ros = {
        'agent.py', 'base.py', 'channel.py', 'cooperative.py', 'player.py', 'qos.py', 'sensors.py',
    }  # fmt: skip
    ros = ('rclpy', 'tf2_ros', 'sensor_msgs', 'cooptrack_msgs', 'diagnostic_msgs')
    found = set()
    for path in (*NODES.glob('*.py'), ROOT / 'cooptrack_ros' / '_compat.py'):
        tree = ast.parse(path.read_text())
        top = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
        modules = [n.module if isinstance(n, ast.ImportFrom) else n.names[0].name for n in top]
        if any(module.split('.')[0] in ros for module in modules):
            found.add(path.name)
    assert found == with_ros


@pytest.mark.parametrize('node', ['agent', 'cooperative', 'dataset_player', 'v2x_channel'])
def test_without_ros_a_node_says_what_to_do_in_one_line_and_exits_2(node, tmp_path):
    (tmp_path / 'rclpy.py').write_text('raise ImportError("no ROS here")')
    result = run_node(node, tmp_path)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert 'setup.bash' in result.stderr


@pytest.mark.parametrize('node', ['agent', 'cooperative', 'dataset_player', 'v2x_channel'])
def test_without_the_message_package_a_node_says_what_to_do_in_one_line_and_exits_2(
    node, tmp_path
):
    (tmp_path / 'rclpy.py').write_text('')
    (tmp_path / 'cooptrack_msgs').mkdir()  # as the bare directory of a clone
    result = run_node(node, tmp_path)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert 'colcon build' in result.stderr


def run_node(node, first):
    path = os.pathsep.join([str(first), str(ROOT)])
    return subprocess.run(
        [sys.executable, '-m', f'cooptrack_ros.nodes.{node}_node'], cwd=first,
        env={**os.environ, 'PYTHONPATH': path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
