"""What only some batches, some callers or some callers' contexts do: right all the same, or refused in words."""

import copy
import threading
import types
from collections.abc import Iterator

import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
from fisherkit.networks.network import Network  # noqa: E402 needs torch
from tests.networks import brute_force  # noqa: E402

nn = torch.nn


def data(*shape: int):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


X, Y = data(11, 4), torch.arange(11) % 3


class Pair(nn.Module):
    """Two linear layers; each case changes what happens between them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


class LateSecondUse(Pair):
    """The first examples never reach the weight's second use."""

    def forward(self, x):
        return self.b(torch.tanh(self.a(x))) + nn.functional.linear(torch.relu(x - 2), self.b.weight)


class LateBranch(Pair):
    """The second use is not even in the graph of the first examples."""

    def forward(self, x):
        z = super().forward(x)
        return z + self.a.weight[0, :3] * (x[:, :1] > 2) if bool((x > 2).any()) else z


class OnlyOtherUse(Pair):
    """The layer's own call leads nowhere, the weight is used without it."""

    def forward(self, x):
        return super().forward(x).detach() + nn.functional.linear(torch.tanh(x), self.b.weight)


class OwnFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return x @ weight.T

    @staticmethod
    def backward(ctx, g):
        x, weight = ctx.saved_tensors
        return g @ weight, g.T @ x


class ThroughOwnFunction(Pair):
    def forward(self, x):
        return self.b(torch.tanh(self.a(x))) + OwnFunction.apply(torch.sin(x), self.b.weight)


class ByKeyword(Pair):
    def forward(self, x):
        return self.b(input=torch.tanh(self.a(input=x)))


class Checkpointed(Pair):
    def forward(self, x):
        return self.b(torch.utils.checkpoint.checkpoint(lambda v: torch.tanh(self.a(v)), x, use_reentrant=False))


class Detached(Pair):
    def forward(self, x):
        return self.b(torch.tanh(self.a(x)).detach())


class Remembering(Pair):
    """Keeps an activation, in an attribute and in a list."""

    def forward(self, x):
        self.last = self.a(x)
        self.all = [self.last]
        return self.b(torch.tanh(self.last))


def hooked() -> nn.Module:
    module = Pair()
    module.a.register_forward_hook(lambda layer, inputs, a: 2 * a)
    return module


def spectral() -> nn.Module:
    module = Pair()
    module.a = nn.utils.parametrizations.weight_norm(module.a)
    return module


class Ensemble(nn.Module):
    """Several members at once, by torch.vmap."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(data(2, 3, 4))

    def forward(self, x):
        return torch.vmap(lambda w: torch.tanh(x @ w.T))(self.weight).mean(0)


class Sloped(Pair):
    """Uses a gradient of its own, with respect to its inputs."""

    def forward(self, x):
        x = x.detach().clone().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(super().forward(x).logsumexp(1).sum(), x, create_graph=True)
        return super().forward(x) + slope[:, :3]


def pruned() -> nn.Module:
    from torch.nn.utils import prune  # torch itself does not bring it

    module = Pair()
    with torch.no_grad():
        prune.l1_unstructured(module.a, "weight", 0.5)
    return module


class SparseEmbedding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(7, 5, sparse=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.out(torch.tanh(self.embed(x)).sum(1))


def late():
    """Negative first, large later."""
    x = X.clone()
    x[:3] = -1
    x[5:] += 3
    return x


CASES = {
    "a weight's second use, reached by later examples only": (LateSecondUse, late()),
    "a second use behind a branch": (LateBranch, late()),
    "only the use outside the call counts": (OnlyOtherUse, X),
    "a use inside a custom autograd function": (ThroughOwnFunction, X),
    "called by keyword": (ByKeyword, X),
    "checkpointed": (Checkpointed, X),
    "detached": (Detached, X),
    "an activation kept": (Remembering, X),
    "a hook that changes the output": (hooked, X),
    "a weight behind a parametrization": (spectral, X),
    "an ensemble": (Ensemble, X),
    "a gradient inside": (Sloped, X),
    "pruned": (pruned, X),
    "sparse embedding": (SparseEmbedding, torch.arange(33).reshape(11, 3) % 7),
}


@pytest.mark.parametrize("structure", ["diagonal", "dense"])
@pytest.mark.parametrize("name", CASES)
def test_expected_information_is_the_definition(name: str, structure: str) -> None:
    make, inputs = CASES[name]
    module = make()
    if isinstance(module, Remembering):
        brute = brute_force.expected(make(), inputs)
        module(inputs)
    else:
        brute = brute_force.expected(module, inputs)
    F = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=inputs, structure=structure)
    ours = F.dense() if structure == "dense" else brute_force.flat(F)
    true = brute if structure == "dense" else brute.diagonal()
    assert float((ours - true).abs().max()) < 3e-6 * float(brute.abs().max())


def test_a_patched_layer_is_what_it_does() -> None:
    """A deep copy would keep the patch bound to the caller's layer: what the copy computes is differentiated."""
    module = Pair()
    module.a.__class__ = type("Squared", (nn.Linear,), {"forward": lambda s, x: nn.functional.linear(x, s.weight**2, s.bias)})
    F = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X, structure="diagonal")
    brute = brute_force.expected(module, X).diagonal()
    torch.testing.assert_close(brute_force.flat(F), brute, rtol=1e-4, atol=1e-8)


