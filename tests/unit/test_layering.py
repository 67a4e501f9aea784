"""Hold every import of the package against the order of the layers (docs/architecture.md)."""

from __future__ import annotations

import ast

import pytest

from tests.support.sources import (
    MODULES,
    Function,
    called_names,
    definitions,
    imported,
    imported_inside,
    imported_outside,
    module_tree,
)

# From the ground up. A part may import what stands in rows above its own; parts in one row do not
# see each other.
LAYERS = (
    "version units digest addresses display",
    "errors",
    "limits system",
    "names",
    "protocol storage auth tls",
    "transport transfer watch",
    "service client",
    "gateways shell integrations",
    "cli",
    "__main__",
)
# Above its row, storage is known by these modules only: the core, and what is optional beside it,
# so that any back end can stand behind a share ...
STORAGE_SEAM = tuple(
    f"storage.{name}" for name in "base capabilities listings small_files views".split()
)
# ... except to those who put the objects together: part -> what more of storage it may name (all:
# "storage").
STORAGE_BUILDERS = {"cli": "storage", "client": "storage.local"}
# What a row would allow and the design does not: a service knows who, what and how much, and no
# bytes of a wire; a gateway is no client, and knows none of its siblings.
FORBIDDEN = {
    "service": ("transport", "protocol.connection", "protocol.framing", "protocol.replies"),
    "gateways": ("client",),
}
# Who may print.
PRINTERS = ("cli", "shell")
# All of the standard library that the parts without I/O may use.
PURE_PARTS = ("display", "errors", "limits", "names", "protocol", "units", "version")
PURE_LIBRARY = frozenset(
    (
        "__future__ abc base64 bisect collections dataclasses enum functools itertools json"
        " operator re string struct types typing"
    ).split()
)

# Who imports inside a function, and what: whatever a one-shot command may not need, since each of
# these costs milliseconds of its start; and modules that only some systems have.
LATE_IMPORTS = {
    "auth.passwords": "argon2 argon2.exceptions",
    "auth.running_servers": "socket",
    "auth.users": "tomllib",
    "cli.connect": "shell.console shell.context shell.live_view shell.repl shell.script",
    "cli.connection": "client.client client.retry",
    "cli.connection_options": "client.security getpass system.private_files tls.fingerprint",
    "cli.limit_options": "auth.permissions limits service.bandwidth service.quota_limits",
    "cli.live": (
        "cli.hook client.trees.mirror shell.chat shell.console shell.live_view shell.people"
        " shell.script"
    ),
    "cli.login": (
        "client.address client.connector client.login limits protocol.replies system.threads"
    ),
    "cli.options": "units",
    "cli.output": "traceback",
    "cli.runtime.commands": "cli.connection_options cli.runtime.parameters shell.errors",
    "cli.runtime.entry": "cli.output cli.runtime.app cli.runtime.commands shell.columns",
    "cli.runtime.streams": "shell.errors",
    "cli.runtime.typer_adapter": "cli.runtime.help",
    "cli.serve": "cli.settings cli.server_process",
    "cli.served_folder": "system.private_files transfer.hidden_names transfer.selection",
    "cli.server_security": (
        "auth.admission auth.files auth.own_token auth.permissions auth.running_servers auth.users"
        " addresses names system.private_files tls.contexts tls.identity"
    ),
    "cli.trees": "cli.sync_watch client.trees.destination client.trees.options transfer.selection",
    "cli.users": "auth.users_file auth.passwords auth.permissions auth.users names units",
    "client.connector": "client.login",
    "client.handshake": "client.known_servers client.trust socket",
    "client.known_servers": "tls.fingerprint tls.known_hosts",
    "client.login": "auth.saved_logins pwd tls.contexts",
    "client.retry": "random",
    "client.transfers.commands": (
        "client.transfers.download client.transfers.parallel_download"
        " client.transfers.parallel_upload client.transfers.stream_download"
        " client.transfers.stream_upload client.transfers.upload"
    ),
    "client.trees.commands": "client.trees.transfers",
    "protocol.connection": "protocol.foreign_protocols",
    "shell.chat": "prompt_toolkit prompt_toolkit.patch_stdout",
    "shell.progress": "shell.columns shell.progress_line",
    "shell.trees": "client.trees.destination",
    "storage.local.folding": "unicodedata",
    "storage.local.store": "storage.local.bulk storage.local.bulk_read storage.local.folding",
    "storage.local.threads": "aiofiles.threadpool",
    "system.private_files": "logging platformdirs",
    "tls.contexts": "hashlib",
    "tls.fingerprint": "hashlib",
    "tls.identity": (
        "cryptography cryptography.hazmat.primitives cryptography.hazmat.primitives.asymmetric"
        " cryptography.hazmat.primitives.serialization cryptography.x509.oid"
    ),
    "transfer.selection": "transfer.hidden_names transfer.wildcards",
    "transfer.spool": "tempfile",
    "watch.portable_hints": "watchfiles",
}

