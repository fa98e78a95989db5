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

"""Walls between machines: what the shipped files let pass. The zenoh router runs, without ROS."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

from cooptrack_ros.bags import names

SECURITY = Path(__file__).parents[2] / 'config' / 'security'
TYPE = 'cooptrack_msgs::msg::dds_::InstanceFeatures_/RIHS01_ab'


# --- DDS ---------------------------------------------------------------------------------------


def test_the_domain_bridge_passes_radio_topics_only_and_each_in_one_direction():
    bridge = yaml.safe_load((SECURITY / 'domain_bridge.yaml').read_text())
    for topic, options in bridge['topics'].items():
        match = re.fullmatch(r'v2x/(\w+)/(instance_features|bev_feature)', topic)
        assert match, topic
        kind = {'instance_features': 'InstanceFeatures', 'bev_feature': 'BevFeature'}[match[2]]
        assert options['type'] == f'cooptrack_msgs/msg/{kind}'
        inward = (options['from_domain'], options['to_domain']) == (42, 0)
        assert inward == (match[1] != 'vehicle')
        assert options['qos']['reliability'] == 'best_effort'


def policy():
    root = ElementTree.parse(SECURITY / 'sros2_policy.xml').getroot()  # noqa: S314
    assert (root.tag, root.get('version')) == ('policy', '0.2.0')
    out = {}
    for enclave in root.iter('enclave'):
        (profile,) = enclave.iter('profile')
        rights = {'publish': set(), 'subscribe': set()}
        for topics in profile.iter('topics'):
            for right in rights:
                if topics.get(right) == 'ALLOW':
                    rights[right] |= {t.text for t in topics}
        rights['reply'] = {s.text for s in profile.iter('service')}
        out[enclave.get('path')] = rights
    return out


def test_an_enclave_may_speak_on_the_radio_below_its_own_name_only():
    found = policy()
    assert set(found) == {
        '/cooptrack/agent_roadside', '/cooptrack/cooperative', '/cooptrack/v2x_channel',
        '/cooptrack/bev_map_roadside', '/cooptrack/bev_map',
    }  # fmt: skip

    def radio(path, right='publish'):
        return {t for t in found[path][right] if t.startswith(('/v2x/', '/v2x_tx/'))}

    assert all('/roadside/' in t for t in radio('/cooptrack/agent_roadside'))
    assert radio('/cooptrack/agent_roadside', 'subscribe') == set()
    assert radio('/cooptrack/cooperative') == set()
    assert all('/roadside/' in t for t in radio('/cooptrack/bev_map_roadside'))
    assert radio('/cooptrack/bev_map_roadside', 'subscribe') == set()
    assert all('/vehicle/' in t for t in radio('/cooptrack/bev_map'))
    perceiving = [
        found[f'/cooptrack/{e}']
        for e in ('cooperative', 'agent_roadside', 'bev_map', 'bev_map_roadside')
    ]
    assert len({frozenset(e['reply']) for e in perceiving}) == 1
    assert '~/snapshot' in perceiving[0]['reply']
    everything = set().union(*(r for e in found.values() for r in e.values()))
    assert not [t for t in everything if '*' in t or '?' in t]


def test_an_enclave_has_what_its_node_needs():
    found = policy()
    ego, agent = found['/cooptrack/cooperative'], found['/cooptrack/agent_roadside']
    needed = {names.TRACKS, names.DETECTIONS, names.MARKERS, names.AGENTS, names.STATUS}
    assert needed | {'/diagnostics', '/rosout'} <= ego['publish']
    inputs = {names.image_topic('vehicle', 'front'), names.info_topic('vehicle', 'front')}
    assert inputs | {'/tf', '/tf_static', '/clock'} <= ego['subscribe']
    assert names.features_topic('roadside') in ego['subscribe'] & agent['publish']
    assert names.agent_info_topic('roadside') in agent['publish']
    maps = found['/cooptrack/bev_map']
    wanted = {names.bev_topic(name) for name in ('vehicle', 'drivable', 'lane')}
    wanted |= {names.BEV_MARKERS, names.BEV_STATUS, names.BEV_SEMANTIC, names.BEV_LABEL_INFO}
    assert wanted | {names.BEV_LATENCY, '/diagnostics', '/rosout'} <= maps['publish']
    assert inputs | {'/tf', '/tf_static', '/clock'} <= maps['subscribe']
    sent = names.bev_feature_topic('roadside')
    assert sent in maps['subscribe'] & found['/cooptrack/bev_map_roadside']['publish']
    assert names.CHANNEL_STATUS in found['/cooptrack/v2x_channel']['publish']


# --- zenoh -------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def keys(tmp_path_factory):
    """Certificates of two agents and a stranger, and of one that another authority signed."""
    if shutil.which('openssl') is None:
        pytest.skip('needs openssl')
    where = tmp_path_factory.mktemp('tls')
    curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

    def openssl(*arguments):
        subprocess.run(['openssl', *arguments], cwd=where, check=True, capture_output=True)

    (where / 'extensions').write_text(
        'subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n'
        'extendedKeyUsage=serverAuth,clientAuth\n'
    )
    for ca in ('ca', 'other_ca'):
        openssl('req', '-x509', *curve, '-keyout', f'{ca}.key', '-out', f'{ca}.pem', '-days', '2',
                '-subj', f'/CN={ca}', '-addext', 'basicConstraints=critical,CA:TRUE')  # fmt: skip
    for name, ca in (
        ('vehicle', 'ca'), ('roadside', 'ca'), ('stranger', 'ca'), ('forged', 'other_ca'),
    ):  # fmt: skip
        openssl('req', *curve, '-keyout', f'{name}.key', '-out', f'{name}.csr',
                '-subj', f'/CN={name}')  # fmt: skip
        openssl('x509', '-req', '-in', f'{name}.csr', '-CA', f'{ca}.pem', '-CAkey', f'{ca}.key',
                '-CAcreateserial', '-days', '2', '-out', f'{name}.pem',
                '-extfile', 'extensions')  # fmt: skip
    return where


def free_port():
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]


class Network:
    """The shipped router with two sessions inside; peers connect from outside."""

    def __init__(self, zenoh, keys):
        self.zenoh, self.keys, self.sessions = zenoh, keys, []
        self.tcp, self.tls = free_port(), free_port()
        config = self.read('zenoh_router.json5')
        self.certify(config, 'vehicle')
        ends = [f'tcp/127.0.0.1:{self.tcp}', f'tls/127.0.0.1:{self.tls}']
        self.put(config, 'listen/endpoints', ends)
        self.open(config)

    def read(self, name):
        return self.zenoh.Config.from_file(str(SECURITY / name))

    @staticmethod
    def put(config, key, value):
        config.insert_json5(key, json.dumps(value))

    def certify(self, config, name):
        own, key = str(self.keys / f'{name}.pem'), str(self.keys / f'{name}.key')
        for field, value in {
            'root_ca_certificate': str(self.keys / 'ca.pem'),
            'listen_certificate': own, 'listen_private_key': key,
            'connect_certificate': own, 'connect_private_key': key, 'enable_mtls': True,
        }.items():  # fmt: skip
            self.put(config, f'transport/link/tls/{field}', value)

    def open(self, config):
        self.sessions.append(self.zenoh.open(config))
        return self.sessions[-1]

    def inside(self):
        config = self.read('zenoh_session.json5')
        self.put(config, 'connect/endpoints', [f'tcp/127.0.0.1:{self.tcp}'])
        return self.open(config)

    def outside(self, name):
        config = self.zenoh.Config()
        self.put(config, 'mode', 'client')
        self.put(config, 'scouting/multicast/enabled', False)
        self.put(config, 'connect/endpoints', [f'tls/localhost:{self.tls}'])
        self.put(config, 'connect/timeout_ms', 3000)
        self.certify(config, name)
        return self.open(config)


@pytest.fixture
def network(keys):
    zenoh = pytest.importorskip('zenoh', reason='needs eclipse-zenoh (pip install eclipse-zenoh)')
    made = Network(zenoh, keys)
    yield made
    for session in reversed(made.sessions):
        session.close()


def key(topic):
    """Key of a topic as rmw_zenoh makes it, in domain 0."""
    return f'0/{topic}/{TYPE}'


class Listener:
    """Keys heard so far. It asks in place of being called, so that no callback is under way."""

    def __init__(self, session, where='**'):
        self.keys = []
        self.subscriber = session.declare_subscriber(where)

    def heard(self):
        while (sample := self.subscriber.try_recv()) is not None:
            self.keys.append(str(sample.key_expr))
        return self.keys


def until(condition):
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition()


def test_only_radio_topics_pass_the_router_and_a_peer_speaks_below_its_own_name_only(network):
    inside, sender, peer = network.inside(), network.inside(), network.outside('roadside')
    stranger = network.outside('stranger')
    own, other = 'v2x/roadside/instance_features', 'v2x/vehicle/instance_features'
    here, all_of_it = Listener(inside), Listener(peer)
    out, tf = Listener(peer, key(other)), Listener(peer, key('tf'))
    lost = Listener(stranger, key(other))
    claimed = 'v2x/vehicle/claimed'

    def talk():
        for topic in ('cmd_vel', claimed, 'v2x_tx/roadside/x', own):  # what may pass is last
            peer.put(key(topic), b'1')
        stranger.put(key(own) + '_of_stranger', b'1')
        for topic in ('tf', other):
            sender.put(key(topic), b'2')
        time.sleep(0.1)
        return {key(own), key('tf')} <= set(here.heard()) and key(other) in out.heard()

    until(talk)
    time.sleep(0.5)
    # What the peer claimed to be the vehicle's has a key of its own here.
    assert set(here.heard()) == {key(own), key(other), key('tf')}
    assert key(other) in out.heard()
    assert key('tf') not in tf.heard() + all_of_it.heard()
    assert lost.heard() == []


def test_peers_see_the_radio_part_of_the_graph_only(network):
    inside, peer = network.inside(), network.outside('roadside')
    tokens = [
        f'@ros2_lv/0/zid/0/1/MP/%/%/vehicle/%v2x%vehicle%instance_features/{TYPE}/q',
        f'@ros2_lv/0/zid/0/2/MP/%/%/vehicle/%tf/{TYPE}/q',
        '@ros2_lv/0/zid/0/0/NN/%/%/vehicle',
    ]
    keep = [inside.liveliness().declare_token(token) for token in tokens]

    def seen():
        replies = peer.liveliness().get('@ros2_lv/0/**', timeout=1)
        return [str(reply.ok.key_expr) for reply in replies]

    until(lambda: len(seen()) > 0)
    assert seen() == tokens[:1]
    del keep


def test_who_was_certified_by_somebody_else_does_not_get_in(network):
    with pytest.raises(network.zenoh.ZError):
        network.outside('forged')
