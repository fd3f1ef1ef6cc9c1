"""Options of the simulations."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simulation")
    group.addoption("--seeds", type=int, default=300, help="how many seeds to run, from 1")
    group.addoption("--seed", type=int, default=None, help="run this seed alone")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    one, count = metafunc.config.getoption("--seed"), metafunc.config.getoption("--seeds")
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", [one] if one is not None else range(1, count + 1))
