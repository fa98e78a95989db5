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

"""`cooptrack doctor`: what is installed, what clashes, and what to do about it."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cooptrack_core import __version__, resources
from cooptrack_core.errors import InputError


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        area: What was looked at.
        status: ``ok``, ``missing`` (an optional part) or ``problem``.
        found: What was seen.
        remedy: What to do; empty when nothing is to be done.
    """

    area: str
    status: str
    found: str
    remedy: str = ''


def diagnose() -> list[Finding]:
    """Look at Python, the packages, the shipped files, ROS 2 and the machine."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python,
        _requirements,
        _opencv,
        _extras,
        _files,
        _ros,
        _machine,
    )
    return [finding for check in checks for finding in check()]


def as_json(findings: list[Finding]) -> dict[str, object]:
    """Return the report as plain data."""
    return {
        'version': __version__,
        'problems': sum(f.status == 'problem' for f in findings),
        'findings': [asdict(f) for f in findings],
    }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r'\d+', version.split('+')[0])[:3])


def _satisfies(version: str, specifier: str) -> bool:
    """Whether a version meets ``>=1.2,<5``; the only operators setup.py uses."""
    for clause in filter(None, (c.strip() for c in specifier.split(','))):
        operator, bound = re.match(r'(>=|<|==)(.+)', clause).groups()  # type: ignore[union-attr]
        have, want = _numbers(version), _numbers(bound)
        length = max(len(have), len(want))
        have += (0,) * (length - len(have))
        want += (0,) * (length - len(want))
        if not {'>=': have >= want, '<': have < want, '==': have == want}[operator]:
            return False
    return True


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    supported = (3, 10) <= sys.version_info[:2] <= (3, 14)
    yield Finding(
        'Python',
        'ok' if supported else 'problem',
        f'{version} at {sys.executable}',
        '' if supported else 'use Python 3.10 to 3.14',
    )
    where = Path(resources.__file__).parent.parent
    yield Finding('cooptrack_ros', 'ok', f'{__version__} at {where}')


def _declared() -> list[tuple[str, str, str]]:
    """(name, specifier, extra or '') of every requirement of the installed package."""
    result = []
    try:
        lines = importlib.metadata.requires('cooptrack_ros') or []
    except importlib.metadata.PackageNotFoundError:
        return []
    for line in lines:
        requirement, _, marker = line.partition(';')
        match = re.match(r'\s*([A-Za-z0-9_.-]+)\s*(?:\[.*?\])?\s*(.*)', requirement)
        extra = re.search(r'extra\s*==\s*[\'"](.+?)[\'"]', marker)
        if match:
            specifier = match.group(2).strip().strip('()')
            result.append((match.group(1), specifier, extra.group(1) if extra else ''))
    return result


def _requirements() -> Iterator[Finding]:
    declared = _declared()
    if not declared:
        yield Finding(
            'package metadata',
            'problem',
            'cooptrack_ros is imported from a directory but is not installed',
            'run "pip install ." or "make test" in the clone',
        )
    for name, specifier, extra in declared:
        if extra:
            continue
        version = _version(name)
        if version is None:
            yield Finding(name, 'problem', 'not installed', f'pip install "{name}{specifier}"')
        elif not _satisfies(version, specifier):
            yield Finding(
                name,
                'problem',
                f'{version}, needed is {specifier}',
                f'pip install "{name}{specifier}"',
            )
        else:
            yield Finding(name, 'ok', version)


def _opencv() -> Iterator[Finding]:
    names = (
        'opencv-python',
        'opencv-python-headless',
        'opencv-contrib-python',
        'opencv-contrib-python-headless',
    )
    builds = [name for name in names if _version(name)]
    if len(builds) > 1:
        yield Finding(
            'OpenCV',
            'problem',
            f'{" and ".join(builds)} overwrite each other',
            f'pip uninstall -y {" ".join(builds)} && pip install "opencv-python-headless<5"',
        )
    try:
        importlib.import_module('cv2')
    except ImportError as error:
        yield Finding(
            'OpenCV', 'problem', f'import fails: {error}', 'pip install "opencv-python-headless<5"'
        )


def _extras() -> Iterator[Finding]:
    purposes = {'simulator': 'cooptrack simulate', 'training': 'TensorBoard curves'}
    for extra, purpose in purposes.items():
        names = [name for name, _, of in _declared() if of == extra]
        missing = [name for name in names if _version(name) is None]
        found = ', '.join(f'{name} {_version(name)}' for name in names if name not in missing)
        if missing:
            remedy = f'pip install "cooptrack_ros[{extra}]"'
            yield Finding(
                f'extra {extra}', 'missing', f'for {purpose}: no {", ".join(missing)}', remedy
            )
        elif names:
            yield Finding(f'extra {extra}', 'ok', found)


def _files() -> Iterator[Finding]:
    try:
        yield Finding('model configurations', 'ok', str(resources.config_path('models/tiny.yaml')))
        yield Finding('message definitions', 'ok', str(resources.message_definitions_dir()))
        weights = sorted((Path(resources.__file__).parent / 'weights').glob('*.safetensors'))
        if weights:
            found = ', '.join(f'{w.name} ({w.stat().st_size / 1e6:.1f} MB)' for w in weights)
            yield Finding('weights', 'ok', found)
        else:
            yield Finding('weights', 'problem', 'none are shipped', 'install the package again')
    except InputError as error:
        yield Finding('installed files', 'problem', str(error), error.remedy or '')


def _ros() -> Iterator[Finding]:
    distro = os.environ.get('ROS_DISTRO', 'unknown distribution')
    try:
        rclpy = importlib.import_module('rclpy')
    except ImportError:
        remedy = 'only the nodes need it: source /opt/ros/<distro>/setup.bash before starting'
        yield Finding('ROS 2', 'missing', 'rclpy is not importable', remedy)
        return
    yield Finding('ROS 2', 'ok', f'{distro}, rclpy at {Path(rclpy.__file__ or ".").parent}')
    try:
        # Not "import cooptrack_msgs": from a clone the bare directory would satisfy that.
        importlib.import_module('cooptrack_msgs.msg').InstanceFeatures  # noqa: B018
        yield Finding('cooptrack_msgs', 'ok', 'built and sourced')
    except (ImportError, AttributeError):
        remedy = 'in the clone: colcon build && source install/setup.bash'
        yield Finding('cooptrack_msgs', 'problem', 'the messages are not built', remedy)
    for module in ('cv_bridge', 'tf_transformations', 'sensor_msgs_py', 'tf2_ros', 'vision_msgs'):
        try:
            importlib.import_module(module)
            yield Finding(module, 'ok', 'importable')
        except Exception as error:  # a NumPy 1 build of cv_bridge fails in many ways under NumPy 2
            numpy = _version('numpy') or 'missing'
            package = f'ros-{distro}-{module.replace("_", "-")}'
            remedy = f'apt install {package}'
            if module == 'cv_bridge' and 'No module named' not in str(error):
                remedy = 'pip install "numpy<2" (Jazzy and Humble build cv_bridge for NumPy 1)'
            yield Finding(module, 'problem', f'{error} (NumPy {numpy})', remedy)


def _machine() -> Iterator[Finding]:
    cores = os.cpu_count() or 1
    yield Finding('processor', 'ok', f'{platform.machine()}, {cores} cores{_cpu_features()}')
    try:
        torch = importlib.import_module('torch')
        cuda = torch.cuda.is_available()
        yield Finding(
            'CUDA',
            'ok' if cuda else 'missing',
            torch.cuda.get_device_name(0) if cuda else 'not available: runs on the CPU',
        )
    except ImportError:
        pass  # reported among the requirements
    chromium = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser'))), None)
    yield Finding(
        'Chromium',
        'ok' if chromium else 'missing',
        chromium or 'not found',
        '' if chromium else 'only the test of the report page needs it: apt install chromium',
    )
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    yield Finding(
        'disk',
        'ok' if free > 1 else 'problem',
        f'{free:.1f} GB free here',
        '' if free > 1 else 'free at least 1 GB for the demo',
    )


def _cpu_features() -> str:
    try:
        flags = Path('/proc/cpuinfo').read_text(encoding='utf-8')
    except OSError:
        return ''
    useful = ('avx2', 'avx512f', 'avx_vnni', 'avx512_vnni', 'avx512_bf16', 'amx_bf16', 'amx_int8')
    words = set(flags.split())
    known = [f for f in useful if f in words]
    return f' ({", ".join(known)})' if known else ''
