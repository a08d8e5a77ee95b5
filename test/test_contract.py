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
"""docs/contract.md names tests that there are, and every test that is marked as the contract's."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
import re

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / 'docs' / 'contract.md'
MODULE = re.compile(r'(\(in\) )?`(\w+): ([\w, ]+)`')
TEST = re.compile(r'^def (test_\w+)', re.MULTILINE)
MARK = 'pytestmark = pytest.mark.contract'


def named() -> Iterator[tuple[str, str, bool]]:
    """Yield each test of the page: module, function, and whether it is within the process."""
    for line in PAGE.read_text().splitlines():
        if line.startswith('|'):
            for within, module, functions in MODULE.findall(line.split(' | ')[-1]):
                for function in functions.split(', '):
                    yield f'test_{module}', f'test_{function}', bool(within)


@cache
def modules() -> dict[str, tuple[str, set[str]]]:
    """Return the test modules by name: their text and their tests."""
    texts = {path.stem: path.read_text() for path in (ROOT / 'test').rglob('test_*.py')}
    return {name: (text, set(TEST.findall(text))) for name, text in texts.items()}


def test_every_test_of_the_page_is_there_and_marked():
    known = modules()
    wrong = []
    for module, function, within in named():
        text, tests = known.get(module, ('', set()))
        if function not in tests or (MARK in text) is within:
            wrong.append(f'{module}: {function}')
    assert not wrong


def test_every_module_that_is_marked_is_on_the_page():
    on_the_page = {module for module, _, _ in named()}
    marked = {name for name, (text, _) in modules().items() if MARK in text}
    assert marked - {Path(__file__).stem} == {
        module for module, _, within in named() if not within
    }
    assert marked - {Path(__file__).stem} <= on_the_page


def test_every_sentence_has_a_test():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith('| ')]
    sentences = [row for row in rows if row != '| sentence | tests |']
    assert len(sentences) > 80
    for row in sentences:
        proof = row.split(' | ')[-1]
        assert MODULE.search(proof) or re.match(r'\(in\) `test/', proof), row
