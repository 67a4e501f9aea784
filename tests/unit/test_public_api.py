"""The library as its user sees it: `ftransfer.<Tab>`, `help(ftransfer)`, the documented calls."""

from __future__ import annotations

import ast
import pydoc
import subprocess
import sys
import textwrap
from pathlib import Path, PurePosixPath
from typing import get_type_hints

import pytest

import ftransfer
from ftransfer.client.options import ClientKeywords, ClientOptions
from ftransfer.errors import LocalProtocolError, NameRefused
from tests.support.service import serve

# The types of the package in the signatures of what is exported.
SIGNATURES = {
    "connect": "Client Limits RetryRules Notice Security",
    "Client": (
        "Entry Partial Checksum Receipt Progress TreeOptions TreeReport TreeItem Hello Inbox"
        " Delivery Person Presence Message Attendance Change Rescan Missed"
    ),
    "TreeOptions": "selection",
    "Server": "Share ServerTls Limits Service ServiceOptions",
    "ServiceOptions": "Limits FolderWatcher Admission BandwidthLimits Audit",
    "Share": "LocalStore MemoryStore Limits QuotaLimits hidden_names",
    "Admission": "User Principal Grant Right",
}


def test_completion_offers_the_interface_and_nothing_else() -> None:
    asked = (
        "import ftransfer; print(' '.join(name for name in dir(ftransfer) if not"
        " name.startswith('_')))"
    )
    offered = set(
        subprocess.run(
            [sys.executable, "-c", asked], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    assert offered == {name for name in ftransfer.__all__ if not name.startswith("_")}
    assert {"connect", "Client", "Server", "TreeOptions", "errors"} <= offered


def test_every_name_of_the_interface_can_be_had() -> None:
    for name in ftransfer.__all__:
        assert getattr(ftransfer, name) is not None


def test_the_three_lists_of_the_interface_agree() -> None:
    """`__all__`, the table of homes, and what a type checker reads."""
    tree = ast.parse(Path(ftransfer.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    checked = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert checked == ftransfer._HOMES
    assert sorted(ftransfer.__all__) == sorted([*checked, "__version__", "errors"])


def test_importing_the_interface_loads_none_of_it() -> None:
    asked = (
        "import sys, ftransfer; print(' '.join(name for name in sys.modules if"
        " name.startswith('ftransfer.')))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(loaded) == {"ftransfer.errors", "ftransfer.version", "ftransfer.display"}


@pytest.mark.parametrize("names", [*SIGNATURES.values()], ids=[*SIGNATURES])
def test_what_the_interface_takes_and_returns_belongs_to_it(names: str) -> None:
    assert set(names.split()) <= set(ftransfer.__all__)


def test_keywords_of_connect_are_the_options_of_a_client() -> None:
    fields = get_type_hints(ClientOptions)
    assert get_type_hints(ClientKeywords) == fields
    client = ftransfer.connect("localhost", 1, durable=False, name="ann")
    assert (client.durable, client.address) == (False, ("localhost", 1))


def test_help_shows_the_interface() -> None:
    text = pydoc.plain(pydoc.render_doc(ftransfer))
    for wanted in (
        "class Client(",
        "connect(host: 'str', port: 'int'",
        "class Server(",
        "class LocalStore(",
        "async with ftransfer.connect(",
    ):
        assert wanted in text


async def test_calls_of_the_docstring_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = (ftransfer.__doc__ or "").split("\n\n")[1]
    async with serve(tmp_path) as service:
        host, port = service.address
        lines = textwrap.dedent(shown).replace('"127.0.0.1", 9021', f'"{host}", {port}')
        assert str(port) in lines
        (service.root / "lab").mkdir()
        (service.local / "photos").mkdir()
        (service.local / "photos" / "a.jpg").write_bytes(b"jpeg")
        (service.local / "copies").mkdir()
        (service.local / "results.csv").write_bytes(b"1,2")
        monkeypatch.chdir(service.local)
        code = compile(
            f"import io\nimport ftransfer\n{lines}",
            "docstring",
            "exec",
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
            dont_inherit=True,
        )
        scope: dict[str, object] = {}
        await eval(code, scope)
    assert (service.local / "copies" / "results.csv").read_bytes() == b"1,2"
    assert (service.local / "mirror" / "photos" / "a.jpg").read_bytes() == b"jpeg"
    people = scope["people"]
    assert isinstance(people, list) and people[0].is_you


# A name in the share.


@pytest.mark.parametrize(
    "name",
    ["/data/x.csv", PurePosixPath("data/x.csv"), PurePosixPath("/data/x.csv"), "//data/x.csv"],
)
async def test_name_may_begin_at_the_root_and_be_a_path(
    tmp_path: Path, name: str | PurePosixPath
) -> None:
    folder = PurePosixPath(name).parent
    async with serve(tmp_path) as service, service.client() as client:
        await client.mkdir(folder)
        (service.local / "x.csv").write_bytes(b"1,2")
        assert (await client.put(service.local / "x.csv", name)).name == "data/x.csv"
        assert (await client.get(name, service.local / "copy.csv")).name == "data/x.csv"
        assert (await client.stat(name)).name == (await client.checksum(name)).name == "data/x.csv"
        assert [entry.name for entry in await client.dir(folder)] == ["data/x.csv"]
        assert (await client.get_tree(folder, service.local / "tree")).copied == 1
        assert (await client.get_matching("/data/*.csv", service.local / "found")).copied == 1
        assert (await client.put_tree(service.local / "tree", folder)).unchanged == 1
        async with client.watching(folder):
            pass
        await client.set_attributes(name, mode=0o600)
        await client.rename(name, "/data/y.csv")
        assert await client.remove(folder, recursive=True) == 2


@pytest.mark.parametrize("name", ["/", "", "/../x", "/data//x"])
async def test_other_names_are_refused_as_before(tmp_path: Path, name: str) -> None:
    async with serve(tmp_path) as service, service.client() as client:
        with pytest.raises(NameRefused):
            await client.get(name, service.local)


# A client that is closed.


async def test_client_that_is_closed_says_so(tmp_path: Path) -> None:
    async with serve(tmp_path) as service:
        (service.root / "x").write_bytes(b"x")
        async with service.client() as client:
            await client.dir()
        with pytest.raises(LocalProtocolError, match="this client is closed"):
            await client.dir()
        with pytest.raises(LocalProtocolError, match="this client is closed"):
            await client.get("x", service.local)
        with pytest.raises(LocalProtocolError, match="this client is closed"):
            async with client.listening():
                pass
        await service.all_gone()
        await client.close()  # a second time does no harm
