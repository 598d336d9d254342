#!/usr/bin/python3
# benchmark-python.py - the CPU time that Python adds to a send
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: zcio-wire -- benchmark-python.py [PAIRS]
#        meson test --benchmark --verbose python
#
# Sends blocks of 1 MiB to ZCIO_WIRE_ADDRESS by stream.send (bytearray), and the same
# memory by the function of C, called with next to nothing around it. The two take turns,
# in an order that is drawn anew for each pair. Prints the CPU time of the process for
# each GB, and the median and the quartiles of the ratios of the pairs.

import ctypes
import os
import random
import statistics
import sys
import time

from zciotest import Gio, Zcio

SIZE = 1024 * 1024
# Few, so that the two of a pair see the same machine
BLOCKS = 64
PAIRS = int(sys.argv[1]) if len(sys.argv) > 1 else 300


def make_python_send(stream, data):
    return lambda: stream.send(data)


def make_c_send(stream, data):
    glib = ctypes.CDLL('libglib-2.0.so.0')
    zcio = ctypes.CDLL('libzcio-1.so.0')
    glib.g_bytes_new_static.restype = ctypes.c_void_p
    glib.g_bytes_new_static.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    write = zcio.zcio_socket_stream_write_zerocopy
    write.argtypes = [ctypes.c_void_p] * 5
    # Which pages they are makes a tenth of the cost: both must send the same
    memory = (ctypes.c_char * len(data)).from_buffer(data)
    arguments = (hash(stream), glib.g_bytes_new_static(ctypes.addressof(memory), len(data)),
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


def measure_pair(stream, contenders):
    """The figures of Python and C"""
    figures = {}
    for name in random.sample(sorted(contenders), len(contenders)):
        figures[name] = measure(stream, contenders[name])
    return figures['Python'], figures['C']


def main():
    host, _, port = os.environ['ZCIO_WIRE_ADDRESS'].rpartition(':')
    connection = Gio.SocketClient().connect_to_host(host, int(port), None)
    stream = Zcio.SocketStream(connection.get_socket(),
                               zero_copy_mode=Zcio.ZeroCopyMode.ALWAYS)
    data = bytearray(b'\xa5') * SIZE
    contenders = {'Python': make_python_send(stream, data), 'C': make_c_send(stream, data)}
    for _ in range(5):
        measure_pair(stream, contenders)
    pairs = [measure_pair(stream, contenders) for _ in range(PAIRS)]
    low, median, high = statistics.quantiles((python / c for python, c in pairs), n=4)
    print('%.1f ms/GB in Python, %.1f ms/GB in C, ratio %.3f, quartiles %.3f and %.3f '
          '(medians of %d pairs)' % (
              statistics.median(python for python, _ in pairs),
              statistics.median(c for _, c in pairs), median, low, high, PAIRS))
    print('copied by the kernel: %d of %d bytes' % (
        stream.statistics.bytes_copied_by_kernel, stream.statistics.bytes_written))
    stream.close(None)


if __name__ == '__main__':
    main()
