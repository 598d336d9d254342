#!/usr/bin/python3
# numpy-sender.py - sends an array of NumPy without copying it
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: numpy-sender.py HOST PORT [FRAMES]
#
# Each frame is a header of 16 bytes and an array of 1024 × 1024 floats. The array is locked
# until the kernel has released it; the next frame is computed into another one meanwhile.

import struct
import sys

import gi
import numpy

gi.require_version("Zcio", "1")
from gi.repository import Gio, Zcio  # noqa: E402

Zcio.TcpConnection.register()


def frames(count):
    grid = numpy.arange(1024 * 1024, dtype=numpy.float32).reshape(1024, 1024)
    for number in range(count):
        yield grid * number


def main(host, port, count="8"):
    connection = Gio.SocketClient().connect_to_host(host, int(port), None)
    stream = connection.get_output_stream()
    for number, frame in enumerate(frames(int(count))):
        header = struct.pack("<4sIII", b"zcio", number, *frame.shape)
        stream.send(header, frame)
    print(stream.describe())
    connection.close(None)


if __name__ == "__main__":
    main(*sys.argv[1:])
