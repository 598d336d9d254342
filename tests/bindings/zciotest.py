# zciotest.py - what the Python tests of the bindings share
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# ZCIO_OVERRIDES in the environment is where Zcio.py is, unless it is installed.

import hashlib
import os
import subprocess
import sys
import time

import gi
import gi.overrides

if 'ZCIO_OVERRIDES' in os.environ:
    gi.overrides.__path__.insert(0, os.environ['ZCIO_OVERRIDES'])
gi.require_version('Zcio', '1')

# pylint: disable=wrong-import-position
from gi.repository import Gio, GLib, Zcio  # noqa: E402

# Only a guard against a hang
PATIENCE = 60


class Receiver:
    """A process that receives by a plain socket"""

    def __init__(self, *arguments):
        here = os.path.dirname(os.path.abspath(__file__))
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(here, 'receiver.py'), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.process.kill()
        self.process.communicate()

    def connect(self):
        socket = Gio.Socket.new(Gio.SocketFamily.IPV4, Gio.SocketType.STREAM,
                                Gio.SocketProtocol.TCP)
        address = Gio.InetSocketAddress.new_from_string('127.0.0.1', self.port)
        Gio.Socket.connect(socket, address, None)
        return socket

    def stream(self, mode=Zcio.ZeroCopyMode.ALWAYS, **properties):
        return Zcio.SocketStream(socket=self.connect(), zero_copy_mode=mode, **properties)

    def tell(self, word):
        self.process.stdin.write(word + '\n')
        self.process.stdin.flush()

    def result(self):
        """What was received: size and checksum"""
        size, checksum = self.process.stdout.readline().split()
        return int(size), checksum

    def was_reset(self):
        return self.process.stdout.readline().strip() == 'reset'


def expected(*buffers):
    """What a receiver tells of these buffers"""
    checksum = hashlib.sha256()
    size = 0
    for buffer in buffers:
        checksum.update(buffer)
        size += memoryview(buffer).nbytes
    return size, checksum.hexdigest()


def wait_until(condition, context=None):
    """Runs the main context until something is so"""
    context = context or GLib.MainContext.default()
    deadline = time.monotonic() + PATIENCE
    timer = GLib.timeout_source_new(100)
    timer.set_callback(lambda *args: GLib.SOURCE_CONTINUE)
    timer.attach(context)
    try:
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError('waited in vain')
            context.iteration(True)
    finally:
        timer.destroy()


def resident_size():
    """In bytes"""
    with open('/proc/self/statm', encoding='ascii') as statm:
        return int(statm.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def close_socket(stream):
    """Ends the connection, so that the receiver comes to its end"""
    stream.close(None)
    stream.get_socket().close()
