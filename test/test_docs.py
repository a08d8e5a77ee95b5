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
"""Links in README and docs/ lead somewhere; docs/contract.md and the tests know each other."""

from __future__ import annotations

from pathlib import Path
import re

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md')])
FENCE = re.compile(r'^ *(```|~~~).*?^ *\1 *$', re.MULTILINE | re.DOTALL)
CODE = re.compile(r'`[^`\n]+`')
# An image within a link is found by its own brackets.
LINK = re.compile(r'\]\(\s*<?([^)>\s]+)>?[^)]*\)')
HEADING = re.compile(r'^#{1,6} +(.+?) *#*$', re.MULTILINE)


def links(text: str) -> list[str]:
    """Return the targets of a page's links, without what is code."""
    return LINK.findall(CODE.sub('', FENCE.sub('', text)))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as the usual code hosts make them."""
    found: dict[str, int] = {}
    result = set()
    for heading in HEADING.findall(FENCE.sub('', text)):
        words = re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', heading).lower()
        slug = re.sub(r'[^\w\- ]', '', words).replace(' ', '-')
        number = found.get(slug, 0)
        found[slug] = number + 1
        result.add(f'{slug}-{number}' if number else slug)
    return result


def dead(page: Path) -> list[str]:
    """Return the links of a page that lead nowhere."""
    result = []
    for link in links(page.read_text()):
        if re.match(r'[a-z]+:', link):
            continue
        name, _, anchor = link.partition('#')
        target = (page.parent / name).resolve() if name else page
        leads = target.exists() and target.is_relative_to(ROOT.resolve())
        if leads and anchor:
            leads = target.suffix == '.md' and anchor in anchors(target.read_text())
        if not leads:
            result.append(link)
    return result


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    assert dead(page) == []


def test_the_pages_are_looked_at():
    assert {'README.md', 'troubleshooting.md', 'from-rest.md'} <= {page.name for page in PAGES}
    assert len(links((ROOT / 'README.md').read_text())) > 8


def test_what_is_dead_is_found(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(globals(), 'ROOT', tmp_path)
    (tmp_path / 'there.md').write_text('# A `name`: of it\n\n## Twice\n\n## Twice\n')
    page = tmp_path / 'page.md'
    page.write_text(
        '# Here\n[a](there.md) [b](there.md#a-name-of-it) [c](#here) [d](https://example.org/x)\n'
        '[e](gone.md) ![f](gone.png) [g](there.md#gone) [h](#gone) [i](../..)\n'
        '[j](there.md#twice-1) [![k](k.png)](there.md) `[l](code.md)`\n'
        '```\n# No heading\n[m](code.md)\n```\n[n](#no-heading)\n'
    )
    found = ['gone.md', 'gone.png', 'there.md#gone', '#gone', '../..', 'k.png', '#no-heading']
    assert dead(page) == found


# What the web backend serves, and the fields of its requests.
GETS = 'health usdz-files scenario cameras trajectory pose render/{id} playback'
POSTS = 'nurec/restart load render playback/play playback/stop playback/reset playback/tick'
FIELDS = """
usdz_path nurec_host nurec_port timestamp_us camera_ids resolution_scale scale sample_interval_us
speed delta_us
"""


def test_those_who_come_from_the_rest_backend_find_every_endpoint_and_field():
    """Look for each in the first column of a table; the last one says what takes its place."""
    page = (ROOT / 'docs' / 'from-rest.md').read_text()
    rows = [line.strip('|').split('|') for line in page.splitlines() if line.startswith('| `')]
    first = {word for row in rows for word in re.findall('`([^`]+)`', row[0])}
    verbs = {'GET': GETS, 'POST': POSTS}
    endpoints = {f'{verb} /api/{name}' for verb in verbs for name in verbs[verb].split()}
    assert first >= endpoints | {*FIELDS.split()}
    assert all(row[-1].strip() for row in rows)


# The contract.

CONTRACT = ROOT / 'docs' / 'contract.md'
MODULE = re.compile(r'(\(in\) )?`(\w+): ([\w, ]+)`')
TEST = re.compile(r'^def (test_\w+)', re.MULTILINE)
MARK = re.compile(r'^pytestmark = pytest\.mark\.contract$', re.MULTILINE)
PROOFS = [
    line.split(' | ')[-1] for line in CONTRACT.read_text().splitlines() if line.startswith('| ')
]


def named(*, within: bool) -> set[tuple[str, str]]:
    """Return the page's tests, module and function: of what is seen from outside, or (in)."""
    return {
        (f'test_{module}', f'test_{function}')
        for proof in PROOFS
        for mark, module, functions in MODULE.findall(proof)
        for function in functions.split(', ')
        if bool(mark) is within
    }


def test_the_page_has_each_test_that_is_marked_and_of_others_such_as_there_are():
    texts = {path.stem: path.read_text() for path in (ROOT / 'test').rglob('test_*.py')}
    tests = {(name, test) for name, text in texts.items() for test in TEST.findall(text)}
    marked = {(name, test) for name, test in tests if MARK.search(texts[name])}
    assert named(within=False) == marked
    assert named(within=True) <= tests - marked


def test_every_sentence_has_a_test():
    proofs = [proof for proof in PROOFS if proof != 'tests |']
    assert len(proofs) > 80
    for proof in proofs:
        assert MODULE.search(proof) or re.match(r'\(in\) `test/', proof), proof
