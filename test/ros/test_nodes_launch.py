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
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import launch_stubs
import pytest
import yaml

from cooptrack_core.datasets.v2x_seq import V2XSeqDataset
from cooptrack_core.errors import InputError
from cooptrack_core.structures import Role
from cooptrack_ros.bags import BagWriter, names, typestore, write_dataset_bag
from cooptrack_ros.conversions import compressed_to_message
from cooptrack_ros.nodes import generate, inputs
from cooptrack_ros.nodes.schema import build

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


def actions_of(monkeypatch, name, **options):
    launch_stubs.install(monkeypatch, **options)
    return launch_stubs.load(ROOT / 'launch' / f'{name}.launch.py')


def texts_of(path):
    tree = ast.parse(path.read_text())
    return {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)
            and isinstance(n.value, str)}  # fmt: skip


def test_every_file_and_executable_that_launch_files_name_exists():
    paths = [*LAUNCH_FILES, NODES / 'launching.py']
    texts = set().union(*map(texts_of, paths))
    files = {t for t in texts if re.fullmatch(r'[\w.]+\.(param\.yaml|rviz|launch\.py)', t)}
    assert {'agent.param.yaml', 'cooperative.param.yaml', 'cooptrack.rviz'} <= files
    for name in files:
        assert (ROOT / 'config' / name).is_file() or (ROOT / 'launch' / name).is_file(), name
    setup = (ROOT / 'setup.py').read_text()
    executables = {t for t in texts if t.endswith('_node')}
    assert len(executables) == 5
    for executable in executables:
        assert f"'{executable} = cooptrack_ros.nodes.{executable}:main'" in setup
    for module in {t for t in texts if t.startswith('cooptrack_ros.nodes.')}:
        assert (ROOT / (module.replace('.', '/') + '.py')).is_file()


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=lambda p: p.name)
def test_every_argument_is_explained_and_its_default_is_one_of_its_choices(path, monkeypatch):
    actions = actions_of(monkeypatch, path.name.removesuffix('.launch.py'))
    declared = [a for a in actions if type(a).__name__ == 'DeclareLaunchArgument']
    names_ = [a.args[0] for a in declared]
    assert len(names_) == len(set(names_)) > 3
    for argument in declared:
        assert len(argument.description) > 10
        assert isinstance(argument.default_value, str)
        assert argument.choices is None or argument.default_value in argument.choices


def test_the_launch_file_has_the_arguments_that_scripts_rely_on(monkeypatch):
    known = launch_stubs.defaults(actions_of(monkeypatch, 'cooperative'))
    wanted = {'bag', 'dataset', 'rviz', 'device', 'agents', 'rate', 'loop', 'params_file'}
    assert wanted | {'log_level', 'channel', 'loss', 'ego'} <= set(known)


def test_a_recording_gets_a_node_per_agent_one_that_fuses_and_a_player(monkeypatch, dataset):
    actions = actions_of(monkeypatch, 'cooperative', packages=('rviz2',))
    started = launch_stubs.start(actions, dataset=str(dataset), device='cuda', loop='false')
    nodes = launch_stubs.nodes(started)
    assert set(nodes) == {
        'roadside/agent', 'vehicle_1/agent', 'cooperative', 'dataset_player', 'rviz',
    }  # fmt: skip
    roadside = launch_stubs.parameters(nodes['roadside/agent'])
    assert (roadside['agent_id'], roadside['role'], roadside['device']) == (
        'roadside', 'roadside', 'cuda',
    )  # fmt: skip
    assert nodes['roadside/agent'].remappings == []
    assert 'agents' not in launch_stubs.parameters(nodes['cooperative'])
    player = launch_stubs.parameters(nodes['dataset_player'])
    assert (player['use_sim_time'], player['loop'], player['rate']) == (False, False, 1.0)
    assert [a.args for a in started if type(a).__name__ == 'SetParameter'] == [
        ('use_sim_time', True)
    ]


