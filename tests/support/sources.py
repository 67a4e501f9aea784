"""The source files of the project as syntax trees, for the tests of its layers and its style."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PACKAGE = PROJECT / "ftransfer"

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# Module names below the package: "protocol.framing", "protocol" for its __init__, "" for the
# package itself.
MODULES = {_module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
# All Python files, as paths from the project's folder.
FILES = tuple(
    path.relative_to(PROJECT).as_posix()
    for folder in ("ftransfer", "tests", "bench", "fuzz")
    for path in sorted((PROJECT / folder).rglob("*.py"))
)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module_tree(module: str) -> ast.Module:
    """Return the syntax tree of a module of the package."""
    return tree_of(MODULES[module])


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the full name of each imported module: also in functions and under TYPE_CHECKING."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full.removeprefix("ftransfer.") in MODULES else node.module


def imported_inside(tree: ast.AST) -> set[str]:
    """Return the imported modules of the package, without "ftransfer."."""
    return {
        name.removeprefix("ftransfer").removeprefix(".")
        for name in imported(tree)
        if name.split(".")[0] == "ftransfer"
    }


def imported_outside(tree: ast.AST) -> set[str]:
    """Return the top-level packages that are imported from elsewhere."""
    return {name.split(".")[0] for name in imported(tree)} - {"ftransfer"}


def called_names(tree: ast.AST) -> set[str]:
    return {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


@cache
def definitions(path: Path) -> tuple[tuple[str, ast.ClassDef | Function], ...]:
    """Return all classes and functions, nested ones too, with dotted names: "Session.close"."""
    return tuple(_definitions(tree_of(path), ""))


def _definitions(tree: ast.AST, prefix: str) -> Iterator[tuple[str, ast.ClassDef | Function]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{node.name}", node
            yield from _definitions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _definitions(node, prefix)
