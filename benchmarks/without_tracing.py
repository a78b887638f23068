"""Runs a service as if it had no tracing: ``python -m benchmarks.without_tracing MODULE ARGUMENTS``.

Each call of tracing is removed from the code while it is imported, with the branches that only it needs.
"""

from __future__ import annotations

import ast
import runpy
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

PACKAGES = ("lookalike", "gateway", "hasher", "embedder")
TRACING = "lookalike.runtime.tracing"
_CONTEXTS = {"outgoing", "stage", "on_behalf_of"}
_VALUES = {"current_call": "None", "exemplar": "None", "begin_outgoing": "[]", "untraced_headers": "{}"}
"""Function → the expression that stands for its result."""
_KEYWORDS = {"metadata", "headers"}
_STATE = {"_span", "_tracing"}


class LeftOverError(Exception):
    """Code calls tracing in a way that is not known here."""


class _Remover(ast.NodeTransformer):
    def visit_With(self, node: ast.With) -> ast.AST | list[ast.stmt]:
        return self._without_contexts(node)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST | list[ast.stmt]:
        return self._without_contexts(node)

    def _without_contexts(self, node: ast.With | ast.AsyncWith) -> ast.AST | list[ast.stmt]:
        node.items = [item for item in node.items if _called(item.context_expr) not in _CONTEXTS]
        self.generic_visit(node)
        return node if node.items else node.body

    def visit_If(self, node: ast.If) -> ast.AST | None:
        if not node.orelse and _asks_for_trace(node.test):
            return None
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if value := _VALUES.get(_called(node)):
            return ast.parse(value, mode="eval").body
        # What `outgoing` yields is sent along.
        node.keywords = [
            one for one in node.keywords if one.arg not in _KEYWORDS or not _names(one, "headers")
        ]
        return self.generic_visit(node)


def _called(node: ast.expr) -> str:
    """Returns the last name of what is called, empty where nothing is."""
    if not isinstance(node, ast.Call):
        return ""
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _names(node: ast.AST, name: str) -> bool:
    return any(isinstance(one, ast.Name) and one.id == name for one in ast.walk(node))


def _asks_for_trace(test: ast.expr) -> bool:
    if isinstance(test, ast.Name):
        return test.id == "call"
    parts = list(ast.walk(test))
    state = any(isinstance(part, ast.Attribute) and part.attr in _STATE for part in parts)
    return state or any(isinstance(part, ast.expr) and _called(part) == "current_call" for part in parts)


def without_tracing(source: str, path: str) -> ast.Module:
    """Returns a module's code without calls of tracing.

    Raises:
        LeftOverError: Some could not be removed.
    """
    tree = ast.fix_missing_locations(_Remover().visit(ast.parse(source, path)))
    calls = {_called(node) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    left = calls & (_CONTEXTS | _VALUES.keys())
    if left:
        raise LeftOverError(f"{path} still calls {', '.join(sorted(left))}")
    assert isinstance(tree, ast.Module)
    return tree


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        """Compiles the source each time: what is kept on disk is the whole code."""
        source = self.get_source(fullname)
        assert source is not None
        return compile(without_tracing(source, self.path), self.path, "exec")


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in PACKAGES or fullname == TRACING:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


if __name__ == "__main__":
    sys.meta_path.insert(0, _Finder())
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