def test_what_launch_files_set_are_parameters_of_the_nodes_with_values_that_they_take(
    monkeypatch, dataset
):
    actions = actions_of(monkeypatch, 'cooperative')
    started = launch_stubs.start(
        actions, dataset=str(dataset), channel='true', loss='0.2', agents='roadside', device='cpu',
        agent_weights='a.safetensors', cooperative_weights='b.safetensors', ego_only='true',
        map='true', map_weights='m.safetensors',
    )  # fmt: skip
    kinds = {f'{name}_node': kind for name, (kind, _) in generate.NODES.items()}
    own = [n for n in launch_stubs.nodes(started).values() if n.package == 'cooptrack_ros']
    assert {n.executable for n in own} == set(kinds)
    for node in own:
        values = {k: v for k, v in launch_stubs.parameters(node).items() if k != 'use_sim_time'}
        build(kinds[node.executable], values)


def test_with_maps_each_agent_has_a_node_for_them_and_the_ego_fuses(monkeypatch, dataset):
    actions = actions_of(monkeypatch, 'cooperative')
    given = {'dataset': str(dataset), 'agents': 'roadside', 'map': 'true'}
    nodes = launch_stubs.nodes(
        launch_stubs.start(actions, **given, map_weights='m.safetensors', channel='true')
    )
    assert {'agent', 'bev_map'} == {n.split('/')[1] for n in nodes if n.startswith('roadside/')}
    sender, ego = (launch_stubs.parameters(nodes[n]) for n in ('roadside/bev_map', 'bev_map'))
    assert (sender['agent_id'], sender['fuse']) == ('roadside', False)
    assert (ego['agent_id'], ego['send'], ego['agents']) == ('vehicle', False, ['roadside'])
    assert sender['weights'] == ego['weights'] == 'm.safetensors'
    assert nodes['roadside/bev_map'].remappings == [
        ('/v2x/roadside/bev_feature', '/v2x_tx/roadside/bev_feature')
    ]
    assert nodes['bev_map'].on_exit is not None
    alone = launch_stubs.nodes(launch_stubs.start(actions, **given, tracks='false'))
    assert not {'roadside/agent', 'cooperative'} & set(alone)
    assert {'roadside/bev_map', 'bev_map', 'dataset_player'} <= set(alone)
    with pytest.raises(RuntimeError, match='map:=true'):
        launch_stubs.start(actions, **(given | {'map': 'false', 'tracks': 'false'}))


def test_a_sending_agent_may_send_maps_too(monkeypatch):
    actions = actions_of(monkeypatch, 'agent')
    given = {'agent_id': 'roadside_2', 'cameras': 'front,back', 'map': 'true'}
    nodes = launch_stubs.nodes(launch_stubs.start(actions, **given))
    assert set(nodes) == {'roadside_2/agent', 'roadside_2/bev_map'}
    found = launch_stubs.parameters(nodes['roadside_2/bev_map'])
    assert found['cameras'] == ['front', 'back'] and found['fuse'] is False
    only = launch_stubs.nodes(launch_stubs.start(actions, **given, tracks='false'))
    assert set(only) == {'roadside_2/bev_map'}
    with pytest.raises(RuntimeError, match='map:=true'):
        launch_stubs.start(actions, **(given | {'map': 'false', 'tracks': 'false'}))


def test_with_security_every_node_has_the_enclave_of_the_shipped_policy(monkeypatch, dataset):
    actions = actions_of(monkeypatch, 'cooperative')
    given = {'dataset': str(dataset), 'agents': 'roadside', 'map': 'true', 'channel': 'true'}
    nodes = launch_stubs.nodes(launch_stubs.start(actions, enclaves='/cooptrack/', **given))
    player = nodes.pop('dataset_player')  # for demonstrations; not part of the policy
    assert player.arguments[-1] == '/cooptrack/dataset_player'
    policy = (ROOT / 'config/security/sros2_policy.xml').read_text()
    for node in nodes.values():
        assert node.arguments[-2] == '--enclave'
        assert f'<enclave path="{node.arguments[-1]}">' in policy
    assert len({node.arguments[-1] for node in nodes.values()}) == len(nodes) == 5
    plain = launch_stubs.nodes(launch_stubs.start(actions, **given))
    assert not any('--enclave' in node.arguments for node in plain.values())


