"""A forecast of two experiments combined: supernovae and the cosmic microwave background, on dark energy.

Supernovae give distances at 40 redshifts up to 1.4, with a scatter of their own that is estimated too, so that the covariance
depends on a parameter, and with a calibration error that all share. The microwave background gives three numbers: the shift
parameter R, the acoustic scale l_A and the density of baryons, with the errors and correlations of Planck 2018 (Chen, Huang &
Wang 2019). Alone it leaves a line in the plane of matter and dark energy; a prior on the Hubble constant cuts it, and the
supernovae cut it elsewhere.

    python examples/two_experiments.py        # a second
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import fisherkit as fk

LIGHT = 299792.458  # km/s
NODES, WEIGHTS = np.polynomial.legendre.leggauss(64)
TRUTH = {"Om": 0.31, "w": -1.0, "H0": 67.7, "ombh2": 0.0224, "M": -19.3, "scatter": 0.1}


# -- supernovae

REDSHIFTS = np.geomspace(0.01, 1.4, 40)
PER_BIN = 25  # supernovae
MEASURED = 0.12  # magnitudes, of one supernova
CALIBRATION = 0.01  # magnitudes, shared, growing with redshift


def expansion(z: Any, Om: Any, w: Any) -> Any:
    """H / H0 of a flat universe of matter and dark energy."""
    return np.sqrt(Om * (1 + z) ** 3 + (1 - Om) * (1 + z) ** (3 * (1 + w)))


def magnitudes(theta: Any) -> Any:
    """Of supernovae of absolute magnitude M, H0 = 70: another value is another M."""
    Om, w, M, _ = theta
    z = REDSHIFTS[:, None] * (1 + NODES) / 2
    distance = (1 + REDSHIFTS) * REDSHIFTS / 2 * ((1 / expansion(z, Om, w)) @ WEIGHTS)
    return M + 5 * np.log10(distance * LIGHT / 70) + 25


def magnitude_covariance(theta: Any) -> Any:
    shared = CALIBRATION * REDSHIFTS / REDSHIFTS[-1]
    return np.eye(len(REDSHIFTS)) * (MEASURED**2 + theta[3] ** 2) / PER_BIN + np.outer(shared, shared)


SUPERNOVAE = fk.sampled.GaussianModel(
    magnitudes, magnitude_covariance, parameters=("Om", "w", "M", "scatter"), derivatives="complex"
)


# -- microwave background

ERRORS = np.array([0.0046, 0.09, 0.00015])
CORRELATIONS = np.array([[1, 0.46, -0.66], [0.46, 1, -0.33], [-0.66, -0.33, 1]])


def background(theta: Any) -> Any:
    """R, l_A and the density of baryons; the redshift of last scattering as Hu & Sugiyama (1996) fit it."""
    Om, w, H0, ombh2 = theta
    ommh2 = Om * (H0 / 100) ** 2
    g1 = 0.0783 * ombh2**-0.238 / (1 + 39.5 * ombh2**0.763)
    last = 1048 * (1 + 0.00124 * ombh2**-0.738) * (1 + g1 * ommh2 ** (0.560 / (1 + 21.1 * ombh2**1.81)))
    radiation = Om / (1 + 2.5e4 * ommh2 * (2.7255 / 2.7) ** -4)

    def rate(a: Any) -> Any:
        """a^2 H / H0."""
        return np.sqrt(radiation + Om * a + (1 - Om - radiation) * a ** (1 - 3 * w))

    first = 1 / (1 + last)
    early = first * (1 + NODES) / 2
    sound = first / 2 * ((1 / rate(early) / np.sqrt(3 * (1 + 31500 * ombh2 * (2.7255 / 2.7) ** -4 * early))) @ WEIGHTS)
    late = first ** ((1 - NODES) / 2)  # equal steps of log a
    distance = -np.log(first) / 2 * ((late / rate(late)) @ WEIGHTS)
    return np.stack([np.sqrt(Om) * distance, np.pi * distance / sound, ombh2])


BACKGROUND = fk.sampled.GaussianModel(
    background, CORRELATIONS * np.outer(ERRORS, ERRORS), parameters=("Om", "w", "H0", "ombh2"), derivatives="complex"
)


# -- the forecast

NUISANCE = {"supernovae": ("M", "scatter"), "background and H0 to 1.0": ("H0", "ombh2")}


def information(model: fk.sampled.GaussianModel) -> fk.FisherInformation:
    return fk.expected_information(model, {name: TRUTH[name] for name in model.parameters.names})


def draw(path: Path, told: dict[str, fk.FisherInformation]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5))
    fk.plots.triangle(told, figure=figure)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("two_experiments.png"))
    output = parser.parse_args().output
    supernovae, background = information(SUPERNOVAE), information(BACKGROUND)
    try:
        background.inverse()
    except fk.errors.SingularInformationError as error:
        (direction,) = error.null_directions
        told = ", ".join(f"{name} {value:+.3g}" for name, value in direction.items() if abs(value) > 1e-3)
        print(f"the microwave background alone says nothing along {told}")

    with_h0 = background.with_prior(H0=1.0)
    both = supernovae.join(background)  # by name: neither tells anything of the other's nuisance
    told = {
        "supernovae": supernovae,
        "background and H0 to 1.0": with_h0,
        "supernovae and background": both,
        "all": both.with_prior(H0=1.0),
    }
    print(f"{'':28}{'Om':>10}{'w':>10}{'merit':>10}{'Om if w = -1':>15}")
    for name, F in told.items():
        errors = dict(zip(F.parameters.names, F.standard_errors(), strict=True))
        fixed = F.fix("w").standard_errors()[0]
        merit = fk.forecast.figure_of_merit(F, "Om", "w")
        print(f"{name:28}{errors['Om']:10.4f}{errors['w']:10.4f}{merit:10.0f}{fixed:15.4f}")
    moved = fk.forecast.fixed_parameter_bias(told["all"], {"M": 0.01})["w"]
    print(f"M fixed 0.01 too faint moves w by {moved:+.3f}, {abs(moved) / errors['w']:.1f} of its standard errors")
    plane = {name: told[name].marginalize(*nuisance) for name, nuisance in NUISANCE.items()}
    plane["both"] = plane["supernovae"] + plane["background and H0 to 1.0"]  # equal parameters add with a plus
    draw(output, plane)
    print(f"figure: {output}")


if __name__ == "__main__":
    main()
