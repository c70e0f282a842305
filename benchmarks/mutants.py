"""Mutation testing: of small faults put into flowdyn/theory and flowdyn/methods, the share that the tests notice.

A fault flips one sign, comparison, connective or truth value, or changes one number. The package is copied to a
temporary folder, one file of the copy is rewritten for each fault, and the tests that concern this file run there.
A failing test or a run that is out of time notices a fault. Those that nothing can notice are named in EQUIVALENT.
"""

import argparse
import ast
import collections
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = 1e-5  # numbers below are tolerances and floors, none of which is exact to a factor of two
LIMIT = 420.0  # seconds that the tests of a file may take
FLIPS: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.Mod: (ast.Add,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.Lt: (ast.GtE, ast.LtE),
    ast.LtE: (ast.Gt, ast.Lt),
    ast.Gt: (ast.LtE, ast.GtE),
    ast.GtE: (ast.Lt, ast.Gt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
}
# what has no value to test: the words of an error, names and citations, the small instance that the tests run
WORDS = ("summary", "references", "kind", "calculus")
# which route is taken or how long one waits, not what comes out
ROUTES = (
    "MAX_ITERATIONS",
    "BATCH",
    "MAX_ENTRIES",
    "ONE_MATRIX_UP_TO",
    "CALL",
    "ENTRY",
    "PRODUCTS",
    "EXACT_LIMIT",
    "MATRIX_UP_TO",
)

# tests that concern a file beside the examples of its docstrings, the quickest first
TESTS = {
    "theory/implicit_bias": "theory_values refusals_theory theory",
    "theory/interpolation": "theory_values refusals_theory theory",
    "theory/isometry": "theory_values refusals_theory",
    "theory/label_noise": "theory_values refusals_theory",
    "theory/linear_moments": "linear_laws decorations",
    "theory/moments_work": "linear_laws decorations",
    "theory/symmetric_maps": "linear_laws",
    "theory/margin": "theory_values refusals_theory theory",
    "theory/moments": "linear_laws refusals_theory precision",
    "theory/recovery": "theory_values refusals_theory recovery",
    "methods/base": "right_hand_sides refusals_methods",
    "methods/curvature": "right_hand_sides sharpness",
    "methods/diagonal": "right_hand_sides refusals_methods theorem_systems",
    "methods/gradient_descent": "right_hand_sides refusals_methods sharpness",
    "methods/heavy_ball": "right_hand_sides refusals_methods",
    "methods/kernel": "right_hand_sides theorem_systems",
    "methods/label_noise": "noise_terms refusals_methods",
    "methods/label_noise_flow": "right_hand_sides refusals_methods",
    "methods/modified_equation": "noise_terms refusals_methods",
    "methods/nesterov": "right_hand_sides refusals_methods",
    "methods/normalized": "right_hand_sides theorem_systems",
    "methods/ode": "right_hand_sides refusals_methods user_functions",
    "methods/ornstein_uhlenbeck": "noise_terms refusals_methods precision",
    "methods/sampling": "noise_terms refusals_methods",
    "methods/sde": "noise_terms refusals_methods user_functions",
    "methods/sgd": "noise_terms custom_moments refusals_methods",
    "methods/spectral": "right_hand_sides",
    "methods/stochastic_base": "noise_terms",
    "methods/svag": "noise_terms refusals_methods",
    "methods/systems": "right_hand_sides noise_terms refusals_methods",
}
# faults that change no result, by file, a piece of the line, and the change: why nothing can notice them
EQUIVALENT: dict[tuple[str, str, str], str] = {
    ("theory/implicit_bias", "stuck >= 3", "stuck >= 3 -> stuck > 3"): "one more step of Newton at the last digits",
    ("theory/implicit_bias", "a**2 * np.exp(exponent)", "a > 0 -> a >= 0"): "0^2 exp(s) is the 0 of the other branch",
    ("theory/implicit_bias", "rho = np.log(", "1.0 -> 2.0"): "rho counts only where c > 0",
    (
        "theory/interpolation",
        "signs[support], bounds=(0, None)",
        "0 -> 1",
    ): "v is a difference: both halves shift alike",
    ("theory/interpolation", "if np.linalg.norm(X @ theta - y) > 1e-9", "> -> >="): "equality takes 1e-9 to a digit",
    ("methods/gradient_descent", "length=self.order + 1", "1 -> 2"): "one gradient more than is used",
    ("methods/label_noise_flow", "batch_size: int = eqx.field", "True -> False"): "whether another batch compiles anew",
    ("methods/label_noise_flow", "jnp.where(good, values", "1.0 -> 2.0"): "where it stands the product takes 0",
    (
        "theory/moments",
        "doublings = max",
        "max(scale, 1e-300) / 0.5 -> max(scale, 1e-300) * 0.5",
    ): "expm takes the longer step too",
    ("theory/recovery", "noise_max=", "2 * alpha * inside -> 2 * alpha / inside"): "inside is 1 or NaN",
    ("theory/recovery", "noise_norm=", "np.sqrt(0.5) * inside -> np.sqrt(0.5) / inside"): "inside is 1 or NaN",
    ("theory/recovery", "drift=", "8 * delta * inside -> 8 * delta / inside"): "inside is 1 or NaN",
    ("theory/interpolation", "kept = s >", "> -> >="): "equality takes rounding to a digit",
    ("theory/margin", "np.append(np.zeros(d), -1.0)", "1.0 -> 2.0"): "a factor of what is maximised",
    ("theory/margin", "maxiter=50", "50 -> 51"): "the search ends long before",
    ("theory/margin", "bounds=[(-1, 1)] * d", "1 -> 2"): "of Z w the signs alone are looked at",
    ("methods/spectral", "small = np.where(", "0.5 -> 1.0"): "the other line takes what is small up to 0.5",
    ("methods/spectral", "small = np.where(", "< -> <="): "the other line takes what is small up to 0.5",
    ("methods/sde", "moved[i] += 0.1", "0.01 -> 0.02"): "any move shows whether g changes",
    ("methods/sde", "return 0.5 * x", "0.5 * x -> 0.5 / x"): "the instance that example() makes",
    ("methods/ornstein_uhlenbeck", "return self.A.shape[0]", "0 -> 1"): "A is square",
}


class Fault(NamedTuple):
    """One change of one file: at which node and which of its variants, the line, and what becomes what."""

    path: str
    node: int
    variant: int
    line: int
    change: str


def places(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes below `node` that are part of what is computed."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.Raise | ast.JoinedStr):
                continue
            if isinstance(child, ast.FunctionDef) and child.name == "example":
                continue
            targets = child.targets if isinstance(child, ast.Assign) else [getattr(child, "target", None)]
            if any(isinstance(target, ast.Name) and target.id in WORDS + ROUTES for target in targets):
                continue
            yield child
            yield from places(child)


def variants(node: ast.AST) -> list[ast.AST]:
    """What the node may become."""
    if isinstance(node, ast.UnaryOp):  # a sign, a `not` or a `~` is lost
        return [node.operand]
    if isinstance(node, ast.BinOp | ast.BoolOp):
        return [replaced(node, op=flip()) for flip in FLIPS.get(type(node.op), ())]
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        return [replaced(node, ops=[flip()]) for flip in FLIPS.get(type(node.ops[0]), ())]
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return [replaced(node, value=not node.value)]
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return [replaced(node, value=node.value + 1)]
    if isinstance(node, ast.Constant) and isinstance(node.value, float) and not 0 < node.value < TOLERANCE:
        return [replaced(node, value=2 * node.value or 1.0)]
    return []


def replaced(node: ast.AST, **fields: object) -> ast.AST:
    """A copy of the node with other fields."""
    other = copy.copy(node)
    vars(other).update(fields)
    return other


def faults(path: Path) -> list[Fault]:
    """Every fault of one file."""
    name = str(path.relative_to(ROOT))
    return [
        Fault(name, i, j, node.lineno, f"{ast.unparse(node)} -> {ast.unparse(other)}")  # type: ignore[attr-defined]
        for i, node in enumerate(places(ast.parse(path.read_text())))
        for j, other in enumerate(variants(node))
    ]


class Swap(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, old: ast.AST, new: ast.AST):
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        """The new node for the old one, any other as it is."""
        return self.new if node is self.old else self.generic_visit(node)


def rewritten(fault: Fault) -> str:
    """Source of the file with the fault."""
    tree = ast.parse((ROOT / fault.path).read_text())
    node = list(places(tree))[fault.node]
    return ast.unparse(ast.fix_missing_locations(Swap(node, variants(node)[fault.variant]).visit(tree)))


def chosen(count: int, seed: int) -> list[Fault]:
    """A random choice spread over the files: each file's share is that of its faults, and at least two."""
    files = [p for part in ("theory", "methods") for p in sorted((ROOT / "flowdyn" / part).glob("*.py"))]
    every = {p: faults(p) for p in files if p.name != "__init__.py"}
    total = sum(map(len, every.values()))
    picked = []
    for path, found in every.items():
        share = max(2, round(count * len(found) / total))
        picked += random.Random(f"{path.stem} {seed}").sample(found, min(len(found), share))
    print(f"{len(picked)} of {total} faults in {len(every)} files", flush=True)
    return picked


def reason(fault: Fault) -> str:
    """Why a fault is equivalent; nothing where none is known. "<= -> <" stands for a change of the comparison alone."""
    line = (ROOT / fault.path).read_text().splitlines()[fault.line - 1]
    before, after = fault.change.split(" -> ")
    for (path, piece, change), why in EQUIVALENT.items():
        if path not in fault.path or piece not in line:
            continue
        sign, other = f" {change} ".split("->")
        if fault.change == change or (change[0] in "<>" and before.replace(sign, other) == after):
            return why
    return ""


def tests_of(path: str) -> list[str]:
    """Test files that concern a source file."""
    name = path.removeprefix("flowdyn/").removesuffix(".py")
    example = f"tests/test_documents.py::test_docstring_examples[flowdyn.{name.replace('/', '.')}]"
    return [example, *(f"tests/test_{test}.py" for test in TESTS[name].split())]


def failing(path: str, place: Path) -> str:
    """What fails of the tests of a file of the copy: the first test, or the clock; nothing where all pass."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests_of(path)]
    environment = os.environ | {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    child = subprocess.Popen(
        command, cwd=place, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        output = child.communicate(timeout=LIMIT)[0]
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return "out of time"
    if child.returncode == 0:
        return ""
    lines = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return lines[0].split(" - ")[0] if lines else "pytest stopped"


def noticed(fault: Fault, place: Path) -> str:
    """What notices a fault that is put into the copy for this time."""
    source = place / fault.path
    source.write_text(rewritten(fault))
    try:
        return failing(fault.path, place)
    finally:
        shutil.copy(ROOT / fault.path, source)


def main() -> None:
    """Print a line a fault, then the share noticed and what was not."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=150)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--only", default="", help="part of a path, e.g. theory/margin")
    options.add_argument("--line", type=int, help="all faults of this line of the one file")
    options.add_argument("--list", action="store_true", help="show the faults, run nothing")
    given = options.parse_args()
    picked = [fault for fault in chosen(given.count, given.seed) if given.only in fault.path]
    if given.line:
        picked = [f for path in {f.path for f in picked} for f in faults(ROOT / path) if f.line == given.line]
    if given.list:
        for fault in picked:
            print(f"{fault.path}:{fault.line}: {fault.change}")
        return
    outcomes: dict[str, list[Fault]] = collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for part in ("flowdyn", "tests", "docs", "pyproject.toml", "README.md", "CHANGELOG.md"):
            whole = ROOT / part
            shutil.copytree(whole, place / part) if whole.is_dir() else shutil.copy(whole, place)
        where = subprocess.run(
            [sys.executable, "-c", "import flowdyn; print(flowdyn.__file__)"], cwd=place, capture_output=True, text=True
        )
        if not where.stdout.startswith(str(place)):
            raise SystemExit(f"the copy is not what is imported: {where.stdout}{where.stderr}")
        for path in sorted({fault.path for fault in picked}):
            if broken := failing(path, place):
                raise SystemExit(f"without any fault the tests of {path} do not pass: {broken}")
        for fault in picked:
            begin = time.perf_counter()
            by = noticed(fault, place)
            why = "" if by else reason(fault)
            outcomes["noticed" if by else "equivalent" if why else "not noticed"].append(fault)
            seconds = time.perf_counter() - begin
            said = by or (f"equivalent: {why}" if why else "NOT NOTICED")
            print(f"{fault.path}:{fault.line}: {fault.change}   {said} ({seconds:.0f} s)", flush=True)
    real = len(outcomes["noticed"]) + len(outcomes["not noticed"])
    print(f"\nnoticed {len(outcomes['noticed'])} of {real}, beside {len(outcomes['equivalent'])} equivalent ones")
    for fault in outcomes["not noticed"]:
        print(f"{fault.path}:{fault.line}: {fault.change}")


if __name__ == "__main__":
    main()