def test_with_the_channel_agents_send_into_it_and_the_ego_hears_what_comes_out(
    monkeypatch, dataset
):
    actions = actions_of(monkeypatch, 'cooperative')
    given = {'dataset': str(dataset), 'agents': 'roadside'}
    nodes = launch_stubs.nodes(
        launch_stubs.start(actions, **given, channel='true', latency_ms='300', loss='0.2')
    )
    assert nodes['roadside/agent'].remappings == [
        ('/v2x/roadside/instance_features', '/v2x_tx/roadside/instance_features')
    ]
    assert launch_stubs.parameters(nodes['v2x_channel']) == {'latency_ms': 300.0, 'loss': 0.2}
    assert launch_stubs.parameters(nodes['cooperative'])['agents'] == ['roadside']
    straight = launch_stubs.nodes(launch_stubs.start(actions, **given))
    assert 'v2x_channel' not in straight
    with pytest.raises(RuntimeError, match='channel:=true'):
        launch_stubs.start(actions, **given, loss='0.2')


def test_live_the_ego_runs_alone_on_the_clock_of_the_machine(monkeypatch):
    actions = actions_of(monkeypatch, 'cooperative')
    started = launch_stubs.start(
        actions, live='true', ego='car', cameras='front, rear', agents='roadside', rviz='false'
    )
    (node,) = launch_stubs.nodes(started).values()
    values = launch_stubs.parameters(node)
    assert (values['agent_id'], values['cameras'], values['agents']) == (
        'car', ['front', 'rear'], ['roadside'],
    )  # fmt: skip
    assert [a.args for a in started if type(a).__name__ == 'SetParameter'] == [
        ('use_sim_time', False)
    ]
    with pytest.raises(RuntimeError, match='live'):
        launch_stubs.start(actions, live='true', bag='x')


def test_a_bag_is_played_without_what_the_graph_makes_itself(monkeypatch, dataset, tmp_path):
    bag = tmp_path / 'scene.mcap'
    write_dataset_bag(V2XSeqDataset(dataset).scenes[0], bag)
    actions = actions_of(monkeypatch, 'playback')
    (timer,) = launch_stubs.start(actions, bag=str(bag), rate='0.5')
    command = timer.actions[0].cmd
    assert command[:4] == ['ros2', 'bag', 'play', str(bag)]
    assert command[command.index('--rate') + 1] == '0.5'
    assert '--loop' in command
    topics = command[command.index('--topics') + 1 :]
    assert '/tf_static' in topics
    assert not [t for t in topics if t.startswith(('/v2x', '/cooptrack', '/clock'))]
    with pytest.raises(RuntimeError, match='not both'):
        launch_stubs.start(actions, bag=str(bag), dataset='x')


def test_without_a_recording_the_demo_scene_is_simulated_once_and_then_played(
    monkeypatch, dataset, tmp_path
):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    for name in ('playback', 'cooperative'):
        actions = actions_of(monkeypatch, name)
        started = launch_stubs.start(actions)
        assert not launch_stubs.nodes(started)
        (handler,) = (a for a in started if type(a).__name__ == 'RegisterEventHandler')
        (process,) = (a for a in started if type(a).__name__ == 'ExecuteProcess')
        assert handler.args[0].target_action is process
        # The handler is there before the process can end.
        assert started.index(handler) < started.index(process)
        (end,) = handler.args[0].on_exit(SimpleNamespace(returncode=1), None)
        assert type(end).__name__ == 'Shutdown'
    directory = inputs.demo_directory(2026)
    directory.parent.mkdir()
    shutil.copytree(dataset, directory)
    (directory / '.seed').write_text('2026')
    nodes = launch_stubs.nodes(launch_stubs.start(actions))
    assert launch_stubs.parameters(nodes['dataset_player'])['dataset'] == str(directory)


def test_one_agent_can_be_started_on_its_own_machine(monkeypatch):
    actions = actions_of(monkeypatch, 'agent')
    started = launch_stubs.start(
        actions, agent_id='rsu_3', cameras='north,south', channel='true', params_file='/my.yaml'
    )
    ((name, node),) = launch_stubs.nodes(started).items()
    assert name == 'rsu_3/agent'
    assert node.parameters[1] == '/my.yaml'
    assert launch_stubs.parameters(node)['cameras'] == ['north', 'south']
    assert node.remappings == [('/v2x/rsu_3/instance_features', '/v2x_tx/rsu_3/instance_features')]


