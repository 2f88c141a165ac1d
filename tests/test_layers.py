"""Imports point down only, and importing does nothing heavy: the rules of the project's layout, held here.

A folder is a floor: it imports only itself and the floors below. Every import counts, also one inside a
function or for type checking only; the one exception is the public API in convai/__init__.py, which loads
what it offers on first use.
"""

from __future__ import annotations

import ast
import copy
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "convai"

FLOORS = (
    "core",
    "text",
    "model",
    "decoding",
    "emotion",
    "coref",
    "engine",
    "conversation",
    "store",
    "training",
    "evaluation",
    "train",
    "server",
    "terminal",
    "interact",
    "bench",
    "commands",
    "__main__",
)
"""The entries of the package, from the bottom up: each imports only itself and those before it."""

SEPARATE = ("emotion", "coref")
"""What reads along: neither imports the other."""

HEAVY = {
    "torch",
    "numpy",
    "transformers",
    "tokenizers",
    "ignite",
    "safetensors",
    "matplotlib",
    "tensorboard",
    "sqlalchemy",
}

FLOOR_OF = {name: floor for floor, name in enumerate(FLOORS)}
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    """convai/text/corpora/reading.py → convai.text.corpora.reading."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def part_of(module: str) -> str:
    """convai.text.corpora.reading → text; convai → the empty name."""
    return module.split(".")[1] if "." in module else ""


def floor_of(module: str) -> int | None:
    """Where `module` stands in FLOORS; convai/__init__.py, which all may import, stands on the first."""
    return FLOOR_OF.get(part_of(module)) if "." in module else 0


def imports_of(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and module of every import in `tree`; `from package import module` counts as that module."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            base = node.module or ""
            full = [f"{base}.{alias.name}" for alias in node.names]
            found += [(node.lineno, name if name in MODULES else base) for name in full]
    return found


def top_imports_of(tree: ast.Module) -> list[tuple[int, str]]:
    """As `imports_of`, without those inside functions and under `if TYPE_CHECKING:`."""

    class Prune(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                return None
            return self.generic_visit(node)

    return imports_of(Prune().visit(copy.deepcopy(tree)))


def upward(module: str, imports: list[tuple[int, str]]) -> list[str]:
    """The imports that `module` may not make, each as a line to read."""
    own = floor_of(module)
    assert own is not None
    wrong = []
    for line, target in imports:
        if target.split(".")[0] != "convai":
            continue
        other = floor_of(target)
        first, second = part_of(module), part_of(target)
        if other is None or other > own:
            wrong.append(f"line {line}: {module} (floor {own}) imports {target} (floor {other})")
        elif first != second and first in SEPARATE and second in SEPARATE:
            wrong.append(
                f"line {line}: {module} imports {target}, and they are to know nothing of each other"
            )
    return wrong


@functools.cache
def parse(module: str) -> ast.Module:
    """Read once for all tests; whoever changes it takes a copy."""
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_layer_and_imports_point_down(module: str) -> None:
    assert floor_of(module) is not None, f"{module} has no place: add its folder to FLOORS"
    if module == "convai":
        assert {part_of(target) for _, target in top_imports_of(parse(module)) if "convai" in target} == {
            "core"
        }
    else:
        assert upward(module, imports_of(parse(module))) == []


@pytest.mark.parametrize("module", [module for module in MODULES if floor_of(module) in (-1, 0)])
def test_words_and_settings_need_only_the_standard_library(module: str) -> None:
    allowed = sys.stdlib_module_names | {"convai"}
    assert [i for i in top_imports_of(parse(module)) if i[1].split(".")[0] not in allowed] == []


@pytest.mark.parametrize(
    "module", [m for m in MODULES if m == "convai.__main__" or m.startswith("convai.commands")]
)
def test_commands_load_nothing_heavy_before_they_run(module: str) -> None:
    """At its top a command imports the standard library, core and the commands' own helpers: nothing else."""
    heavy = []
    for line, target in top_imports_of(parse(module)):
        light = target.split(".")[0] in sys.stdlib_module_names
        own = target.split(".")[0] == "convai" and (
            floor_of(target) in (-1, 0) or target.startswith("convai.commands")
        )
        if not light and not own:
            heavy.append(f"line {line}: {target}")
    assert heavy == []


def test_no_two_modules_import_each_other() -> None:
    """No circle, also not by way of functions and type checking: what a file needs can be read first."""
    graph = {
        module: [
            target
            for _, target in imports_of(parse(module))
            if target in MODULES and target not in ("convai", module)
        ]
        for module in MODULES
        if module != "convai"
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join([*path[path.index(module) :], module])
        if module not in done:
            for target in graph[module]:
                visit(target, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_importing_convai_loads_nothing_heavy() -> None:
    code = f"import sys, convai; print(sorted({HEAVY!r} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_the_rules_are_able_to_refuse() -> None:
    """The checker itself: an import upward, one sideways, one of an unknown module, and a legal one."""
    tree = ast.parse(
        "def f():\n    import convai.training.loop\n"
        "from convai.coref import resolver\nimport convai.nowhere\n"
        "from convai.text.segments import build\nimport torch\n"
    )
    refused = {line.split(":")[0] for line in upward("convai.emotion.text", imports_of(tree))}
    assert refused == {"line 2", "line 3", "line 4"}
    assert [name for _, name in top_imports_of(tree)] == [
        "convai.coref.resolver",
        "convai.nowhere",
        "convai.text.segments",
        "torch",
    ]


def test_the_page_on_the_layout_names_files_that_are_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = sorted(set(re.findall(r"`((?:tests/)?[a-z_]+/[a-z_/]+\.py)`", page)))
    assert len(named) > 20
    assert [name for name in named if not (PACKAGE / name).is_file() and not (ROOT / name).is_file()] == []
    files = [
        path.relative_to(ROOT).as_posix()
        for top in ("convai", "tests", "web")
        for path in (ROOT / top).rglob("*")
    ]
    short = set(re.findall(r"`([\w/.-]+\.(?:py|h|js))`", page))
    assert [
        name for name in sorted(short) if not any(f"/{file}".endswith(f"/{name}") for file in files)
    ] == []
    symbols = "\n".join(path.read_text(encoding="utf-8") for path in FILES)
    named = sorted(set(re.findall(r"`(?:\w+\.)*(\w+)(?:\(\.\.\.\))?`", page)))
    assert [name for name in named if not re.search(rf"\b{name}\b", symbols)] == []
