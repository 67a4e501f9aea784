"""The examples of docs/library.md, run in their order against a server."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import ftransfer
from ftransfer.auth.admission import Admission
from tests.support.certificates import own_tls
from tests.support.programs import PROJECT
from tests.support.service import Service, serve

TEXT = (PROJECT / "docs" / "library.md").read_text(encoding="utf-8")
TOKEN = "a token that nobody guesses"


def examples() -> list[tuple[int, str]]:
    """Return the Python blocks, each with the number of its first line."""
    found = re.finditer(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return [(TEXT[: match.start()].count("\n") + 2, match[1]) for match in found]


async def run_example(line: int, code: str, scope: dict[str, object]) -> None:
    tree = compile(
        "\n" * (line - 1) + code,
        "docs/library.md",
        "exec",
        flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        dont_inherit=True,
    )
    result = eval(tree, scope)
    if result is not None:
        await result


def prepare(service: Service) -> None:
    (service.root / "lab").mkdir()
    for name in ("a.csv", "b.csv"):
        (service.root / "lab" / name).write_text(name)
    (service.local / "results.csv").write_text("1,2")
    for folder in ("copies", "photos", "folder"):
        (service.local / folder).mkdir()
    (service.local / "photos" / "1.jpg").write_text("jpeg")


async def test_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "local").mkdir()
    tls = own_tls(tmp_path / "local", "server.pem")
    (tmp_path / "secure").mkdir()
    async with (
        serve(tmp_path) as service,
        serve(tmp_path / "secure", tls=tls, admission=Admission(token=TOKEN)) as secure,
        service.client() as client,
    ):
        prepare(service)
        monkeypatch.chdir(service.local)
        scope: dict[str, object] = {
            "token": TOKEN,
            "fingerprint": tls.fingerprint,
            "tls_port": secure.address[1],
        }
        for line, code in examples():
            scope["client"] = client  # an example with a client of its own has closed that
            await run_example(line, code.replace("9021", str(service.address[1])), scope)
        assert (service.local / "copies" / "results.csv").read_text() == "1,2"
        assert (service.local / "mirror" / "photos" / "1.jpg").read_text() == "jpeg"
        assert (service.local / "tables" / "new.csv").exists() is False
        assert (service.local / "folder" / "results.csv").read_text() == "1,2"
        assert not (service.root / "lab" / "2024").exists()
    printed = capsys.readouterr().out
    assert "file 5 lab/a.csv" in printed and "created lab/new.csv 3" in printed
    assert "lab/nothing: no such file" in printed


def test_errors_in_the_table_exist() -> None:
    rows = re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert len(names) > 15
    for name in names:
        assert issubclass(getattr(ftransfer.errors, name), ftransfer.FtransferError)
