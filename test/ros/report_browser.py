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


"""Headless Chromium over its debugging pipe: the little that the page tests need, stdlib only."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = next(
    (
        found
        for name in ('chromium', 'chromium-browser', 'google-chrome')
        if (found := shutil.which(name))
    ),
    None,
)
FLAGS = (
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
    '--disable-dev-shm-usage', '--hide-scrollbars', '--remote-debugging-pipe',
)  # fmt: skip


class Browser:
    """One page in one browser.

    Args:
        scratch: Empty directory for the browser's profile.
        size: Window in CSS pixels.
    """

    def __init__(self, scratch: Path, size: tuple[int, int] = (1366, 768)) -> None:
        assert CHROMIUM is not None
        # The browser reads commands on descriptor 3 and answers on 4, each message ended by NUL.
        read_command, self._write = os.pipe()
        self._read, write_answer = os.pipe()
        flags = [*FLAGS, f'--user-data-dir={scratch}', f'--window-size={size[0]},{size[1]}']
        script = f'exec "$@" 3<&{read_command} 4>&{write_answer}'
        self._process = subprocess.Popen(
            ['/bin/bash', '-c', script, 'bash', CHROMIUM, *flags, 'about:blank'],
            pass_fds=(read_command, write_answer),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(read_command)
        os.close(write_answer)
        self._buffer = b''
        self._number = 0
        self._session: str | None = None
        targets = self._call('Target.getTargets')['targetInfos']
        page = next(target['targetId'] for target in targets if target['type'] == 'page')
        attached = self._call('Target.attachToTarget', targetId=page, flatten=True)
        self._session = attached['sessionId']
        self.messages: list[str] = []
        self.requests: list[str] = []
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self._call(f'{domain}.enable')

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._write)
        os.close(self._read)
        try:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()

    def open(self, page: Path, fragment: str = '') -> None:
        """Load a file and wait until its script is done."""
        self._call('Page.navigate', url=page.as_uri() + fragment)
        self.wait("document.documentElement?.dataset.ready === 'true'")

    def wait(self, condition: str, seconds: float = 30) -> None:
        """Wait until a JavaScript condition holds."""
        end = time.monotonic() + seconds
        while not self.value(condition):
            assert time.monotonic() < end, f'still false: {condition}; {self.messages}'
            time.sleep(0.05)

    def value(self, expression: str) -> Any:
        """Return the value of an expression; a JavaScript exception fails the test."""
        answer = self._call(
            'Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True
        )
        assert 'exceptionDetails' not in answer, answer['exceptionDetails']
        return answer['result'].get('value')

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press and release a key."""
        text = {'text': key} if len(key) == 1 else {}
        for kind in ('keyDown', 'keyUp'):
            self._call(
                'Input.dispatchKeyEvent',
                type=kind,
                key=key,
                modifiers=8 if shift else 0,
                **text,
            )

    def click(self, x: float, y: float) -> None:
        """Click at a point of the window."""
        for kind in ('mousePressed', 'mouseReleased'):
            self._call(
                'Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', clickCount=1
            )

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        command: dict[str, Any] = {'id': self._number, 'method': method, 'params': params}
        if self._session is not None:
            command['sessionId'] = self._session
        os.write(self._write, json.dumps(command).encode() + b'\0')
        while True:
            answer = self._receive()
            if answer.get('id') == self._number:
                assert 'error' not in answer, f'{method}: {answer["error"]}'
                result: dict[str, Any] = answer['result']
                return result
            self._note(answer)

    def _receive(self) -> dict[str, Any]:
        while b'\0' not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], 60)
            assert ready, 'the browser does not answer'
            part = os.read(self._read, 1 << 16)
            assert part, 'the browser ended'
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b'\0')
        answer: dict[str, Any] = json.loads(message)
        return answer

    def _note(self, event: dict[str, Any]) -> None:
        """Remember what the page complains about and what it asks the network for."""
        kind, params = event.get('method'), event.get('params', {})
        if kind == 'Runtime.exceptionThrown':
            self.messages.append(str(params['exceptionDetails'].get('text')))
        elif kind == 'Log.entryAdded' and params['entry']['level'] in ('error', 'warning'):
            self.messages.append(params['entry']['text'])
        elif kind == 'Network.requestWillBeSent':
            self.requests.append(params['request']['url'])
