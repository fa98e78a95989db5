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

"""The package as users get it: wheel contents, colcon's view, files found from anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest
import yaml

from cooptrack_core import __version__

ROOT = Path(__file__).parents[2]


def tracked(directory: str, pattern: str) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / directory).rglob(pattern)
        if path.is_file() and '__pycache__' not in path.parts
    }


@pytest.fixture(scope='module')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A copy, so that build/ and egg-info of the clone stay as they are.
    directory = tmp_path_factory.mktemp('wheel')
    copy = directory / 'source'
    names = subprocess.run(
        ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
        cwd=ROOT, capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, names.split('\0')):
        if (ROOT / name).is_file() and not name.startswith('test/'):
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-build-isolation', '-q']
    result = subprocess.run(
        [*command, '-w', str(directory), str(copy)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    (path,) = directory.glob('*.whl')
    return path


def test_the_wheel_contains_configs_messages_launch_files_and_weights(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    share = f'cooptrack_ros-{__version__}.data/data/share/cooptrack_ros/'
    expected = tracked('config', '*') | tracked('launch', '*.py')
    expected |= tracked('cooptrack_msgs/msg', '*.msg') | {'package.xml'}
    assert {share + name for name in expected} <= names
    packaged = tracked('cooptrack_core', '*.py') | tracked('cooptrack_ros', '*.py')
    packaged |= tracked('cooptrack_core/weights', '*.safetensors')
    packaged |= tracked('cooptrack_core/weights', '*.npz')
    packaged |= tracked('cooptrack_ros/report', '*.js') | tracked('cooptrack_ros/report', '*.html')
    assert packaged <= names
    assert not [name for name in names if name.startswith(('test/', 'launch/', 'config/'))]


def test_an_installed_wheel_finds_its_files_from_any_directory(
    wheel: Path, tmp_path: Path
) -> None:
    environment = tmp_path / 'env'
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', environment], check=True)
    python = environment / 'bin' / 'python'
    install = [sys.executable, '-m', 'pip', '--python', str(python), 'install', '-q']
    # A workspace that is sourced holds the package as well; it is not to count as installed.
    clean = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    subprocess.run([*install, '--no-deps', wheel], check=True, env=clean)
    # The dependencies of this environment serve; the package itself must be the installed one.
    dependencies = Path(pytest.__file__).parents[1]
    (site,) = (environment / 'lib').glob('python*/site-packages')
    (site / 'dependencies.pth').write_text(f'{dependencies}\n', encoding='utf-8')
    code = (
        'from cooptrack_core import resources, __file__ as f; print(f);'
        'print(resources.config_path("models/tiny.yaml"));'
        'print(resources.message_definitions_dir() / "InstanceFeatures.msg")'
    )
    result = subprocess.run(
        [python, '-c', code], cwd='/', capture_output=True, text=True, check=False,
        env={'PATH': '/usr/bin:/bin'},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    for line in result.stdout.split():
        assert Path(line).is_file()
        assert line.startswith(str(environment))
    script = (environment / 'bin' / 'cooptrack').read_text(encoding='utf-8')
    assert 'cooptrack_ros.cli' in script


def test_versions_agree_everywhere() -> None:
    for manifest in ('package.xml', 'cooptrack_msgs/package.xml'):
        assert ElementTree.parse(ROOT / manifest).findtext('version') == __version__  # noqa: S314


def test_colcon_finds_both_packages_and_builds_the_messages_first() -> None:
    pytest.importorskip('colcon_core', reason='colcon is not installed')
    result = subprocess.run(
        [sys.executable, '-m', 'colcon', 'list', '--topological-order', '--names-only'],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ['cooptrack_msgs', 'cooptrack_ros']


def test_every_python_import_of_ros_is_declared_in_the_manifest() -> None:
    manifest = ElementTree.parse(ROOT / 'package.xml')  # noqa: S314
    declared = {element.text for element in manifest.iter('exec_depend')}
    used = set()
    for path in [
        *(ROOT / 'cooptrack_ros' / 'nodes').glob('*.py'),
        *(ROOT / 'launch').glob('*.py'),
    ]:
        for line in path.read_text(encoding='utf-8').splitlines():
            words = line.split()
            if len(words) > 1 and words[0] in ('import', 'from'):
                used.add(words[1].split('.')[0])
    known = {
        'rclpy', 'cv_bridge', 'sensor_msgs', 'sensor_msgs_py', 'std_msgs', 'geometry_msgs',
        'launch', 'launch_ros', 'tf2_ros', 'tf_transformations', 'vision_msgs',
        'visualization_msgs',
        'cooptrack_msgs', 'diagnostic_msgs', 'rosgraph_msgs', 'builtin_interfaces', 'nav_msgs',
        'std_srvs', 'rosidl_runtime_py', 'diagnostic_updater', 'ament_index_python',
    }  # fmt: skip
    assert used & known <= declared


def test_the_workflow_and_colcon_defaults_are_valid_yaml() -> None:
    workflow = yaml.safe_load((ROOT / '.github/workflows/ci.yaml').read_text(encoding='utf-8'))
    assert {'core', 'ros'} <= set(workflow['jobs'])
    defaults = yaml.safe_load((ROOT / 'colcon_defaults.yaml').read_text(encoding='utf-8'))
    assert all(defaults[verb]['base-paths'] == ['.', 'cooptrack_msgs'] for verb in defaults)
