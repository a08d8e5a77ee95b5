# Copyright 2026 nurec_ros contributors
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
"""
Where the commands begin: signals are taken before all else is imported.

Python would end with a traceback, and what a command imports takes up to a second.
"""

from functools import partial
from importlib import import_module
import os
import signal
from typing import NoReturn

# They run until a signal comes, which is their good end.
SERVE = ('player', 'preview', 'follow', 'autoware')


def _begin(name: str, module: str = '', function: str = 'main') -> int:
    def end(number: int, _: object) -> NoReturn:
        if name in SERVE:
            os._exit(0)
        os.write(2, f'nurec_{name}: interrupted\n'.encode())
        os._exit(128 + number)

    # Until the command takes them.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    code: int = getattr(import_module(f'nurec_ros.cli.{module or name}'), function)()
    return code


player = partial(_begin, 'player')
preview = partial(_begin, 'preview')
probe = partial(_begin, 'probe')
example = partial(_begin, 'example')
demo = partial(_begin, 'demo')
info = partial(_begin, 'info')
export = partial(_begin, 'export')
control = partial(_begin, 'control')
follow = partial(_begin, 'follow', 'drivers', 'follow')
autoware = partial(_begin, 'autoware', 'drivers', 'autoware')
