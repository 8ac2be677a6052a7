from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Proxy:
    """A TCP proxy to a server: it can be down, and its connections can be made to swallow everything silently."""

    def __init__(self, host, port):
        self.target = (host, int(port))
        self.dead = set()
        self.port = 0
        self.listen()

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.stop()

    def listen(self):
        """Go up, on the same port each time."""
        self.pairs = []
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def stop(self):
        """Go down: close open connections, and refuse new ones."""
        for end in (self.listener, *(end for pair in self.pairs for end in pair)):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def accept(self, listener):
        with suppress(OSError):
            while True:
                pair = (listener.accept()[0], socket.create_connection(self.target))
                self.pairs.append(pair)
                for source, target in (pair, pair[::-1]):
                    threading.Thread(target=self.forward, args=(source, target), daemon=True).start()

    def forward(self, source, target):
        with suppress(OSError):
            while data := source.recv(65536):
                if source not in self.dead:
                    target.sendall(data)
            if source not in self.dead:
                target.shutdown(socket.SHUT_WR)

    def swallow(self):
        """From now on, let nothing through on the open connections; new ones work."""
        self.dead = {end for pair in self.pairs for end in pair}