_ROW = {part: row for row, parts in enumerate(LAYERS) for part in parts.split()}
# The package's face, ftransfer/__init__.py, re-exports from anywhere below cli; nobody inside
# imports from it.
FACE = ""


def part_of(module: str) -> str:
    return module.split(".")[0]


def complaint(importer: str, wanted: str) -> str | None:
    """Return why `importer` may not import `wanted`, or None if it may."""
    mine, other = part_of(importer), part_of(wanted)
    if importer == FACE:
        return "the package's face does not run programs" if other in ("cli", "__main__") else None
    if wanted == FACE:
        return "the package's face is for users; inside, name the module"
    if mine == other == "gateways" and importer.split(".")[1:2] != wanted.split(".")[1:2]:
        return "a gateway knows none of its siblings"
    if mine == other:
        return None
    if any(f"{wanted}.".startswith(f"{name}.") for name in FORBIDDEN.get(mine, ())):
        return "the design forbids it"
    if _ROW[other] >= _ROW[mine]:
        return (
            "it stands higher"
            if _ROW[other] > _ROW[mine]
            else "parts in one row do not see each other"
        )
    if other == "storage" and wanted not in STORAGE_SEAM:
        allowed = STORAGE_BUILDERS.get(mine)
        if allowed is None or not f"{wanted}.".startswith(f"{allowed}."):
            return f"of storage it may name only {', '.join(STORAGE_SEAM)}"
    return None


def test_every_part_has_a_place_in_the_layers() -> None:
    assert {part_of(module) for module in MODULES} - {FACE} <= set(_ROW)


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_layers(module: str) -> None:
    complaints = {
        wanted: complaint(module, wanted) for wanted in imported_inside(module_tree(module))
    }
    assert {wanted: why for wanted, why in complaints.items() if why} == {}


def test_no_cycle_of_files() -> None:
    """Annotations included: whoever must know each other belong into one file, or on a seam."""
    edges = {
        module: {name for name in imported_inside(module_tree(module)) if name != module}
        for module in MODULES
        if module != FACE
    }
    in_cycles = {module for module in edges if module in reachable(edges, module)}
    assert in_cycles == set()


def reachable(edges: dict[str, set[str]], module: str) -> set[str]:
    """Return the modules that importing a module needs, and the module itself if it is one."""
    seen: set[str] = set()
    ahead = [module]
    while ahead:
        new = edges.get(ahead.pop(), set()) - seen
        seen |= new
        ahead.extend(new)
    return seen


def test_a_top_level_module_serves_several_folders() -> None:
    users: dict[str, set[str]] = {
        module: set() for module, path in MODULES.items() if path.parent == MODULES[FACE].parent
    }
    del users[FACE], users["__main__"]
    for module in MODULES:
        for name in imported_inside(module_tree(module)) & users.keys():
            users[name].add(part_of(module))
    assert {name: parts for name, parts in users.items() if len(parts - {FACE}) < 2} == {}


def test_imports_inside_functions_are_known() -> None:
    late = {
        (module, name.removeprefix("ftransfer."))
        for module in MODULES
        for _, node in definitions(MODULES[module])
        if isinstance(node, Function)
        for name in imported(node)
    }
    known = {(module, name) for module, names in LATE_IMPORTS.items() for name in names.split()}
    assert late == known


@pytest.mark.parametrize("module", [module for module in MODULES if part_of(module) in PURE_PARTS])
def test_parts_without_io_use_only_pure_library(module: str) -> None:
    assert imported_outside(module_tree(module)) <= PURE_LIBRARY
    assert "open" not in called_names(module_tree(module))


@pytest.mark.parametrize(
    "module", [module for module in MODULES if part_of(module) not in PRINTERS]
)
def test_only_cli_and_shell_print(module: str) -> None:
    assert "print" not in called_names(module_tree(module))
    streams = {
        node.attr
        for node in ast.walk(module_tree(module))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "sys"
    }
    assert not streams & {"stdout", "stderr"}


@pytest.mark.parametrize(
    "module", [module for module, path in MODULES.items() if path.name == "__init__.py"]
)
def test_init_files_only_reexport(module: str) -> None:
    """Imports, names and types; and what resolves names that are imported on first use."""
    for node in module_tree(module).body:
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
        ("service.view", "storage.small_files", True),
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
