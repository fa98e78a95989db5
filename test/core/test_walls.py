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

"""The walls of the house: what each room may import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CORE = REPOSITORY / 'cooptrack_core'

# The package around the core, ROS, and everything that opens bags.
FORBIDDEN_IN_CORE = {
    'cooptrack_ros', 'cooptrack_msgs', 'rclpy', 'rosbag2_py', 'rosbags', 'rosidl_runtime_py',
    'mcap', 'mcap_ros2', 'cv_bridge', 'tf2_ros', 'tf2_geometry_msgs', 'tf_transformations',
    'sensor_msgs_py', 'std_msgs', 'sensor_msgs', 'geometry_msgs', 'vision_msgs', 'nav_msgs',
    'visualization_msgs', 'builtin_interfaces', 'launch', 'launch_ros', 'ament_index_python',
    'diagnostic_msgs', 'diagnostic_updater', 'rosgraph_msgs',
}  # fmt: skip
# Frameworks that this library does without.
FORBIDDEN_EVERYWHERE = {'mmcv', 'mmdet', 'mmdet3d', 'mmengine', 'nuscenes', 'motmetrics'}
# Only the simulator needs a ray caster, only training a TensorBoard.
ONLY_IN = {'trimesh': 'simulation', 'embreex': 'simulation', 'tensorboard': 'training'}


def imported_by(source: str) -> set[str]:
    """Full names of the modules that a source imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            prefix = node.module or ''
            names |= {prefix} if not node.level else {'.' * node.level + prefix}
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, (ast.Name, ast.Attribute))
            and getattr(node.func, 'id', getattr(node.func, 'attr', ''))
            in ('import_module', '__import__')
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            names.add(str(node.args[0].value))
    return names


def sources(directory: Path) -> list[Path]:
    return sorted(p for p in directory.rglob('*.py') if '__pycache__' not in p.parts)


def breaches(directory: Path, forbidden: set[str]) -> list[str]:
    return [
        f'{path.relative_to(REPOSITORY)} imports {name}'
        for path in sources(directory)
        for name in sorted(imported_by(path.read_text(encoding='utf-8')))
        if name.split('.')[0] in forbidden
    ]


def test_the_core_imports_nothing_of_ros_or_of_bags():
    assert len(sources(CORE)) > 10
    assert breaches(CORE, FORBIDDEN_IN_CORE) == []


def test_no_framework_creeps_in():
    assert breaches(CORE, FORBIDDEN_EVERYWHERE) == []
    assert breaches(REPOSITORY / 'cooptrack_ros', FORBIDDEN_EVERYWHERE) == []


@pytest.mark.parametrize(('library', 'room'), sorted(ONLY_IN.items()))
def test_extras_stay_in_their_room(library, room):
    outside = [b for b in breaches(CORE, {library}) if f'cooptrack_core/{room}/' not in b]
    assert outside == []


def test_the_nouns_stand_on_geometry_alone():
    """Datasets, models and the rest know the nouns, never the other way round."""
    ground = {'cooptrack_core.geometry', 'cooptrack_core.errors'}
    nouns = sources(CORE / 'structures')
    assert nouns
    for path in [*nouns, CORE / 'errors.py', *sources(CORE / 'geometry')]:
        allowed = ground | {'cooptrack_core.structures'} if path in nouns else ground
        own = {n for n in imported_by(path.read_text()) if n.startswith('cooptrack_core')}
        assert {'.'.join(n.split('.')[:2]) for n in own} <= allowed, path.name


def test_only_readers_and_the_simulator_know_a_layout():
    words = ('virtuallidar', 'infrastructure-side', 'calib_')
    rooms = {'datasets', 'simulation'}
    knowing = {
        path.relative_to(CORE).parts[0]
        for path in sources(CORE)
        if any(word in path.read_text(encoding='utf-8') for word in words)
    }
    # The one place where the datasets' word is mapped to a role.
    assert knowing - rooms <= {'structures'}


def calls(source: str, function: str) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == function
    ]


def test_weights_are_never_unpickled():
    for path in [*sources(CORE), *sources(REPOSITORY / 'cooptrack_ros')]:
        source = path.read_text(encoding='utf-8')
        assert not calls(source, 'pickle.load'), path
        assert not calls(source, 'pickle.loads'), path
        for call in calls(source, 'torch.load'):
            given = {k.arg: ast.unparse(k.value) for k in call.keywords}
            assert given.get('weights_only') == 'True', path


def test_importing_the_core_loads_nothing_of_ros():
    code = (
        'import sys, cooptrack_core, cooptrack_core.structures, cooptrack_core.config, '
        'cooptrack_core.datasets.v2x_seq\n'
        f'print(sorted({{m.split(".")[0] for m in sys.modules}} & {FORBIDDEN_IN_CORE!r}))'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == '[]'


@pytest.mark.parametrize(
    ('source', 'found'),
    [
        ('import rclpy.node as n', {'rclpy.node'}),
        ('from rosbags.rosbag2 import Reader', {'rosbags.rosbag2'}),
        ('def f():\n    import mcap', {'mcap'}),
        ("import importlib\nimportlib.import_module('rclpy')", {'importlib', 'rclpy'}),
        ("__import__('tf2_ros')", {'tf2_ros'}),
    ],
)
def test_the_check_itself_sees_every_kind_of_import(source, found):
    assert imported_by(source) == found
