"""torch.distributions objects are models."""

import numpy as np
import pytest

import fisherkit as fk

torch = pytest.importorskip("torch")
D = torch.distributions
EXACT = {
    "normal": (lambda: D.Normal(torch.tensor(1.0), torch.tensor(2.0)), np.diag([0.25, 0.5])),
    "poisson": (lambda: D.Poisson(torch.tensor(4.0)), [[0.25]]),
    "bernoulli logits": (lambda: D.Bernoulli(logits=torch.tensor(0.0)), [[0.25]]),
    "categorical logits": (
        lambda: D.Categorical(logits=torch.log(torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64))),
        np.diag([0.2, 0.3, 0.5]) - np.outer([0.2, 0.3, 0.5], [0.2, 0.3, 0.5]),
    ),
    "exponential": (lambda: D.Exponential(torch.tensor(2.0)), [[0.25]]),
}


@pytest.mark.parametrize("name", EXACT)
def test_information_at_the_objects_own_point(name: str) -> None:
    make, exact = EXACT[name]
    F = fk.expected_information(make())
    np.testing.assert_allclose(np.asarray(F), exact, rtol=1e-6, atol=1e-9)


def test_a_vector_distribution_needs_monte_carlo_and_keeps_shapes() -> None:
    dirichlet = D.Dirichlet(torch.tensor([1.0, 2.0, 3.0]))
    with pytest.raises(fk.errors.MethodError, match="MonteCarlo"):
        fk.expected_information(dirichlet)
    before = torch.random.get_rng_state()
    F = fk.expected_information(dirichlet, method=fk.MonteCarlo(20_000, rng=0, estimator="outer_product"))
    assert torch.equal(before, torch.random.get_rng_state())
    psi1 = lambda a: float(torch.special.polygamma(1, torch.tensor(a)))
    exact = np.diag([psi1(1.0), psi1(2.0), psi1(3.0)]) - psi1(6.0)
    assert np.abs((F.dense() - exact) / F.mcse).max() < 4
    assert F.parameters.shapes == ((3,),)


def test_the_class_is_not_a_point() -> None:
    with pytest.raises(fk.errors.LayoutError, match=r"give an object, for example Normal\(...\)"):
        fk.expected_information(D.Normal)


@pytest.mark.parametrize("validates", [True, False])
def test_arguments_outside_their_domain_are_refused(validates: bool) -> None:
    """Also where PyTorch's own validation is off, as it is in a process that has compiled anything."""
    torch.distributions.Distribution.set_default_validate_args(validates)
    try:
        normal = torch.distributions.Normal(0.0, 1.0)
        with pytest.raises(fk.errors.DataError, match=r"scale must satisfy GreaterThan\(lower_bound=0.0\); got \[-1.0\]"):
            fk.empirical_information(normal, {"loc": 0.0, "scale": -1.0}, data=[1.0, 2.0])
    finally:
        torch.distributions.Distribution.set_default_validate_args(True)