def plain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


class Copying(nn.Linear):
    """Makes its own copies, with weights of their own."""

    def __deepcopy__(self, memo):
        new = Copying(4, 5)
        new.load_state_dict(self.state_dict())
        return new


def copying() -> nn.Module:
    module, own = plain(), Copying(4, 5)
    own.load_state_dict(module[0].state_dict())
    module[0] = own
    return module


def scripted_inside() -> nn.Module:
    module = plain()
    module[0] = torch.jit.script(module[0])
    return module


@pytest.fixture(autouse=True)
def checked_distributions() -> Iterator[None]:
    """torch.compile turns their checks off for the whole process."""
    before = torch.distributions.Distribution._validate_args
    yield
    torch.distributions.Distribution.set_default_validate_args(before)


SAME = {
    "compiled": lambda: torch.compile(plain(), backend="aot_eager"),
    "traced": lambda: torch.jit.trace(plain(), X),
    "scripted": lambda: torch.jit.script(plain()),
    "a layer scripted": scripted_inside,
    "a layer that copies itself": copying,
    "data parallel": lambda: nn.DataParallel(plain()),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("name", SAME)
def test_a_module_in_another_form_is_the_module(name: str) -> None:
    """Also at other weights than its own, which a copy that copies its weights would not see."""
    net, reference = fk.networks.Model(SAME[name](), "categorical"), fk.networks.Model(plain(), "categorical")
    for scale in (None, 3.0):
        points = [scale and {key: scale * value.detach() for key, value in one.tensors.items()} for one in (net, reference)]
        for structure in ("diagonal", "dense", "operator"):
            ours, theirs = (
                fk.expected_information(one, point, inputs=X, structure=structure).dense()
                for one, point in zip((net, reference), points, strict=True)
            )
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_script_stays_quick_after_its_first_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch would fuse its operations then, and the graph would no longer tell them."""
    monkeypatch.setattr(Network, "vjp", lambda *_: pytest.fail("took the general way"))
    module = plain()
    script, plainly = (fk.networks.Model(one, "categorical") for one in (torch.jit.script(module), module))
    batches = [(x,) for x in X.repeat(12, 1).split(len(X))]
    for _ in range(2):
        ours, theirs = (fk.expected_information(one, inputs=batches, structure="diagonal").trace for one in (script, plainly))
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)


def test_compiled_code_is_differentiated_and_still_compiles_for_the_caller() -> None:
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    @torch.compile(backend=backend, fullgraph=True)
    def doubled(x):
        return 2 * torch.tanh(x)

    class Inside(Pair):
        def forward(self, x):
            return self.b(doubled(self.a(x)))

    class Outside(Pair):
        def forward(self, x):
            return self.b(2 * torch.tanh(self.a(x)))

    ours, theirs = (
        fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X).dense() for module in (Inside(), Outside())
    )
    torch.testing.assert_close(ours, theirs)
    assert not compiled
    doubled(X)
    assert len(compiled) == 1


class Writing(Pair):
    """Doubles its inputs where they are, and keeps its weights in bounds."""

    def forward(self, x):
        x *= 2
        self.a.weight.data.clamp_(-0.3, 0.3)
        return self.b(torch.tanh(self.a(x)))


class Renormed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.out = nn.Embedding(7, 5, max_norm=0.5), nn.Linear(5, 3)

    def forward(self, x):
        return self.out(torch.tanh(self.embed(x)).sum(1))


@pytest.mark.parametrize("make", [Writing, Renormed])
def test_a_network_that_writes_to_inputs_or_weights_writes_to_copies(make) -> None:
    """The scores are those at the weights that it has given itself."""
    module, inputs = make(), X.clone() if make is Writing else torch.arange(35).reshape(7, 5) % 7
    before, given = copy.deepcopy(module.state_dict()), inputs.clone()
    net = fk.networks.Model(module, "categorical")
    for structure in ("dense", "operator", "low-rank"):
        F = fk.expected_information(net, inputs=inputs, structure=structure).dense()
        assert all(torch.equal(value, module.state_dict()[name]) for name, value in before.items())
        assert torch.equal(inputs, given)
        settled = copy.deepcopy(module)
        settled(inputs.clone())
        brute = brute_force.expected(settled, inputs.clone())
        assert float((F - brute).abs().max()) < 3e-6 * float(brute.abs().max())


def holding(kind: str) -> nn.Module:
    """A function that holds on to the very module, and so to weights that a copy does not have."""
    module = plain()
    module[0].requires_grad_(kind != "frozen")
    if kind == "hook":
        module[0].register_forward_hook(lambda layer, inputs, output: output * module[2].bias.sum())
        return module
    before = module[0].forward
    module[0].forward = lambda x: 2 * before(x)
    return module


@pytest.mark.parametrize("kind", ["hook", "forward", "frozen"])
def test_a_function_that_holds_on_to_the_module_is_refused(kind: str) -> None:
    """Its weights' gradients would be missing without a word."""
    net = fk.networks.Model(holding(kind), "categorical", params="*")
    for structure in ("diagonal", "dense", "kfac", "operator"):
        with pytest.raises(
            fk.errors.NetworkStateError, match=r"used by a function that holds on to this very module.*MethodType"
        ):
            fk.expected_information(net, inputs=X, structure=structure)
    with pytest.raises(fk.errors.NetworkStateError, match="holds on to this very module"):
        fk.score(net, data=(X, Y))


def test_attributes_that_cannot_be_copied_are_shared() -> None:
    """A lock, a file, a trainer that holds both the module and a lock: none of them is the network's."""
    module = plain()
    module.lock, module[0].held = threading.Lock(), {"a": [threading.local()], "module": module}
    module.trainer = types.SimpleNamespace(model=module, lock=module.lock)
    F = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X)
    torch.testing.assert_close(F.dense(), fk.expected_information(fk.networks.Model(plain(), "categorical"), inputs=X).dense())


