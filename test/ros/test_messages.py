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


"""The message definitions: parsed by two parsers, well named, every field explained."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from rosbags.typesys import get_types_from_msg

from cooptrack_core.resources import message_definitions_dir
from cooptrack_ros.bags import typestore

PACKAGE = Path(__file__).parents[2] / 'cooptrack_msgs'
FILES = sorted((PACKAGE / 'msg').glob('*.msg'))
FIELD = re.compile(r'^(?P<type>[A-Za-z0-9_/]+(\[\d*\])?)\s+(?P<name>[A-Za-z0-9_]+)$')
CONSTANT = re.compile(r'^(?P<type>\w+)\s+(?P<name>\w+)=(?P<value>.+)$')


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding='utf-8').splitlines()


def test_the_shipped_definitions_are_those_of_the_package():
    assert [p.name for p in sorted(message_definitions_dir().glob('*.msg'))] == [
        p.name for p in FILES
    ]
    assert len(FILES) >= 10


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.stem)
def test_every_field_has_a_comment_above_it_or_above_its_group(path):
    commented = False
    for line in lines_of(path):
        if not line.strip():
            commented = False
        elif line.startswith('#'):
            commented = True
        else:
            assert commented, f'{path.name}: {line} has no comment'
            assert CONSTANT.match(line) or FIELD.match(line), f'{path.name}: {line}'


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.stem)
def test_names_follow_the_rules_of_ros(path):
    constants: dict[str, dict[str, str]] = {}
    for line in lines_of(path):
        if line.startswith('#') or not line.strip():
            continue
        if (constant := CONSTANT.match(line)) is not None:
            name = constant['name']
            assert re.fullmatch(r'[A-Z][A-Z0-9_]*', name)
            group = constants.setdefault(name.rsplit('_', 1)[0], {})
            assert constant['value'] not in group.values(), f'{name} repeats a value'
            group[name] = constant['value']
            if name.endswith('UNKNOWN'):
                assert constant['value'] == '0'
            continue
        name = FIELD.match(line)['name']
        assert re.fullmatch(r'[a-z][a-z0-9_]*', name)
        assert '__' not in name
        assert not name.endswith('_')


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.stem)
def test_rosbags_parses_and_hashes_it(path):
    name = f'cooptrack_msgs/msg/{path.stem}'
    fields = get_types_from_msg(path.read_text(encoding='utf-8'), name)[name][1]
    expected = [
        FIELD.match(line)['name']
        for line in lines_of(path)
        if line.strip() and not line.startswith('#') and not CONSTANT.match(line)
    ]
    assert [field[0] for field in fields] == expected
    assert re.fullmatch(r'RIHS01_[0-9a-f]{64}', typestore().hash_rihs01(name))


@pytest.mark.parametrize('path', FILES, ids=lambda p: p.stem)
def test_the_official_parser_agrees(path):
    parser = pytest.importorskip('rosidl_adapter.parser')
    message = parser.parse_message_file('cooptrack_msgs', str(path))
    name = f'cooptrack_msgs/msg/{path.stem}'
    fields = get_types_from_msg(path.read_text(encoding='utf-8'), name)[name][1]
    assert [f.name for f in message.fields] == [f[0] for f in fields]


def test_the_build_lists_every_message_and_uses_nothing_that_lyrical_removed():
    text = (PACKAGE / 'CMakeLists.txt').read_text(encoding='utf-8')
    assert re.findall(r'"msg/(\w+)\.msg"', text) == [p.stem for p in FILES]
    assert 'ament_target_dependencies' not in text


def test_the_package_declares_what_its_messages_use():
    root = ET.parse(PACKAGE / 'package.xml').getroot()  # noqa: S314
    assert root.get('format') == '3'
    assert root.findtext('license') == 'Apache-2.0'
    declared = {node.text for node in root.findall('depend')}
    used = {
        FIELD.match(line)['type'].split('/')[0]
        for path in FILES
        for line in lines_of(path)
        if '/' in line and not line.startswith('#')
    }
    assert used == declared
    assert root.findtext('member_of_group') == 'rosidl_interface_packages'


def test_catkin_pkg_accepts_the_package():
    catkin = pytest.importorskip('catkin_pkg.package')
    warnings: list[str] = []
    package = catkin.parse_package(PACKAGE / 'package.xml', warnings=warnings)
    package.validate(warnings=warnings)
    assert warnings == []
    assert package.name == 'cooptrack_msgs'


# Read from share/vision_msgs/msg/*.json of a ROS 2 Jazzy with vision_msgs 4.1.1.
VISION_MSGS = {
    'Detection3DArray': '793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018',
    'Detection3D': 'ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b',
    'BoundingBox3D': 'bbb73a65c163d7f9bb29009c7bde9f7faa576bd2d23299c4511d19230dab4698',
    'ObjectHypothesis': '51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90',
}


@pytest.mark.parametrize(('name', 'digest'), VISION_MSGS.items())
def test_the_used_part_of_vision_msgs_has_the_type_hash_that_ros_expects(name, digest):
    assert typestore().hash_rihs01(f'vision_msgs/msg/{name}') == f'RIHS01_{digest}'
