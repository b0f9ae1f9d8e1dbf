"""A package, so that ``python -m tests.benchmarks...`` means these tests: Avalanche installs a package of that name too."""
