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

"""Transitions of a managed node: what they do, and what a step that fails leads to."""

from __future__ import annotations

import enum
import sys
import threading
import types
from types import SimpleNamespace

import pytest

from cooptrack_core.errors import InputError
from cooptrack_ros.nodes.worker import Worker


class Returned(enum.Enum):
    SUCCESS = 0
    FAILURE = 1
    ERROR = 2


class FakeLifecycleNode:
    """The transitions of rclpy's node, without its services."""

    def __init__(self, name):
        self.name, self.state, self.logged = name, 'unconfigured', []

    def get_fully_qualified_name(self):
        return '/' + self.name

    def get_logger(self):
        def log(kind):
            return lambda text: self.logged.append((kind, text))

        return SimpleNamespace(info=log('info'), error=log('error'))

    def _go(self, callback, done, failed):
        result = callback(None)
        if result is Returned.ERROR:
            self.state = 'unconfigured' if self.on_error(None) is Returned.SUCCESS else 'finalized'
        else:
            self.state = done if result is Returned.SUCCESS else failed
        return result

    def trigger_configure(self):
        return self._go(self.on_configure, 'inactive', 'unconfigured')

    def trigger_activate(self):
        return self._go(self.on_activate, 'active', 'inactive')

    def trigger_deactivate(self):
        return self._go(self.on_deactivate, 'inactive', 'active')

    def trigger_cleanup(self):
        return self._go(self.on_cleanup, 'unconfigured', 'inactive')

    def trigger_shutdown(self):
        return self._go(self.on_shutdown, 'finalized', 'finalized')


class FakePart:
    def __init__(self, autostart=True, **failing):
        self.autostart, self.failing, self.log = autostart, failing, []

    def __getattr__(self, name):
        if name not in ('configure', 'activate', 'deactivate', 'cleanup'):
            raise AttributeError(name)

        def step():
            self.log.append(name)
            if name in self.failing:
                raise self.failing[name]

        return step


@pytest.fixture
def node(monkeypatch):
    module = types.ModuleType('rclpy.lifecycle')
    module.LifecycleNode, module.TransitionCallbackReturn = FakeLifecycleNode, Returned
    monkeypatch.setitem(sys.modules, 'rclpy', types.ModuleType('rclpy'))
    monkeypatch.setitem(sys.modules, 'rclpy.lifecycle', module)
    monkeypatch.delitem(sys.modules, 'cooptrack_ros.nodes.lifecycle', raising=False)
    from cooptrack_ros.nodes.lifecycle import ManagedNode

    yield ManagedNode('agent')
    sys.modules.pop('cooptrack_ros.nodes.lifecycle', None)


def test_it_starts_by_itself(node):
    part = FakePart()
    node.manage(part)
    assert (node.state, part.log) == ('active', ['configure', 'activate'])


def test_without_autostart_it_waits_and_says_for_what(node):
    part = FakePart(autostart=False)
    node.manage(part)
    assert (node.state, part.log) == ('unconfigured', [])
    ((_, text),) = node.logged
    assert 'ros2 lifecycle set /agent configure' in text


def test_it_can_go_round_and_end(node):
    part = FakePart(autostart=False)
    node.manage(part)
    for trigger in ('configure', 'activate', 'deactivate', 'activate', 'deactivate', 'cleanup'):
        assert getattr(node, f'trigger_{trigger}')() is Returned.SUCCESS
    assert node.state == 'unconfigured'
    node.trigger_configure()
    node.trigger_shutdown()
    assert node.state == 'finalized'
    assert part.log[-2:] == ['deactivate', 'cleanup']


def test_a_problem_at_the_start_is_raised_once_and_what_was_begun_is_undone(node):
    problem = InputError('no such file', path='x.safetensors')
    part = FakePart(configure=problem)
    with pytest.raises(InputError) as error:
        node.manage(part)
    assert error.value is problem
    assert part.log == ['configure', 'cleanup']
    assert (node.state, node.logged) == ('unconfigured', [])


def test_a_problem_later_is_logged_with_its_reason_and_leads_back(node):
    part = FakePart(autostart=False, configure=InputError('no such file', path='x'))
    node.manage(part)
    node.logged.clear()
    assert node.trigger_configure() is Returned.FAILURE
    assert node.state == 'unconfigured'
    assert node.logged == [('error', 'configure failed: file x: no such file')]
    part.failing = {'activate': RuntimeError('the thread before has not ended')}
    node.trigger_configure()
    assert node.trigger_activate() is Returned.FAILURE
    assert node.state == 'inactive'
    assert part.log[-2:] == ['activate', 'deactivate']


def test_a_step_back_that_fails_is_an_error_and_is_cleaned_up(node):
    part = FakePart()
    node.manage(part)
    part.failing = {'deactivate': RuntimeError('stuck')}
    assert node.trigger_deactivate() is Returned.ERROR
    assert [kind for kind, _ in node.logged] == ['error', 'error']


def test_a_worker_goes_on_after_a_stop_without_its_memory():
    log, seen = [], threading.Semaphore(0)

    def work(item, current):
        log.append((item, current()))
        seen.release()

    worker = Worker(work, lambda: log.append('forget'), lambda error: None)
    for item in ('a', 'b'):
        worker.start()
        worker.offer(item)
        assert seen.acquire(timeout=10)
        assert worker.stop()
        worker.offer('nobody takes this')
    assert log == [('a', True), 'forget', ('b', True)]
    assert worker.done == 2


def test_a_second_thread_is_not_started_beside_one_that_hangs():
    begun, go_on = threading.Event(), threading.Event()

    def work(item, current):
        begun.set()
        assert go_on.wait(10)

    worker = Worker(work, lambda: None, lambda error: None)
    worker.start()
    worker.offer(1)
    assert begun.wait(10)
    assert not worker.stop(timeout_s=0.01)
    with pytest.raises(RuntimeError, match='has not ended'):
        worker.start()
    go_on.set()
    assert worker.stop()
