"""Hold the sizes, names and wording of the source against the rules of CONTRIBUTING.md.

Each rule lists its exceptions. A list may only shrink: an entry that is no longer needed fails.
"""

from __future__ import annotations

import ast
import re
import tokenize
from collections import Counter
from collections.abc import Iterator

from tests.support.sources import (
    FILES,
    MODULES,
    PROJECT,
    Function,
    definitions,
    tree_of,
)

MAX_FILE_LINES = 400
MAX_TEST_FILE_LINES = 600
MAX_METHODS = 18
MAX_FUNCTION_LINES = 40
MAX_PARAMETERS = 8
MAX_PROSE_COLUMNS = 100

# One method for each call of the interface that they offer or stand in front of.
ADAPTERS = frozenset(
    (
        "ftransfer/protocol/connection.py: Connection",
        "ftransfer/service/view.py: ShareView",
        "ftransfer/storage/local/store.py: LocalStore",
        "ftransfer/storage/local/writer.py: LocalWriter",
        "ftransfer/storage/memory.py: MemoryStore",
        "ftransfer/transfer/subtree.py: StoreBelow",
        "tests/conformance/independent_client.py: Client",
        "tests/property/test_session_machine.py: Sessions",
        "tests/unit/shell/conftest.py: FakeShare",
    )
)
# Values with one field for each option, for each field of the wire, or for each figure.
RECORDS = frozenset(
    (
        "Change ClientOptions ConnectionOptions Entry Figures Hello Limits Meta Receipt Security"
        " ShellCommand TreeReport"
    ).split()
)
NOUNS_IN_ING = frozenset("framing staging folding formatting listing".split())
NOT_NOUNS = re.compile(r".*(ing|ed|ly)|below|foreign|lazy|portable|quick")
VAGUE = re.compile(r"common|helpers?|managers?|misc|utils?")
BAD_OPENING = re.compile(r"(Give|Hear|Say|Tell)s?\b|Take note\b")


def test_files_are_short() -> None:
    long = {
        file
        for file in FILES
        if len((PROJECT / file).read_text(encoding="utf-8").splitlines())
        > (MAX_TEST_FILE_LINES if file.startswith("tests/") else MAX_FILE_LINES)
    }
    assert long == set()


def test_classes_have_few_methods() -> None:
    large = {
        f"{file}: {node.name}"
        for file in FILES
        for _, node in definitions(PROJECT / file)
        if isinstance(node, ast.ClassDef)
        and len({method.name for method in node.body if isinstance(method, Function)}) > MAX_METHODS
    }
    assert large == ADAPTERS


def test_functions_are_short() -> None:
    long = {
        name
        for name, node in all_definitions()
        if isinstance(node, Function) and body_lines(node) > MAX_FUNCTION_LINES
    }
    assert long == set()


def body_lines(function: Function) -> int:
    """Return the number of lines from the first statement after the docstring to the last."""
    body = function.body[ast.get_docstring(function) is not None :]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_constructors_have_few_parameters() -> None:
    long = {name for name, node in all_definitions() if parameters(node) > MAX_PARAMETERS}
    assert long == RECORDS


def parameters(node: ast.ClassDef | Function) -> int:
    """Count what a constructor takes: an __init__, a class method, or the fields of a record."""
    if isinstance(node, ast.ClassDef):
        return len(record_fields(node))
    if node.name != "__init__" and "classmethod" not in decorators(node):
        return 0
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return len(every) - 1


def record_fields(node: ast.ClassDef) -> list[ast.AnnAssign]:
    if not {"dataclass", "NamedTuple"} & {*decorators(node), *map(ast.unparse, node.bases)}:
        return []
    return [
        field
        for field in node.body
        if isinstance(field, ast.AnnAssign)
        and "ClassVar" not in ast.unparse(field.annotation)
        and "init=False" not in ast.unparse(field)
    ]


def decorators(node: ast.ClassDef | Function) -> set[str]:
    return {ast.unparse(decorator).split("(")[0] for decorator in node.decorator_list}


def test_no_class_name_stands_twice_in_the_package() -> None:
    names = Counter(
        node.name
        for module in MODULES
        for _, node in definitions(MODULES[module])
        if isinstance(node, ast.ClassDef)
    )
    assert {name for name, count in names.items() if count > 1} == set()


def test_no_class_inherits_methods_that_are_not_implemented() -> None:
    """What a class needs of others is a Protocol that it takes, not a base full of holes."""
    classes = [
        node
        for module in MODULES
        for _, node in definitions(MODULES[module])
        if isinstance(node, ast.ClassDef)
    ]
    bases = {ast.unparse(base).split(".")[-1] for node in classes for base in node.bases}
    hollow = {node.name for node in classes if "NotImplementedError" in raised_names(node)}
    assert hollow & bases == set()


def raised_names(tree: ast.AST) -> set[str]:
    return {
        name.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and node.exc is not None
        for name in ast.walk(node.exc)
        if isinstance(name, ast.Name)
    }


def test_modules_are_nouns() -> None:
    words = {re.split(r"[._]", module)[-1] for module in MODULES}
    assert {word for word in words if NOT_NOUNS.fullmatch(word)} == NOUNS_IN_ING
    assert {word for word in words if VAGUE.fullmatch(word)} == set()


def test_docstrings_begin_with_what_the_function_does() -> None:
    odd = {
        f"{file}: {docstring.splitlines()[0]}"
        for file in FILES
        for _, node in [("", tree_of(PROJECT / file)), *definitions(PROJECT / file)]
        if (docstring := ast.get_docstring(node)) and BAD_OPENING.match(docstring)
    }
    assert odd == set()


def test_exceptions_for_the_linters_name_a_code_and_a_reason() -> None:
    reasoned = re.compile(r"# (type: ignore\[[a-z, -]+\]|noqa: [A-Z0-9, ]+)  # \w.*")
    bare = {
        f"{file}: {comment}"
        for file in FILES
        for comment in comments(file)
        if re.search("type: ignore|noqa", comment) and not reasoned.fullmatch(comment)
    }
    assert bare == set()


def comments(file: str) -> Iterator[str]:
    with tokenize.open(PROJECT / file) as lines:
        for token in tokenize.generate_tokens(lines.readline):
            if token.type == tokenize.COMMENT:
                yield token.string


def test_whoever_arms_a_fault_asks_whether_it_struck() -> None:
    """`failing` and `each_call` of tests.support.sabotage fail by themselves; `trying` does not."""
    careless = {
        f"{file}: {name}"
        for file in FILES
        for name, node in definitions(PROJECT / file)
        if isinstance(node, Function) and {"trying"} == attributes(node) & {"trying", "hit"}
    }
    assert careless == set()


def attributes(tree: ast.AST) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_prose_is_wrapped() -> None:
    wide = {
        document
        for path in [*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")]
        for document in [path.relative_to(PROJECT).as_posix()]
        if any(len(line) > MAX_PROSE_COLUMNS for line in prose_lines(document))
    }
    assert wide == set()


def prose_lines(document: str) -> Iterator[str]:
    """Yield the lines of a document that are neither code nor part of a table."""
    is_code = False
    for line in (PROJECT / document).read_text(encoding="utf-8").splitlines():
        is_code ^= line.lstrip().startswith("```")
        if not is_code and not line.lstrip().startswith("|"):
            yield line


def all_definitions() -> Iterator[tuple[str, ast.ClassDef | Function]]:
    for file in FILES:
        yield from definitions(PROJECT / file)
