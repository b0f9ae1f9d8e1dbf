"""What may import what, what an import loads, which names are public, and what installing brings."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from importlib.util import find_spec
from inspect import getdoc
from pathlib import Path
from time import perf_counter

import pytest

import fisherkit

#: A name imports only names on lines below its own; names on one line never import each other. Every import counts,
#: at the top of a file, inside a function, or for type checkers alone.
LAYERS = (
    "__main__",
    "cli",
    "fisherkit",  # the table of public names, as users import it
    "plots",
    "applications bounds checks design estimation forecast geometry spectra",  # uses: take an information
    "networks sampled symbolic verbs",  # sources: give one
    "model",
    "information",
    "formulas jacobians storage uncertainty",
    "expressions provenance ratios report structures",
    "parameters progress quadrature",
    "arrays deadline limits methods optional panels rows tables",
    "errors",
)

#: Inside structures the others are siblings: they know these, never each other, and promotion alone knows them all.
FOUNDATION, PROMOTION = {"base", "inversion", "products"}, "promotion"

#: Modules that load others by a name made at run time, which the table cannot see, so that heavy ones come on use.
BY_NAME = {"fisherkit", "fisherkit.model", "fisherkit.optional"}

HEAVY = ("sympy", "scipy", "torch", "matplotlib", "pandas", "sklearn", "statsmodels")

#: What each import may load of the heavy libraries.
LOADS = {
    "import fisherkit": set(),
    "from fisherkit import FisherInformation, MonteCarlo, cramer_rao_bound, expected_information": set(),
    "import fisherkit.sampled, fisherkit.checks, fisherkit.plots": set(),
    "import fisherkit.estimation, fisherkit.design": set(),
    "import fisherkit.cli": set(),
    "import fisherkit.symbolic": {"sympy"},
}

#: The public names. A change here is a change that users see: it needs a line in docs/changelog.md.
PUBLIC = {
    "fisherkit": """__version__ Exact FisherInformation MonteCarlo Parameters Quadrature applications
        bhattacharyya_bound bounds chapman_robbins_bound checks constrained_bound cramer_rao_bound design empirical_information
        errors estimation expected_information forecast geometry load misspecified_bound networks observed_information plots
        sampled score spectra symbolic van_trees_bound""",
    "fisherkit.symbolic": "ExponentialFamily Independent Model as_location_family as_model parse_expression parse_model",
    "fisherkit.sampled": "Accumulator Family GaussianModel LatentModel Model NoisyModel Simulator as_location_family as_model",
    "fisherkit.networks": "Bernoulli Categorical EKFAC Gaussian HeteroscedasticGaussian KFAC Likelihood LowRank Model Poisson",
    "fisherkit.bounds": """Bound barankin_bound bhattacharyya_bound chapman_robbins_bound constrained_bound cramer_rao_bound
        efficiency efficient_estimator hybrid_bound misspecified_bound van_trees_bound""",
    "fisherkit.estimation": """ConvergenceWarning Covariance Estimate HypothesisTest Identifiability Intervals LeastSquares
        RoundingWarning confidence_intervals fisher_scoring identifiability likelihood_ratio_test nonlinear_least_squares
        profile_intervals sandwich score_test wald_test""",
    "fisherkit.design": """Design NextObservation a_criterion a_gradient c_criterion c_gradient d_criterion d_gradient e_criterion
        e_gradient evaluate exact i_criterion i_gradient next_observation optimal t_criterion t_gradient""",
    "fisherkit.applications": "EWC VanishedInformationWarning merging sensitivity",
    "fisherkit.applications.merging": "merge",
    "fisherkit.applications.sensitivity": "Sensitivity quantize to_change to_pruning to_quantization",
    "fisherkit.geometry": """Distance Geodesic christoffel covariance_distance distance geodesic jeffreys_prior
        kullback_leibler natural_gradient scalar_curvature sectional_curvature""",
    "fisherkit.spectra": "Density Estimate density eigenvalues linear_operator logdet trace",
    "fisherkit.forecast": "figure_of_merit fixed_parameter_bias gaussian_prior",
    "fisherkit.plots": "bound_vs_n ellipse heatmap score_and_curvature spectrum standard_errors triangle",
    "fisherkit.checks": """check_additivity check_batch_size check_divergence check_information check_labels check_model
        check_reparametrization check_scores check_total""",
    "fisherkit.errors": """ConvergenceError
        DataError EntriesError FisherkitError IdentityError IndefiniteInformationError LayoutError
        MemoryBudgetError MethodError MissingDependencyError NetworkStateError NotAtMaximumWarning PrecisionError RegularityError
        SingularInformationError StorageError TextError""",
    "fisherkit.information.FisherInformation": """at bias_of condition dense diagonal eigenvalues error_bound fix interval_of
        inverse join kind lambdify latex logdet marginalize mcse mcse_of method n of parameters per_observation point quadratic
        rank rename report reparametrize save solve sample standard_errors structure total trace with_prior""",
}

#: What an installation brings. Half of the users need no PyTorch; nobody needs torchvision.
REQUIRED = "array-api-compat numpy scipy sympy"
EXTRAS = {
    "torch": "safetensors torch",
    "plot": "matplotlib",
    "progress": "tqdm",
    "dask": "distributed",
    "all": "fisherkit scikit-learn statsmodels",
    "test": "hypothesis pytest pytest-timeout pytest-xdist scikit-learn statsmodels",
    "docs": "furo myst-parser numpydoc sphinx",
}

#: Public for the other parts of fisherkit, not for its users.
INTERNAL = {"__version__", "as_location_family", "as_model", "Family"}

ROOT = Path(fisherkit.__file__).parent
FILES = {
    ".".join(("fisherkit", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
RANK = {name: rank for rank, line in enumerate(reversed(LAYERS)) for name in line.split()}


def unit(module: str) -> str:
    """The name in the table: the part after ``fisherkit``, which alone is itself."""
    return [*module.split("."), "fisherkit"][1]


def imports(module: str, text: str, *, types: bool = True) -> Iterator[str]:
    """The modules of fisherkit that a module imports, read from its syntax tree; those for type checkers too, or not."""
    package = module.split(".") if FILES[module].name == "__init__.py" else module.split(".")[:-1]
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not types:
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            inner = [f"{base}.{alias.name}" for alias in node.names]
            found = [name if name in FILES else base for name in inner]
        else:
            continue
        yield from (name for name in found if name.split(".")[0] == "fisherkit")


def misplaced(module: str, imported: str) -> bool:
    """Whether an import runs upwards or sideways."""
    a, b = unit(module), unit(imported)
    return a != b and RANK[b] >= RANK[a]


GRAPH = {module: sorted(set(imports(module, path.read_text()))) for module, path in FILES.items()}


# -- layers


def test_every_module_has_a_layer() -> None:
    assert {unit(module) for module in FILES} <= set(RANK)


@pytest.mark.parametrize("module", GRAPH)
def test_imports_run_downwards(module: str) -> None:
    wrong = [imported for imported in GRAPH[module] if misplaced(module, imported)]
    assert not wrong, f"{module} imports {', '.join(wrong)}, which is not below it"


def test_no_circles() -> None:
    """When the code runs; a part may name the type of its whole."""
    graph = {module: set(imports(module, path.read_text(), types=False)) for module, path in FILES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"imports form a circle: {' -> '.join(error.args[1])}")


def test_structures_do_not_know_each_other() -> None:
    for module, imported in GRAPH.items():
        if unit(module) != "structures" or module.split(".")[-1] in (PROMOTION, "structures"):
            continue
        known = {name.split(".")[2] for name in imported if name.startswith("fisherkit.structures.")}
        assert known <= FOUNDATION, f"{module} knows {known - FOUNDATION}; promotion.py alone knows several structures"


def test_only_these_load_by_name() -> None:
    calls = {module for module, path in FILES.items() if "import_module" in path.read_text()}
    assert calls == BY_NAME


def test_the_reader_of_imports_sees_them_all() -> None:
    text = """
