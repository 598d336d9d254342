#!/usr/bin/python3
# receiver.py - the other end of the tests of the bindings: a plain socket
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: receiver.py [--paused]
#
# Prints the port that it listens on, takes one connection, reads it to its end and
# prints how many bytes came and their SHA-256. With --paused it reads nothing before
# it is told by a line on standard input: "read", or "reset" to reset the connection.

import hashlib
import socket
import struct
import sys

# Nobody waits for longer than that
PATIENCE = 300


def receive(connection):
    checksum = hashlib.sha256()
    memory = bytearray(1024 * 1024)
    size = 0
    while True:
        n = connection.recv_into(memory)
        if n == 0:
            return size, checksum.hexdigest()
        checksum.update(memoryview(memory)[:n])
        size += n


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    connection.close()


def main():
    paused = '--paused' in sys.argv[1:]
    listener = socket.socket()
    listener.settimeout(PATIENCE)
    if paused:
        # What is in flight stays there
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    listener.bind(('127.0.0.1', 0))
    listener.listen(1)
    print(listener.getsockname()[1], flush=True)

    connection, _ = listener.accept()
    connection.settimeout(PATIENCE)
    if paused and sys.stdin.readline().strip() == 'reset':
        reset(connection)
        print('reset', flush=True)
        return
    try:
        size, checksum = receive(connection)
    except ConnectionResetError:
        print('reset', flush=True)
    else:
        print(size, checksum, flush=True)


try:
    main()
except BrokenPipeError:
    # The test has ended
    sys.stderr.close()
