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
"""When the client looks below gRPC, and what it says then."""

from __future__ import annotations

from typing import Any

from nurec_ros.rendering import policy, tls
from nurec_ros.rendering.errors import RECONNECT, ServerError
from nurec_ros.rendering.tls import TlsCheck
import pytest

FAULT = ('the server speaks TLS, and no certificate is given', 'give tls_root_certificate')


def error_of(kind: str, words: str = 'Socket closed') -> ServerError:
    error = ServerError(kind, 'cannot reach gpu:1', 'start it', RECONNECT)
    error.__cause__ = RuntimeError(words)
    return error


class Looks:
    """Stands in for the looks below gRPC."""

    def __init__(self) -> None:
        self.found: tuple[str, str] | None = FAULT
        self.count = 0

    def __call__(self, places: Any, certificate: bytes | None, timeout_s: float) -> Any:
        self.count += 1
        return self.found


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    fake = Looks()
    monkeypatch.setattr(tls, 'fault_among', fake)
    monkeypatch.setattr(tls, 'places', lambda server: [('gpu', '10.0.0.1', 1)])
    monkeypatch.setattr(policy, 'HANDSHAKE_EVERY_S', 3600.0)
    return fake


@pytest.mark.parametrize('kind', ['unreachable', 'tls', 'foreign'])
def test_cause_is_named_and_kept(looks: Looks, kind: str) -> None:
    one = TlsCheck('gpu:1', None)
    for words in ('Socket closed', 'Connection refused', 'Socket closed'):
        found = one.explain(error_of(kind, words))
        assert str(found) == f'cannot agree on TLS with gpu:1: {": ".join(FAULT)}'
        assert (found.kind, found.action) == ('tls', RECONNECT)
    assert looks.count == 1


def test_other_errors_are_left_alone(looks: Looks) -> None:
    for kind in ('starting', 'name', 'service', 'scene', 'timeout', 'closed'):
        error = error_of(kind)
        assert TlsCheck('gpu:1', None).explain(error) is error
    assert looks.count == 0


@pytest.mark.parametrize('words', ['connect timed out', 'No route to host', 'unreachable'])
def test_silence_is_not_looked_into(looks: Looks, words: str) -> None:
    one = TlsCheck('gpu:1', None)
    one.explain(error_of('unreachable'))
    error = error_of('unreachable', words)
    assert one.explain(error) is error
    assert looks.count == 1


def test_no_fault_leaves_the_error(looks: Looks) -> None:
    looks.found = None
    error = error_of('unreachable', 'Connection refused')
    assert TlsCheck('gpu:1', None).explain(error) is error


def test_after_it_worked_it_is_looked_anew(looks: Looks) -> None:
    one = TlsCheck('gpu:1', None)
    one.explain(error_of('unreachable'))
    looks.found = None
    one.forget()
    error = error_of('unreachable')
    assert one.explain(error) is error
    assert looks.count == 2


def test_looks_are_repeated_in_time(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, 'HANDSHAKE_EVERY_S', 0.0)
    one = TlsCheck('gpu:1', None)
    one.explain(error_of('unreachable'))
    looks.found = None
    error = error_of('unreachable')
    assert one.explain(error) is error
