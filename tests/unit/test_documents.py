"""Documents and sources name only files that exist, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(PROJECT.glob("*.md")), *sorted(PROJECT.glob("docs/*.md"))]
# A path may begin at the project, or in the package where the text is about its modules.
ROOTS = (PROJECT, PROJECT / "ftransfer")
# What a path ends in, to tell it from other words with a slash.
_PATH = re.compile(r"`([\w.-]+(?:/[\w.-]+)*(?:/|\.(?:py|md|toml|json|service|pem)))`")
# A file of ours in a docstring or comment.
_SOURCE_PATH = re.compile(r"(?<![\w/.-])((?:[a-z_]+/)+[a-z_-]+\.(?:py|md))\b")
SOURCES = [
    path for part in ("bench", "ftransfer", "fuzz") for path in (PROJECT / part).rglob("*.py")
]
# Files of users, in examples.
_EXAMPLES = frozenset("users.toml serve.toml server.pem tokens/ running/ out/ .ftransfer/".split())


def paths_in(text: str) -> set[str]:
    """Return the paths that a text names in backquotes."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return set(_PATH.findall(prose)) - _EXAMPLES


def anchors_of(document: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_a_document_names_exist(document: Path) -> None:
    missing = {
        path
        for path in paths_in(document.read_text(encoding="utf-8"))
        if not any((root / path).exists() for root in (*ROOTS, document.parent))
    }
    assert missing == set()


def test_files_that_a_source_names_exist() -> None:
    missing = {
        f"{source.relative_to(PROJECT)}: {path}"
        for source in SOURCES
        for path in _SOURCE_PATH.findall(source.read_text(encoding="utf-8"))
        if not any((root / path).exists() for root in (*ROOTS, source.parent))
    }
    assert missing == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = document.parent / path if path else document
        assert file.exists(), target
        assert not anchor or anchor in anchors_of(file), target


def test_paths_are_found_in_prose_only() -> None:
    text = "`tests/unit/` and `names.py`, not `a/b` or\n```\n`x/y.py`\n```\n"
    assert paths_in(text) == {"tests/unit/", "names.py"}
