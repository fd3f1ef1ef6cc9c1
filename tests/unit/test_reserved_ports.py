"""Ports that tests keep for themselves."""

import socket
import sys

import pytest

from deploy.embedded.ports import FIRST_PORT, HOST, free_ports, is_free
from deploy.http.server import bind, bind_shared
from tests.reserved_ports import reserved_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a port can't be held")


def test_nobody_is_given_a_port_that_is_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    reserved = reserved_port()
    (other,) = free_ports(1)
    drawn = iter(2 * [reserved - FIRST_PORT, other - FIRST_PORT])
    monkeypatch.setattr("deploy.embedded.ports.secrets.randbelow", lambda _: next(drawn))
    assert free_ports(1) == [other]
    assert reserved_port() == other


def test_a_server_can_listen_on_a_port_that_is_reserved() -> None:
    port = reserved_port()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, port))
    for _ in range(2):
        assert is_free(port)
        with bind(HOST, port) as listener, socket.create_connection((HOST, port)):
            listener.accept()[0].close()
            assert not is_free(port)
    with bind_shared(HOST, port, first=True), bind_shared(HOST, port, first=False) as worker:
        worker.listen()
        socket.create_connection((HOST, port)).close()