def test_viewers_that_are_not_installed_are_left_out_with_a_word(monkeypatch):
    packages = ('foxglove_bridge', 'cooptrack_ros')
    actions = actions_of(monkeypatch, 'visualization', packages=packages)
    started = launch_stubs.start(actions, foxglove='true')
    assert set(launch_stubs.nodes(started)) == {'foxglove'}
    missing, layout = (a.msg for a in started if type(a).__name__ == 'LogInfo')
    assert 'rviz2 is not installed' in missing
    assert 'ws://localhost:8765' in layout
    assert layout.endswith('/opt/cooptrack_ros/config/foxglove_layout.json')


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


def test_of_a_bag_that_was_recorded_from_the_live_graph_only_its_inputs_are_played(tmp_path):
    with BagWriter(tmp_path / 'live.mcap') as bag:
        image = compressed_to_message(
            bag.types, b'\xff\xd8', 10**9, 'roadside/front_optical_frame'
        )
        bag.write('/roadside/front/image_raw/compressed', 'sensor_msgs/msg/CompressedImage',
                  image, 10**9)  # fmt: skip
        text = bag.types.new('std_msgs/msg/String', data='')
        for topic in ('tracks', 'markers', 'latency', 'agent/transition_event', 'other'):
            bag.write(f'/roadside/{topic}', 'std_msgs/msg/String', text, 10**9)
    _, topics = inputs.agents_of_bag(tmp_path / 'live.mcap')
    assert topics == ('/roadside/front/image_raw/compressed', '/roadside/other')


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
    published = {names.MARKERS, names.LINKS, names.AGENTS, names.GROUND_TRUTH_MARKERS, ego_only}
    published |= {names.BEV_MARKERS, *map(names.bev_topic, ('vehicle', 'drivable', 'lane'))}
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


# --- Foxglove and Lichtblick -------------------------------------------------------------------


def leaves(tree):
    return [tree] if isinstance(tree, str) else [*leaves(tree['first']), *leaves(tree['second'])]


def test_every_panel_of_the_foxglove_layout_is_placed_and_shows_what_is_published():
    layout = json.loads((ROOT / 'config' / 'foxglove_layout.json').read_text())
    panels = layout['configById']
    assert sorted(leaves(layout['layout'])) == sorted(panels)
    published = {
        names.MARKERS, names.LINKS, names.AGENTS, names.GROUND_TRUTH_MARKERS, names.BEV_MARKERS,
        '/cooptrack/ego_only/markers', '/roadside/markers',
        *map(names.bev_topic, ('vehicle', 'drivable', 'lane')),
    }  # fmt: skip
    for panel in panels.values():
        assert set(panel.get('topics', {})) <= published
        image = panel.get('imageMode', {})
        if image:
            agent = image['imageTopic'].split('/')[1]
            assert image['imageTopic'] == names.image_topic(agent, 'front')
            assert image['calibrationTopic'] == names.info_topic(agent, 'front')


def test_every_plot_of_the_foxglove_layout_is_of_a_field_that_exists():
    layout = json.loads((ROOT / 'config' / 'foxglove_layout.json').read_text())
    fields = {
        names.LATENCY: 'cooptrack_msgs/msg/Latency',
        names.STATUS: 'cooptrack_msgs/msg/FusionStatus',
    }
    known = typestore().fielddefs
    values = [
        p['value'] for panel in layout['configById'].values() for p in panel.get('paths', ())
    ]
    assert len(values) == 6
    for value in values:
        topic, *parts = value.split('.')
        kind = fields[topic]
        for part in parts:
            described = dict(known[kind][1])[part.removesuffix('[0]')]
            if part.endswith('[0]'):
                kind = described[1][0][1]


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
        'agent.py', 'base.py', 'bev_map.py', 'channel.py', 'cooperative.py', 'lifecycle.py',
        'player.py', 'qos.py', 'sensors.py',
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
