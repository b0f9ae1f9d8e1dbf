"""What a wrong model can tell: the sandwich at the pseudo-true point."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

from ..arrays import Array, as_entries, public
from ..errors import FisherkitError, LayoutError, MethodError, PrecisionError
from ..information import FisherInformation
from ..methods import Method
from ..model import Model, Theta, as_model
from .bound import Bound
from .functions import Target
from .repeated import check_n

STEPS = 50  # of Newton's method
AGREE = 1e-9


def misspecified_bound(
    model: Any,
    theta: Theta = None,
    *,
    truth: Any,
    truth_theta: Theta = None,
    of: Any = None,
    n: Any = 1,
    method: Method | None = None,
) -> Bound:
    r"""Bound on the covariance of an estimator built on a wrong model, around the point that it aims at.

    :math:`\mathrm{cov} \succeq \frac1n G A^{-1} B A^{-1} G^\top` with :math:`A = -E_0[\nabla^2 \log f]`,
    :math:`B = E_0[s s^\top]`, both under the true law, at the pseudo-true point :math:`E_0[s(x; \theta_0)] = 0`.

    Parameters
    ----------
    model : Model, or an object that is one
        The model that is assumed.
    theta : mapping from name to number, or array (p,), optional
        Where to start looking for the pseudo-true point. Needed in numbers; in symbols the equations are solved.
    truth : Model, or an object that is one
        The law that draws the data.
    truth_theta : mapping from name to number, optional
        Its parameters, where they are not its own.
    of : SymPy expression, or several; or callable; optional
        The function g of the model's parameters; the parameters themselves by default.
    n : int or expression
        How many independent observations.
    method : Method, optional
        How expectations under the truth are taken.

    Returns
    -------
    Bound
        ``covariance`` of shape (q, q), about g at the pseudo-true point, which is ``at``; ``mcse`` where it was drawn.

    Raises
    ------
    MethodError
        When the pseudo-true point has no closed form; theta and truth_theta must then be given.
    PrecisionError
        When Newton's method does not find it.

    Notes
    -----
    The Cramer-Rao bound where the model is true, A = B. It may lie above or below that of the assumed model, and is no bound
    about the
    true parameters but about the pseudo-true: the squared bias is extra. The maximum-likelihood estimator attains it as n grows
    (White
    1982), where the bound for estimators that are unbiased for the pseudo-true point holds for each n (Vuong 1986).

    References
    ----------
    White (1982), Maximum likelihood estimation of misspecified models, Econometrica 50, 1-25; Vuong (1986), Cramer-Rao bounds for
    misspecified models, Caltech working paper 652; Richmond & Horowitz (2015), Parameter bounds on estimation accuracy under
    model
    misspecification, IEEE Trans. Signal Process. 63, 2263-2278.

    Examples
    --------
    >>> rate, k, n = sympy.symbols("rate k n", positive=True)
    >>> from sympy.stats import Exponential, Gamma
    >>> exponential, gamma = Exponential("X", rate), Gamma("Y", k, 1)
    >>> bound = fk.misspecified_bound(exponential, truth=gamma, n=n)
    >>> bound.at, bound.covariance  # White: the variance of 1 / mean
    ({'rate': 1/k}, Matrix([[1/(k**3*n)]]))
    """
    check_n(n)
    assumed, true = as_model(model), as_model(truth)
    if theta is None and truth_theta is None and method is None and _both_symbolic(assumed, true):
        return _in_symbols(assumed, true, of, n)
    if theta is None:
        raise LayoutError("misspecified_bound needs theta, a start for the pseudo-true point, in numbers.")
    return _in_numbers(assumed, theta, true, truth_theta, of, n, method)


# -- symbols


def _both_symbolic(assumed: Model, true: Model) -> bool:
    return all(hasattr(one, "data") and isinstance(getattr(one, "data", None), tuple) for one in (assumed, true))


def _in_symbols(assumed: Model, true: Model, of: Any, n: Any) -> Bound:
    import sympy

    point = assumed.point(None)
    symbols = list(point.values())
    data: tuple[Any, ...] = true.data  # type: ignore[attr-defined]
    own: set[Any] = true.free  # type: ignore[attr-defined]
    if shared := sorted(str(s) for s in set(symbols) & own):
        raise MethodError(f"model and truth both hold {', '.join(shared)}: rename it in one, so that they can be told apart.")
    s = list(as_entries(assumed.score(None, data=data)).reshape(-1))
    H = as_entries(assumed.hessians(None, data=data))
    p = len(symbols)
    flat = [*s, *(a * b for a in s for b in s), *(-h for h in H.flat)]
    means = list(true.expectation([sympy.expand(g) for g in flat], None, method=None).value)
    solution = _solved(means[:p], symbols)
    B, A = (sympy.Matrix(p, p, block).subs(solution) for block in (means[p : p + p * p], means[p + p * p :]))
    A, B = A.applyfunc(sympy.simplify), B.applyfunc(sympy.simplify)
    G = sympy.Matrix(Target(of, point).derivatives(1).tolist()).subs(solution)
    root = G * A.inv()
    covariance = (root * B * root.T / n).applyfunc(lambda v: sympy.factor(sympy.simplify(v)))
    return Bound(sympy.ImmutableMatrix(covariance), None, {str(symbol): sympy.simplify(v) for symbol, v in solution.items()})


def _solved(equations: list[Any], symbols: list[Any]) -> dict[Any, Any]:
    """The one solution of E[score] = 0 in the domain."""
    import sympy

    tops = [sympy.numer(sympy.together(equation)) for equation in equations]
    with suppress(NotImplementedError):
        found = sympy.solve(tops, symbols, dict=True)
        whole = [one for one in found if set(one) == set(symbols)]
        fitting = [one for one in whole if not any(s.is_positive and v.is_positive is False for s, v in one.items())]
        if len(fitting) == 1:
            return dict(fitting[0])
    raise MethodError(
        f"the pseudo-true {', '.join(map(str, symbols))} has no closed form: E[score] = 0 could not be solved. Give theta, a "
        f"start, and "
        "truth_theta for numbers."
    )


# -- numbers


def _in_numbers(assumed: Model, theta: Theta, true: Model, truth_theta: Theta, of: Any, n: Any, method: Method | None) -> Bound:
    names = list(assumed.point(theta))
    at = np.array([float(value) for value in assumed.point(theta).values()])

    def parts(at: np.ndarray) -> Any:
        point = dict(zip(names, at.tolist(), strict=True))

        def rows(x: np.ndarray) -> np.ndarray:
            s = np.asarray(assumed.score(point, data=x), dtype=float)
            H = np.asarray(assumed.hessians(point, data=x), dtype=float)
            products = s[:, :, None] * s[:, None, :]
            return np.concatenate([s, products.reshape(len(s), -1), -H.reshape(len(s), -1)], axis=1)

        return true.expectation(rows, truth_theta, method=method)

    at, found = _newton(parts, at)
    point = dict(zip(names, at.tolist(), strict=True))
    G = np.asarray(Target(of, point).derivatives(1), dtype=float)

    def bound(means: Array) -> np.ndarray:
        _, B, A = _split(means, len(at))
        root = np.asarray(FisherInformation(public((A + A.T) / 2), parameters=names, kind="observed").solve(G.T)).T
        out: np.ndarray = root @ B @ root.T / n
        return out

    return Bound(bound(found.value), found.mcse_of(bound), point)


def _newton(parts: Any, at: np.ndarray) -> tuple[np.ndarray, Any]:
    """The zero of the mean score; a step that leaves the domain or does not help is halved."""
    found = parts(at)
    for _ in range(STEPS):
        mean, B, A = _split(found.value, len(at))
        size = _size(mean, B)
        if size < AGREE:
            return at, found
        step, shrunk = np.linalg.lstsq(A, mean, rcond=None)[0], 1.0
        for _ in range(30):
            with suppress(FisherkitError, FloatingPointError):
                trial = parts(at + shrunk * step)
                mean_there, B_there, _ = _split(trial.value, len(at))
                if _size(mean_there, B_there) < size:
                    at, found = at + shrunk * step, trial
                    break
            shrunk /= 2
        else:
            if size < 1e-6:
                return at, found
            break
    raise PrecisionError(
        f"the pseudo-true point was not found from this start: the mean score is still {size:.2g} standard deviations."
    )


def _size(mean: np.ndarray, B: np.ndarray) -> float:
    return float(np.max(np.abs(mean) / np.sqrt(np.maximum(np.diagonal(B), 1e-300))))


def _split(means: np.ndarray, p: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return means[:p], means[p : p + p * p].reshape(p, p), means[p + p * p :].reshape(p, p)
