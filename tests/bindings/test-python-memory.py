#!/usr/bin/python3
# test-python-memory.py - memory of Python objects while it is being sent
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# ZCIO_TEST_MIB in the environment is how large the large buffers are, in MiB.

import ctypes
import gc
import mmap
import os
import subprocess
import sys
import threading
import time
import unittest

import tap
from zciotest import (PATIENCE, GLib, Receiver, Zcio, close_socket, expected, resident_size,
                      wait_until)

try:
    import numpy
except ImportError:
    numpy = None

MIB = 1024 * 1024
LARGE = int(os.environ.get('ZCIO_TEST_MIB', '64')) * MIB
# More than a socket takes at once
SOME = 4 * MIB


def peak_resident_size():
    with open('/proc/self/status', encoding='ascii') as status:
        for line in status:
            if line.startswith('VmHWM:'):
                return int(line.split()[1]) * 1024
    raise AssertionError('no VmHWM')


def forget_peak():
    with open('/proc/self/clear_refs', 'w', encoding='ascii') as clear_refs:
        clear_refs.write('5')


def is_locked(data):
    """Whether somebody holds the memory of a bytearray"""
    try:
        data.append(0)
    except BufferError:
        return True
    data.pop()
    return False


class ResidentSize(unittest.TestCase):
    def check(self, data):
        with Receiver() as receiver, receiver.stream() as stream:
            # What is allocated once
            stream.send(bytes(1000))
            stream.drain()
            gc.collect()
            forget_peak()
            before = resident_size()
            self.assertEqual(stream.send(data), LARGE)
            stream.drain()
            self.assertLess(peak_resident_size() - before, 16 * MIB)
            self.assertGreaterEqual(before, LARGE)
            close_socket(stream)
            self.assertEqual(receiver.result(), expected(bytes(1000), data))

    def test_bytearray(self):
        self.check(bytearray(b'zcio') * (LARGE // 4))

    @unittest.skipIf(numpy is None, 'no NumPy')
    def test_numpy(self):
        self.check(numpy.arange(LARGE // 8, dtype=numpy.float64).reshape(64, -1))


class Locks(unittest.TestCase):
    def test_resizing(self):
        data = bytearray(SOME)
        with Receiver('--paused') as receiver:
            stream = receiver.stream()
            stream.writev_zerocopy_nonblocking([data])
            for resize in (lambda: data.append(1), data.clear, lambda: data.extend(b'x' * 100),
                           data.pop):
                self.assertRaises(BufferError, resize)
            receiver.tell('read')
            stream.drain()
            data.append(1)
            self.assertEqual(len(data), SOME + 1)

    def test_mmap(self):
        mapping = mmap.mmap(-1, SOME)
        with Receiver('--paused') as receiver:
            stream = receiver.stream()
            stream.writev_zerocopy_nonblocking([mapping])
            self.assertRaises(BufferError, mapping.close)
            receiver.tell('read')
            stream.drain()
            mapping.close()

    def test_wrapped(self):
        data = bytearray(100)
        wrapped = Zcio.wrap(data)
        self.assertTrue(is_locked(data))
        part = GLib.Bytes.new_from_bytes(wrapped, 10, 20)
        del wrapped
        self.assertTrue(is_locked(data))
        del part
        self.assertFalse(is_locked(data))

    def test_references(self):
        for data in (b'x' * 1000, bytearray(1000), memoryview(b'abc')):
            before = sys.getrefcount(data)
            wrapped = Zcio.wrap(data)
            self.assertEqual(sys.getrefcount(data), before + 1)
            del wrapped
            self.assertEqual(sys.getrefcount(data), before)

    def test_every_way_to_send(self):
        """Whichever call has sent an object: in the end nothing holds it"""
        owner = Zcio.MemoryOwner.new_for_python()
        data = bytearray(1000)
        references = sys.getrefcount(data)
        with Receiver() as receiver, receiver.stream() as stream:
            for send in (lambda: stream.send(data),
                         lambda: stream.send(b'x', data),
                         lambda: stream.send(Zcio.wrap(data)),
                         lambda: stream.write_zerocopy(data),
                         lambda: stream.writev_zerocopy([data]),
                         lambda: stream.writev_zerocopy_nonblocking([data]),
                         lambda: stream.send_message(data),
                         lambda: owner.write_object(stream, data)):
                send()
                stream.drain()
                self.assertFalse(is_locked(data))
                self.assertEqual(sys.getrefcount(data), references)

    def test_failed_calls(self):
        """Errors leave nothing locked, and come through"""
        data = bytearray(1000)
        with Receiver() as receiver:
            stream = receiver.stream()
            for _ in range(100):
                self.assertRaises(TypeError, stream.send, data, None)
                self.assertRaises(TypeError, stream.send, data, cancellable=5)
                self.assertRaises(TypeError, stream.write_zerocopy, data, 'text')
                self.assertRaises(ValueError, stream.send, memoryview(data)[::2])
            stream.close(None)
            for _ in range(100):
                self.assertRaises(GLib.Error, stream.send, data)
        self.assertFalse(is_locked(data))


class InFlight(unittest.TestCase):
    def test_all_references_are_dropped(self):
        """The kernel reads memory that nobody else knows any more"""
        with Receiver('--paused') as receiver:
            stream = receiver.stream()
            data = bytearray(os.urandom(SOME))
            accepted = stream.writev_zerocopy_nonblocking([data]).bytes_written
            checksum = expected(memoryview(data)[:accepted])
            locked = sys.getrefcount(data)
            self.assertGreater(locked, 2)
            del stream, data
            gc.collect()
            # Whoever freed it would see this instead
            garbage = [bytearray(b'\xff') * SOME for _ in range(20)]
            receiver.tell('read')
            self.assertEqual(receiver.result(), checksum)
            del garbage

    def test_released_in_the_background(self):
        data = bytearray(SOME)
        with Receiver('--paused') as receiver:
            receiver.stream().writev_zerocopy_nonblocking([data])
            gc.collect()
            self.assertTrue(is_locked(data))
            receiver.tell('read')
            receiver.result()
            wait_until(lambda: not is_locked(data))

    def test_another_thread_reaps(self):
        """It takes the interpreter's lock for that"""
        data = bytearray(SOME)
        with Receiver('--paused') as receiver:
            stream = receiver.stream()
            stream.writev_zerocopy_nonblocking([data])
            thread = threading.Thread(target=stream.drain)
            thread.start()
            self.assertTrue(is_locked(data))
            receiver.tell('read')
            thread.join(PATIENCE)
            self.assertFalse(is_locked(data))

    def test_another_thread_is_busy(self):
        """A thread that never lets go of the interpreter's lock of its own accord"""
        busy = True
        turns = 0

        def spin():
            nonlocal turns
            while busy:
                turns += 1

        thread = threading.Thread(target=spin)
        thread.start()
        try:
            blocks = [bytearray(os.urandom(100000)) for _ in range(50)]
            with Receiver() as receiver, receiver.stream() as stream:
                for block in blocks:
                    stream.send(block)
                stream.drain()
                self.assertFalse(any(map(is_locked, blocks)))
                close_socket(stream)
                self.assertEqual(receiver.result(), expected(*blocks))
            self.assertGreater(turns, 0)
        finally:
            busy = False
            thread.join()

    def test_object_is_changed_by_release(self):
        """What an exporter does when it is released may send again"""
        sent = []

        class Chain(bytearray):
            def __del__(self):
                sent.append(stream.send(b'x'))

        with Receiver() as receiver, receiver.stream() as stream:
            for _ in range(10):
                stream.send(Chain(b'abc'))
                stream.drain()
            gc.collect()
            close_socket(stream)
            self.assertEqual(receiver.result()[0], 30 + len(sent))
        self.assertEqual(sent, [1] * 10)


class Leaks(unittest.TestCase):
    SENDS = 100000

    def test_many_sends(self):
        """100,000 sends leave nothing behind"""
        payload = bytearray(b'0123456789abcdef' * 64)
        malloc_trim = ctypes.CDLL(None).malloc_trim

        def send(n):
            for _ in range(n):
                stream.send(payload)
            stream.drain()
            gc.collect()
            malloc_trim(0)
            return resident_size()

        with Receiver() as receiver, receiver.stream(max_bytes_in_flight=256 * 1024) as stream:
            send(10000)
            references = sys.getrefcount(payload)
            objects = len(gc.get_objects())
            before = send(10000)
            after = send(self.SENDS)
            # A leak of 16 bytes for each send would be more
            self.assertLess(after - before, self.SENDS * 16)
            self.assertEqual(sys.getrefcount(payload), references)
            self.assertLess(abs(len(gc.get_objects()) - objects), 100)
            self.assertFalse(is_locked(payload))
            close_socket(stream)
            self.assertEqual(receiver.result()[0], len(payload) * (self.SENDS + 20000))


class Shutdown(unittest.TestCase):
    """The interpreter ends while the kernel still holds memory"""

    def run_program(self, body, *arguments):
        here = os.path.dirname(os.path.abspath(__file__))
        program = ('import os, sys\n'
                   f'sys.path.insert(0, {here!r})\n'
                   'from zciotest import Receiver, Zcio, Gio, GLib\n'
                   'receiver = Receiver.__new__(Receiver)\n'
                   'receiver.port = int(sys.argv[1])\n' + body)
        return subprocess.run([sys.executable, '-c', program, *arguments], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=PATIENCE)

    def test_with_stream(self):
        with Receiver('--paused') as receiver:
            run = self.run_program('stream = receiver.stream()\n'
                                   f'data = bytearray(b"z" * {SOME})\n'
                                   'n = stream.writev_zerocopy_nonblocking([data]).bytes_written\n'
                                   'print(n)\n', str(receiver.port))
            self.assertEqual(run.returncode, 0, run.stdout)
            receiver.tell('read')
            self.assertEqual(receiver.result(), expected(b'z' * int(run.stdout)))

    def test_without_stream(self):
        with Receiver('--paused') as receiver:
            run = self.run_program('receiver.stream().writev_zerocopy_nonblocking('
                                   f'[bytearray(b"z" * {SOME})])\n', str(receiver.port))
            self.assertEqual((run.returncode, run.stdout), (0, ''))
            receiver.tell('read')
            self.assertGreater(receiver.result()[0], 0)

    def test_while_reaping(self):
        """Completions come in at the very end"""
        for i in range(8):
            with self.subTest(i=i), Receiver() as receiver:
                run = self.run_program('stream = receiver.stream()\n'
                                       'for _ in range(200):\n'
                                       '    stream.send(bytearray(10000))\n'
                                       f'if {i} % 2:\n'
                                       '    del stream\n', str(receiver.port))
                self.assertEqual((run.returncode, run.stdout), (0, ''))
                self.assertEqual(receiver.result()[0], 2000000)


if __name__ == '__main__':
    tap.main()
