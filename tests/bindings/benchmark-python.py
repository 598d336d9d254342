#!/usr/bin/python3
# benchmark-python.py - the CPU time that Python adds to a send
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: zcio-wire -- benchmark-python.py [ROUNDS]
#
# Sends blocks of 1 MiB to ZCIO_WIRE_ADDRESS, in turn by stream.send (bytearray) and by
# the function of C, called with next to nothing around it, and prints the CPU time of
# the process for each GB, and the median of the ratios of the pairs.

import ctypes
import os
import statistics
import sys
import time

from zciotest import Gio, Zcio

SIZE = 1024 * 1024
BLOCKS = 256
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 15


def make_c_send(stream):
    glib = ctypes.CDLL('libglib-2.0.so.0')
    zcio = ctypes.CDLL('libzcio-1.so.0')
    glib.g_bytes_new_static.restype = ctypes.c_void_p
    glib.g_bytes_new_static.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    write = zcio.zcio_socket_stream_write_zerocopy
    write.argtypes = [ctypes.c_void_p] * 5
    memory = ctypes.create_string_buffer(b'\xa5' * SIZE, SIZE)
    arguments = (hash(stream), glib.g_bytes_new_static(ctypes.addressof(memory), SIZE),
                 None, None, None)

    def send(keep=memory):
        if not write(*arguments):
            raise OSError('the write failed')

    return send


def measure(stream, send):
    """Milliseconds of CPU time for each GB"""
    before = time.process_time()
    for _ in range(BLOCKS):
        send()
    stream.drain()
    return (time.process_time() - before) * 1000 / (BLOCKS * SIZE / 1e9)


def main():
    host, _, port = os.environ['ZCIO_WIRE_ADDRESS'].rpartition(':')
    connection = Gio.SocketClient().connect_to_host(host, int(port), None)
    stream = Zcio.SocketStream(connection.get_socket(),
                               zero_copy_mode=Zcio.ZeroCopyMode.ALWAYS)
    data = bytearray(b'\xa5') * SIZE
    c_send = make_c_send(stream)
    pairs = [(measure(stream, lambda: stream.send(data)), measure(stream, c_send))
             for _ in range(ROUNDS + 1)][1:]
    print('%.1f ms/GB in Python, %.1f ms/GB in C, ratio %.3f (medians of %d pairs)' % (
        statistics.median(python for python, c in pairs), statistics.median(c for python, c in pairs),
        statistics.median(python / c for python, c in pairs), ROUNDS))
    print('copied by the kernel: %d of %d bytes' % (
        stream.statistics.bytes_copied_by_kernel, stream.statistics.bytes_written))
    stream.close(None)


if __name__ == '__main__':
    main()