def test_a_module_that_refuses_to_be_copied_is_refused() -> None:
    class Single(nn.Linear):
        def __deepcopy__(self, memo):
            raise RuntimeError("there is one")

    with pytest.raises(fk.errors.NetworkStateError, match=r"cannot be copied.*RuntimeError: there is one"):
        fk.expected_information(fk.networks.Model(nn.Sequential(Single(4, 3)), "categorical"), inputs=X)


def test_a_hook_that_only_looks_is_not() -> None:
    module, seen = plain(), []
    module.register_forward_hook(lambda layer, inputs, output: seen.append(module[0].weight.norm().item()))
    F = fk.expected_information(fk.networks.Model(module, "categorical"), inputs=X)
    torch.testing.assert_close(F.dense(), fk.expected_information(fk.networks.Model(plain(), "categorical"), inputs=X).dense())
    assert seen


CONTEXTS = {
    "no_grad": torch.no_grad,
    "inference mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("make", [Pair, SparseEmbedding], ids=["linear", "one by one"])
def test_the_callers_context_changes_nothing(context: str, make) -> None:
    net = fk.networks.Model(make(), "categorical")
    inputs = X if make is Pair else torch.arange(33).reshape(11, 3) % 7
    outside = fk.expected_information(net, inputs=inputs, structure="diagonal")
    with CONTEXTS[context]():
        inside = fk.expected_information(net, inputs=inputs * 1, structure="diagonal")
    torch.testing.assert_close(brute_force.flat(inside), brute_force.flat(outside), rtol=1e-6, atol=1e-9)


class Root(nn.Module):
    """The derivative of the root at zero is infinite: example 3's score is no number."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.out = nn.Parameter(torch.ones(4)), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(torch.sqrt(self.scale * x.abs()))


def test_scores_that_are_not_finite_are_refused_by_example() -> None:
    net, x = fk.networks.Model(Root(), "categorical"), X.clone()
    x[7, 2] = 0
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, Y), batch_size=4)
    asks = [lambda: fk.score(net, data=loader)]
    for structure in ("diagonal", "dense"):
        asks.append(lambda structure=structure: fk.expected_information(net, inputs=loader, structure=structure))
        asks.append(lambda structure=structure: fk.empirical_information(net, data=loader, structure=structure))
    for ask in asks:
        with pytest.raises(fk.errors.DataError, match=r"score of example 7 is not finite at scale\[2\]"):
            ask()


def test_rare_randomness_is_refused_and_the_random_state_is_left_alone() -> None:
    class Rare(Pair):
        def forward(self, x):
            return nn.functional.dropout(super().forward(x), 1e-6)

    before = torch.random.get_rng_state()
    with pytest.raises(fk.errors.NetworkStateError, match="the network draws random numbers"):
        fk.expected_information(fk.networks.Model(Rare(), "categorical"), inputs=X)
    pairs = torch.utils.data.TensorDataset(X, Y)
    shuffled = torch.utils.data.DataLoader(pairs, batch_size=4, shuffle=True)
    state = torch.random.get_rng_state()
    net = fk.networks.Model(Pair(), "categorical")
    fk.expected_information(net, inputs=shuffled, method=fk.MonteCarlo(2, rng=0))
    fk.empirical_information(net, data=shuffled)
    assert torch.equal(state, torch.random.get_rng_state())
    assert before.shape == state.shape


@pytest.mark.parametrize("likelihood", ["categorical", "bernoulli"])
def test_scores_of_a_confident_network_keep_their_digits(likelihood: str) -> None:
    """1 - p is taken without cancellation: float32 loses no more than its own rounding of the logits."""
    labels = torch.zeros(11).long() if likelihood == "categorical" else torch.ones(11, 3)
    module = Pair()
    with torch.no_grad():
        module.b.bias += torch.tensor([25.0, 0.0, 0.0]) if likelihood == "categorical" else 25.0
    single = fk.score(fk.networks.Model(module, likelihood), data=(X, labels))
    labels = labels if likelihood == "categorical" else labels.double()
    double = fk.score(fk.networks.Model(copy.deepcopy(module).double(), likelihood), data=(X.double(), labels))
    for name, value in double.items():
        assert float(value.abs().max()) > 0
        torch.testing.assert_close(single[name], value, rtol=1e-4, atol=1e-5 * float(value.abs().max()))


def test_a_loader_of_triples_is_refused() -> None:
    net = fk.networks.Model(Pair(), "categorical")
    with pytest.raises(fk.errors.LayoutError, match=r"or pairs \(inputs, labels\); got a tuple of Tensor, Tensor, Tensor"):
        fk.expected_information(net, inputs=iter([(X, X, Y)]))


def test_many_outputs_are_taken_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dense sum over outputs in small groups is the sum over all at once."""
    from fisherkit.networks import sums

    module = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 7))
    net = fk.networks.Model(module, "gaussian")
    whole = fk.expected_information(net, inputs=X).dense()
    monkeypatch.setattr(sums, "ENTRIES", 200)
    torch.testing.assert_close(fk.expected_information(net, inputs=X).dense(), whole, rtol=1e-6, atol=1e-8)