import fisherkit as fk
from .. import model, quadrature
def f():
    from ..networks.layers import Linear
    from . import derivatives
    import numpy
if TYPE_CHECKING:
    from .families import Family
"""
    assert list(imports("fisherkit.sampled.model", text)) == [
        "fisherkit",
        "fisherkit.model",
        "fisherkit.quadrature",
        "fisherkit.networks.layers",
        "fisherkit.sampled.derivatives",
        "fisherkit.sampled.families",
    ]
    assert "fisherkit.sampled.families" not in imports("fisherkit.sampled.model", text, types=False)
    wrong = [name for name in imports("fisherkit.sampled.model", text) if misplaced("fisherkit.sampled.model", name)]
    assert wrong == ["fisherkit", "fisherkit.networks.layers"]


# -- what an import loads


@pytest.mark.parametrize("line", LOADS)
def test_heavy_libraries_come_on_use(line: str) -> None:
    code = f"{line}\nimport sys\nprint(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    start = perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    print(f"{line}: {perf_counter() - start:.2f} s, the interpreter's start included")  # information, not a claim
    assert set(done.stdout.split()) <= LOADS[line]


# -- public names


@pytest.mark.parametrize("where", PUBLIC)
def test_public_names(where: str) -> None:
    if where.startswith(("fisherkit.networks", "fisherkit.applications")) and not find_spec("torch"):
        pytest.skip("needs torch")
    parent, _, last = where.rpartition(".")
    owner = getattr(import_module(parent), last) if last[0].isupper() else import_module(where)
    names = getattr(owner, "__all__", None) or [name for name, value in vars(owner).items() if is_own(owner, name, value)]
    assert sorted(names) == sorted(PUBLIC[where].split())
    for name in set(names) - (set() if find_spec("torch") else {"applications", "networks"}):
        assert getattr(owner, name) is not None


def test_public_names_are_documented() -> None:
    """In docstrings and in the reference."""
    reference = (ROOT.parent / "docs" / "reference.md").read_text()
    for where, names in PUBLIC.items():
        if not find_spec("torch") and where.startswith(("fisherkit.networks", "fisherkit.applications")):
            continue
        parent, _, last = where.rpartition(".")
        owner = getattr(import_module(parent), last) if last[0].isupper() else import_module(where)
        whole = f"automodule:: {where}\n" in reference or isinstance(owner, type)
        for name in set(names.split()) - INTERNAL - (set() if find_spec("torch") else {"applications", "networks"}):
            assert getdoc(getattr(owner, name)), f"{where}.{name} has no docstring"
            assert whole or re.search(rf":: (fisherkit\.(applications\.)?)?{name}\n", reference), (
                f"docs/reference.md lacks {where}.{name}"
            )


def is_own(owner: object, name: str, value: object) -> bool:
    """Public, and defined here rather than imported."""
    if name.startswith("_"):
        return False
    return isinstance(owner, type) or (callable(value) and getattr(value, "__module__", None) == owner.__name__)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="module 'fisherkit' has no attribute 'fisher'"):
        fisherkit.fisher  # noqa: B018 the access is what is tested


# -- what an installation brings


def test_dependencies_and_extras() -> None:
    pyproject = Path(__file__).parents[1] / "pyproject.toml"
    project = tomllib.loads(pyproject.read_text())["project"]

    def names(requirements: list[str]) -> list[str]:
        return sorted(requirement.split(">=")[0].split("[")[0] for requirement in requirements)

    assert names(project["dependencies"]) == REQUIRED.split()
    assert {extra: names(needs) for extra, needs in project["optional-dependencies"].items()} == {
        extra: needs.split() for extra, needs in EXTRAS.items()
    }
    assert project["dynamic"] == ["version"]  # one place for it: fisherkit.__version__


def test_the_version_is_the_one_that_is_cited() -> None:
    citation = (Path(__file__).parents[1] / "CITATION.cff").read_text()
    assert f"\nversion: {fisherkit.__version__}\n" in citation


def test_without_an_optional_library_its_users_say_what_to_install() -> None:
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "matplotlib"):
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
import fisherkit as fk
F = fk.FisherInformation([[1.0, 0.0], [0.0, 1.0]], parameters=("a", "b"))
for ask in (lambda: fk.networks, lambda: fk.applications, lambda: fk.plots.ellipse(F, "a", "b")):
    try:
        ask()
    except fk.errors.MissingDependencyError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said = done.stdout.splitlines()
    assert [line.partition("pip install ")[2] for line in said] == [
        "'fisherkit[torch]'.",
        "'fisherkit[torch]'.",
        "'fisherkit[plot]'.",
    ]
