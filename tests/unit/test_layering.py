"""Reads every import of the package and holds it against the order of the layers
(docs/architecture.md).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "ftransfer"

# From the ground up. A part may import what stands in rows above its own; parts in one row do not
# see each other.
LAYERS = (
    "errors version units digest addresses loopback",
    "limits system",
    "names",
    "protocol storage auth tls",
    "transport transfer watch",
    "service client",
    "gateways shell integrations",
    "cli",
    "__main__",
)
# Above its row, storage is known by this module only, so that any back end can stand behind a share
# ...
STORAGE_SEAM = "storage.base"
# ... except to those who put the objects together: part -> what more of storage it may name (all:
# "storage").
STORAGE_BUILDERS = {"cli": "storage", "client": "storage.local"}
# What a row would allow and the design does not: a service knows who, what and how much, and no
# bytes of a wire; a gateway is no client, and knows none of its siblings.
FORBIDDEN = {
    "service": ("transport", "protocol.connection", "protocol.framing", "protocol.replies"),
    "gateways": ("client",),
}
# To be gone soon: where the floor is not laid yet.
UNFINISHED = frozenset(f"service.{name}" for name in "helpers hub outbox subscriptions".split())
# Who may print.
PRINTERS = ("cli", "shell")
# All of the standard library that the parts without I/O may use.
PURE_PARTS = ("errors", "limits", "names", "protocol", "units", "version")
PURE_LIBRARY = frozenset(
    (
        "__future__ abc base64 bisect collections dataclasses enum functools itertools json"
        " operator re string struct types typing"
    ).split()
)

_ROW = {part: row for row, parts in enumerate(LAYERS) for part in parts.split()}
# The package's face, ftransfer/__init__.py, re-exports from anywhere below cli; nobody inside
# imports from it.
FACE = ""


def module_name(path: Path) -> str:
    """Give the dotted name below the package: "protocol.framing", "protocol" for its __init__, ""
    for the package's own.
    """
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def part_of(module: str) -> str:
    return module.split(".")[0]


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Give the full names of all modules that are imported anywhere in a file; also in functions
    and under TYPE_CHECKING.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full.removeprefix("ftransfer.") in MODULES else node.module


def imported_inside(tree: ast.Module) -> set[str]:
    """Give the modules of the package that are imported, without "ftransfer."."""
    return {
        name.removeprefix("ftransfer").removeprefix(".")
        for name in imported(tree)
        if name.split(".")[0] == "ftransfer"
    }


def imported_outside(tree: ast.Module) -> set[str]:
    """Give the top-level packages that are imported from elsewhere."""
    return {name.split(".")[0] for name in imported(tree)} - {"ftransfer"}


def complaint(importer: str, wanted: str) -> str | None:
    """Say why `importer` may not import `wanted`, or None if it may."""
    mine, other = part_of(importer), part_of(wanted)
    if importer == FACE:
        return "the package's face does not run programs" if other in ("cli", "__main__") else None
    if wanted == FACE:
        return "the package's face is for users; inside, name the module"
    if mine == other == "gateways" and importer.split(".")[1:2] != wanted.split(".")[1:2]:
        return "a gateway knows none of its siblings"
    if mine == other:
        return None
    if (
        any(f"{wanted}.".startswith(f"{name}.") for name in FORBIDDEN.get(mine, ()))
        and importer not in UNFINISHED
    ):
        return "the design forbids it"
    if _ROW[other] >= _ROW[mine]:
        return (
            "it stands higher"
            if _ROW[other] > _ROW[mine]
            else "parts in one row do not see each other"
        )
    if other == "storage" and wanted != STORAGE_SEAM:
        allowed = STORAGE_BUILDERS.get(mine)
        if allowed is None or not f"{wanted}.".startswith(f"{allowed}."):
            return f"of storage it may name only {STORAGE_SEAM}"
    return None


def test_every_part_has_a_place_in_the_layers() -> None:
    assert {part_of(module) for module in MODULES} - {FACE} <= set(_ROW)


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_layers(module: str) -> None:
    complaints = {wanted: complaint(module, wanted) for wanted in imported_inside(tree_of(module))}
    assert {wanted: why for wanted, why in complaints.items() if why} == {}


@pytest.mark.parametrize("module", [module for module in MODULES if part_of(module) in PURE_PARTS])
def test_parts_without_io_use_only_pure_library(module: str) -> None:
    assert imported_outside(tree_of(module)) <= PURE_LIBRARY
    assert "open" not in called_names(tree_of(module))


@pytest.mark.parametrize(
    "module", [module for module in MODULES if part_of(module) not in PRINTERS]
)
def test_only_cli_and_shell_print(module: str) -> None:
    assert "print" not in called_names(tree_of(module))
    streams = {
        node.attr
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "sys"
    }
    assert not streams & {"stdout", "stderr"}


@pytest.mark.parametrize(
    "module", [module for module, path in MODULES.items() if path.name == "__init__.py"]
)
def test_init_files_only_reexport(module: str) -> None:
    """Imports, names and types; __getattr__ and __dir__ for names that are imported when they are
    first used.
    """
    for node in tree_of(module).body:
        match node:
            case (
                ast.Import()
                | ast.ImportFrom()
                | ast.Assign()
                | ast.AnnAssign()
                | ast.Expr(value=ast.Constant())
            ):
                pass
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                pass
            case ast.FunctionDef(name="__getattr__" | "__dir__"):
                pass
            case _:
                pytest.fail(
                    f"{MODULES[module].name} of {module or 'ftransfer'}, line {node.lineno}: code"
                    " beyond re-exports"
                )


def called_names(tree: ast.Module) -> set[str]:
    return {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


@pytest.mark.parametrize(
    ("importer", "wanted", "is_allowed"),
    [
        ("gateways.native.session", "transport.channel", True),
        ("gateways.native.session", "gateways.native.handlers.table", True),
        ("gateways.native.session", "client.client", False),
        ("client.client", "gateways.native.session", False),
        ("gateways.http.app", "gateways.native.session", False),
        ("service.service", "transport.channel", False),
        ("service.service", "protocol.live", True),
        ("service.share", "storage.base", True),
        ("service.share", "storage.local", False),
        ("client.client", "storage.local", True),
        ("client.client", "storage.memory", False),
        ("cli.serve", "storage.memory", True),
        ("storage.local", "protocol.framing", False),
        ("protocol.framing", "storage.base", False),
        ("names", "errors", True),
        ("errors", "names", False),
        ("transfer.pump", "service.share", False),
        ("shell.shell", "cli.main", False),
        ("names", FACE, False),
        (FACE, "client.client", True),
        (FACE, "cli", False),
    ],
)
def test_the_rules_themselves(importer: str, wanted: str, is_allowed: bool) -> None:
    assert (complaint(importer, wanted) is None) is is_allowed