def test_observed_over_the_budget_names_no_diagonal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hessian is formed whole in either structure: the cheaper ones are other informations."""
    net = fk.networks.Model(Pair(), "categorical")
    monkeypatch.setenv("FISHERKIT_MEMORY", "5000")
    for structure in ("dense", "diagonal"):
        with pytest.raises(fk.errors.MemoryBudgetError, match=r"Hessian.*expected_information\(\.\.\., structure='diagonal'\)"):
            fk.observed_information(net, data=(X, Y), structure=structure)


def test_a_hessian_that_torch_func_cannot_take_is_refused_in_words() -> None:
    net = fk.networks.Model(SparseEmbedding(), "categorical")
    with pytest.raises(fk.errors.MethodError, match=r"cannot take the Hessian of this network.*empirical_information"):
        fk.observed_information(net, data=(torch.arange(33).reshape(11, 3) % 7, Y))


def test_sums_over_many_batches_do_not_stall_in_float32() -> None:
    """2^24 + 1 is 2^24 in float32: a running sum there would never see the later batches."""
    from fisherkit.networks.kept import KeptDiagonal
    from fisherkit.parameters import Parameters

    class Constant:
        def __init__(self, value: float) -> None:
            self.value = torch.tensor([value])

        def add_squares(self, cotangents, total) -> None:
            total["w"] = total["w"] + self.value if "w" in total else self.value.clone()

    kept = KeptDiagonal(Parameters.of({"w": (1,)}), torch.device("cpu"))
    kept.add(Constant(2.0**24), [])
    for _ in range(1000):
        kept.add(Constant(1.0), [])
    (total,) = kept.arrays()
    assert total.dtype == torch.float64
    assert abs(total.item() - 2**24 - 1000) < 20
