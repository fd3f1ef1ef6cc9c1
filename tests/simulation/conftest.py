"""Options of the simulations."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("simulation")
    group.addoption("--seeds", type=int, default=150, help="how many seeds to run, from 1")
    group.addoption("--seed", type=int, default=None, help="run this seed alone")
