from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from urllib.parse import urlsplit


class TlsFront:
    """A port of this machine that speaks TLS with a certificate, and forwards to a fake Brevo."""

    def __init__(self, certificate, brevo):
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self._context)
        self._target = urlsplit(brevo.url)
        self._ends = []
        self._threads = []

    @property
    def url(self):
        return f"https://localhost:{self._listener.getsockname()[1]}{self._target.path}"

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._start(self._accept)
        return self

    def __exit__(self, *raised):
        for end in (self._listener, *self._ends):
            _shut(end)
        for thread in self._threads:
            thread.join(5)
        for end in (self._listener, *self._ends):
            end.close()

    def _start(self, function, *args):
        self._threads.append(threading.Thread(target=function, args=args))
        self._threads[-1].start()

    def _accept(self):
        with suppress(OSError):
            while True:
                bare, _ = self._listener.accept()
                try:
                    client = self._context.wrap_socket(bare, server_side=True)
                except OSError:  # the other side trusts it not
                    bare.close()
                    continue
                server = socket.create_connection((self._target.hostname, self._target.port))
                self._ends += [client, server]
                self._start(_pump, client, server)
                self._start(_pump, server, client)


def _pump(source, sink):
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        _shut(end)


def _shut(end):
    with suppress(OSError):
        socket.socket.shutdown(end, socket.SHUT_RDWR)
