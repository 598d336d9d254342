# sink.py - the other side for what the manual shows
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later

import hashlib
import socket
import threading

# Runs a Python program as if zcio's override were installed
RUN_SCRIPT = """
import os, runpy, sys
import gi.overrides
gi.overrides.__path__.insert(0, os.environ['ZCIO_OVERRIDES'])
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


class Sink:
    """Listens on loopback, takes all connections until the end of each, and says back
    `answer`, if there is one"""

    def __init__(self, answer=b''):
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        self.answer = answer
        self.results = []
        self.lock = threading.Lock()
        self.threads = []
        self.acceptor = threading.Thread(target=self.accept)
        self.acceptor.start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.serve, args=[connection])
            self.threads.append(thread)
            thread.start()

    def serve(self, connection):
        size = 0
        sha = hashlib.sha256()
        with connection:
            if self.answer:
                connection.sendall(self.answer)
            try:
                while True:
                    data = connection.recv(1 << 20)
                    if not data:
                        break
                    size += len(data)
                    sha.update(data)
                error = None
            except OSError as problem:
                error = problem
        with self.lock:
            self.results.append((size, sha.hexdigest(), error))

    def close(self):
        """What the connections brought: a list of (size, SHA-256, error)"""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.acceptor.join()
        for thread in self.threads:
            thread.join()
        return self.results
