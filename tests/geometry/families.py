"""Metrics of known families, in symbols."""

import sympy as sp

import fisherkit as fk

MU = sp.Symbol("mu", real=True)
SIGMA, K, THETA, A, B, RATE, P = sp.symbols("sigma k theta a b rate p", positive=True)
CELLS = sp.symbols("p1:4", positive=True)
G, PSI = sp.EulerGamma, lambda z: sp.polygamma(1, z)

NORMAL = fk.FisherInformation(sp.diag(SIGMA**-2, 2 * SIGMA**-2), parameters=(MU, SIGMA))
GAMMA = fk.FisherInformation([[PSI(K), 1 / THETA], [1 / THETA, K / THETA**2]], parameters=(K, THETA))
BETA = fk.FisherInformation(sp.diag(PSI(A), PSI(B)) - PSI(A + B) * sp.ones(2, 2), parameters=(A, B))
WEIBULL = fk.FisherInformation(
    [[B**2 / A**2, -(1 - G) / A], [-(1 - G) / A, ((1 - G) ** 2 + sp.pi**2 / 6) / B**2]], parameters=(A, B)
)
INVERSE_GAUSSIAN = fk.FisherInformation(sp.diag(B / A**3, 1 / (2 * B**2)), parameters=(A, B))
POISSON = fk.FisherInformation([[1 / RATE]], parameters=(RATE,))
BERNOULLI = fk.FisherInformation([[1 / (P * (1 - P))]], parameters=(P,))
CATEGORICAL = fk.FisherInformation(sp.diag(*(1 / p for p in CELLS)) + sp.ones(3, 3) / (1 - sum(CELLS)), parameters=CELLS)
