#!/usr/bin/python3
# test-python.py - sending, completions, errors and bad input in Python
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later

import array
import ast
import mmap
import os
import sys
import tempfile
import threading
import unittest

import tap
from zciotest import Gio, GLib, Receiver, Zcio, close_socket, expected, wait_until

from gi.repository import GObject

try:
    import numpy
except ImportError:
    numpy = None

PATTERN = bytes(range(256)) * 4096


class Transfer(unittest.TestCase):
    def check(self, *buffers):
        with Receiver() as receiver, receiver.stream() as stream:
            size = sum(memoryview(buffer).nbytes for buffer in buffers)
            self.assertEqual(stream.send(*buffers), size)
            stream.drain()
            statistics = stream.statistics
            self.assertEqual(statistics.bytes_written, size)
            self.assertEqual(statistics.bytes_copied_by_choice, 0)
            self.assertEqual(statistics.bytes_in_flight, 0)
            close_socket(stream)
            self.assertEqual(receiver.result(), expected(*buffers))

    def test_bytes(self):
        self.check(PATTERN)

    def test_bytearray(self):
        self.check(bytearray(PATTERN))

    def test_memoryview(self):
        self.check(memoryview(PATTERN)[1000:-1000])

    def test_memoryview_of_shape(self):
        self.check(memoryview(PATTERN).cast('B', (256, 4096)))

    def test_array(self):
        self.check(array.array('d', range(100000)))

    def test_mmap(self):
        with tempfile.TemporaryFile() as file:
            file.write(PATTERN)
            file.flush()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapping:
                self.check(mapping)

    @unittest.skipIf(numpy is None, 'no NumPy')
    def test_numpy(self):
        self.check(numpy.arange(300000, dtype=numpy.float64).reshape(3, 100000))

    def test_several(self):
        self.check(b'head', bytearray(PATTERN), memoryview(PATTERN)[:3], b'tail')

    def test_many(self):
        self.check(*[PATTERN[i:i + 100] for i in range(3000)])

    def test_glib_bytes(self):
        with Receiver() as receiver, receiver.stream() as stream:
            self.assertEqual(stream.send(GLib.Bytes.new(PATTERN)), len(PATTERN))
            close_socket(stream)
            self.assertEqual(receiver.result(), expected(PATTERN))

    def test_buffer_of_a_pool(self):
        pool = Zcio.BufferPool(len(PATTERN))
        with Receiver() as receiver, receiver.stream() as stream:
            for _ in range(3):
                buffer = pool.acquire()
                with buffer.memory as memory:
                    memory[:] = PATTERN
                stream.send(buffer.to_bytes())
                del buffer
                stream.drain()
            self.assertEqual(pool.get_n_recycled(), 2)
            buffer = pool.acquire()
            buffer.set_contents(0, PATTERN)
            stream.send(buffer)
            close_socket(stream)
            self.assertEqual(receiver.result(), expected(*[PATTERN] * 4))

    def test_connection(self):
        with Receiver() as receiver:
            connection = Zcio.TcpConnection.new(receiver.connect())
            stream = connection.get_output_stream()
            self.assertIsInstance(stream, Zcio.SocketStream)
            stream.set_zero_copy_mode(Zcio.ZeroCopyMode.ALWAYS)
            self.assertEqual(stream.send(bytearray(PATTERN)), len(PATTERN))
            connection.close(None)
            self.assertEqual(receiver.result(), expected(PATTERN))

    def test_empty(self):
        with Receiver() as receiver, receiver.stream() as stream:
            for empty in (b'', bytearray(), memoryview(PATTERN)[:0], array.array('d'),
                          GLib.Bytes.new(b'')):
                self.assertEqual(stream.send(empty), 0)
            self.assertEqual(stream.send(b'', b'x', b''), 1)
            close_socket(stream)
            self.assertEqual(receiver.result(), expected(b'x'))

    def test_calls_of_gio(self):
        """The calls with the names of C take the same objects"""
        done = []
        with Receiver() as receiver, receiver.stream() as stream:
            self.assertEqual(stream.write_zerocopy(b'one').bytes_written, 3)
            self.assertEqual(stream.writev_zerocopy([b'two', bytearray(b'three')]).bytes_written, 8)
            result = stream.writev_zerocopy_nonblocking([b'four'])
            self.assertEqual(result, (Gio.PollableReturn.OK, 4))
            stream.writev_zerocopy_async(
                [b'five'], GLib.PRIORITY_DEFAULT, None,
                lambda stream, result, word: done.append(
                    (word, stream.writev_zerocopy_finish(result).bytes_written)), 'word')
            wait_until(lambda: done)
            self.assertEqual(done, [('word', 4)])
            self.assertEqual(stream.write(b'six'), 3)
            self.assertEqual(stream.send_message(b'seven').bytes_written, 5)
            close_socket(stream)
            self.assertEqual(receiver.result(), expected(b'onetwothreefourfivesixseven'))


class Completions(unittest.TestCase):
    def setUp(self):
        self.receiver = Receiver()
        self.addCleanup(self.receiver.__exit__)
        self.stream = self.receiver.stream()
        self.sends = 0
        self.bytes = 0

    def tearDown(self):
        close_socket(self.stream)
        self.assertEqual(self.receiver.result(), expected(*[PATTERN] * 10))

    def on_completions(self, stream, sends, size, *args):
        self.assertIs(stream, self.stream)
        self.assertEqual(args[-2:], ('one', 2))
        self.sends += sends
        self.bytes += size
        return GLib.SOURCE_CONTINUE

    def send(self):
        for _ in range(10):
            self.stream.send(PATTERN)
        wait_until(lambda: self.bytes == 10 * len(PATTERN))
        statistics = self.stream.statistics
        self.assertEqual(self.sends, statistics.sends_zero_copied +
                         statistics.sends_copied_by_kernel)

    def test_signal(self):
        self.stream.connect('completed', self.on_completions, 'one', 2)
        self.send()

    def test_watch(self):
        watch = self.stream.add_completion_watch(
            GLib.PRIORITY_DEFAULT, self.on_completions, 'one', 2)
        self.send()
        self.assertTrue(GLib.source_remove(watch))

    def test_source_closure(self):
        source = self.stream.create_completion_source()
        GObject.source_set_closure(source, lambda *args: self.on_completions(*args, 'one', 2))
        source.attach(None)
        self.send()
        source.destroy()

    def test_source_callback(self):
        source = self.stream.create_completion_source(None)
        source.set_callback(self.on_completions, 'one', 2)
        source.attach(None)
        self.send()
        source.destroy()

    def test_watch_is_removed(self):
        calls = []

        def once(*args):
            calls.append(args)
            return GLib.SOURCE_REMOVE

        self.stream.add_completion_watch(GLib.PRIORITY_DEFAULT, once)
        for _ in range(10):
            self.stream.send(PATTERN)
            self.stream.drain()
        context = GLib.MainContext.default()
        while context.iteration(False):
            pass
        self.assertEqual(len(calls), 1)


class Errors(unittest.TestCase):
    def assert_code(self, context, *codes):
        error = context.exception
        self.assertTrue(any(error.matches(Gio.io_error_quark(), code) for code in codes), error)

    def test_closed(self):
        with Receiver() as receiver:
            stream = receiver.stream()
            stream.close(None)
            for data in (b'x', b'', bytearray(b'x'), array.array('d', (1, 2)), GLib.Bytes.new(b'x')):
                with self.subTest(data=data), self.assertRaises(GLib.Error) as context:
                    stream.send(data)
                self.assert_code(context, Gio.IOErrorEnum.CLOSED)
            self.assertRaises(TypeError, stream.send, None)

    def test_reset(self):
        with Receiver('--paused') as receiver:
            stream = receiver.stream()
            stream.send(PATTERN[:1000])
            receiver.tell('reset')
            self.assertTrue(receiver.was_reset())
            with self.assertRaises(GLib.Error) as context:
                while True:
                    stream.send(PATTERN)
            self.assert_code(context, Gio.IOErrorEnum.CONNECTION_CLOSED,
                             Gio.IOErrorEnum.BROKEN_PIPE)
            stream.drain()
            self.assertEqual(stream.statistics.sends_in_flight, 0)

    def test_abort(self):
        with Receiver('--paused') as receiver:
            stream = receiver.stream()
            data = bytearray(PATTERN)
            stream.writev_zerocopy_nonblocking([data])
            self.assertTrue(stream.abort())
            stream.drain()
            data.append(1)
            receiver.tell('read')
            self.assertTrue(receiver.was_reset())

    def test_cancelled_before(self):
        cancellable = Gio.Cancellable()
        cancellable.cancel()
        with Receiver() as receiver, receiver.stream() as stream:
            with self.assertRaises(GLib.Error) as context:
                stream.send(b'x', cancellable=cancellable)
            self.assert_code(context, Gio.IOErrorEnum.CANCELLED)
            with self.assertRaises(GLib.Error) as context:
                stream.send(b'x', b'y', cancellable=cancellable)
            self.assert_code(context, Gio.IOErrorEnum.CANCELLED)
            close_socket(stream)
            self.assertEqual(receiver.result(), expected(b''))

    def cancel_midway(self, send):
        """Calls send (cancellable), which the peer holds up, and cancels it meanwhile"""
        cancellable = Gio.Cancellable()
        with Receiver('--paused') as receiver:
            stream = receiver.stream()
            data = bytearray(64 * 1024 * 1024)

            def cancel():
                while stream.statistics.bytes_in_flight == 0:
                    pass
                cancellable.cancel()

            thread = threading.Thread(target=cancel)
            thread.start()
            with self.assertRaises(GLib.Error) as context:
                send(stream, data, cancellable)
            thread.join()
            self.assert_code(context, Gio.IOErrorEnum.CANCELLED)
            with self.assertRaises(BufferError):
                data.append(1)
            accepted = stream.statistics.bytes_written
            receiver.tell('read')
            stream.drain()
            data.append(1)
            close_socket(stream)
            self.assertEqual(receiver.result(), expected(memoryview(data)[:accepted]))

    def test_cancelled_send(self):
        self.cancel_midway(
            lambda stream, data, cancellable: stream.send(data, cancellable=cancellable))

    def test_cancelled_drain(self):
        def send_and_drain(stream, data, cancellable):
            stream.writev_zerocopy_nonblocking([data])
            stream.drain(0, cancellable)

        self.cancel_midway(send_and_drain)

    def test_with_and_error(self):
        """An error in the block is not held up by what is in flight"""
        with Receiver('--paused') as receiver:
            with self.assertRaises(ZeroDivisionError):
                with receiver.stream() as stream:
                    stream.writev_zerocopy_nonblocking([PATTERN])
                    raise ZeroDivisionError
            self.assertTrue(stream.is_closed())
            self.assertGreater(stream.statistics.bytes_in_flight, 0)
            receiver.tell('read')


class BadInput(unittest.TestCase):
    def setUp(self):
        receiver = Receiver()
        self.addCleanup(receiver.__exit__)
        self.stream = receiver.stream()

    def assert_names(self, error, name, function, *args, **keywords):
        with self.assertRaises(error) as context:
            function(*args, **keywords)
        self.assertIn(name, str(context.exception))

    def test_wrong_types(self):
        for bad in (None, 5, 1.5, 'text', [b'x'], object(), {}):
            with self.subTest(bad=bad):
                self.assert_names(TypeError, 'obj', Zcio.wrap, bad)
                self.assert_names(TypeError, 'buffers[0]', self.stream.send, bad)
                self.assert_names(TypeError, 'buffers[1]', self.stream.send, b'x', bad)
                self.assert_names(TypeError, 'buffer', self.stream.write_zerocopy, bad)
                self.assert_names(TypeError, 'buffers[0]', self.stream.writev_zerocopy, [bad])
                self.assert_names(TypeError, 'buffers[0]',
                                  self.stream.writev_zerocopy_nonblocking, [bad])
                self.assert_names(TypeError, 'buffers[0]', self.stream.writev_zerocopy_async, [bad])

    def test_wrong_lists(self):
        for bad in (None, 5, b'bytes', 'text', bytearray(5), memoryview(b'x')):
            with self.subTest(bad=bad):
                self.assert_names(TypeError, 'buffers', self.stream.writev_zerocopy, bad)

    def test_empty_lists(self):
        self.assert_names(ValueError, 'buffers', self.stream.send)
        self.assert_names(ValueError, 'buffers', self.stream.writev_zerocopy, [])
        self.assert_names(ValueError, 'buffers', self.stream.writev_zerocopy_nonblocking, ())
        self.assert_names(ValueError, 'buffers', self.stream.writev_zerocopy_async, [])

    def test_not_contiguous(self):
        self.assert_names(ValueError, 'obj', Zcio.wrap, memoryview(PATTERN)[::2])
        self.assert_names(ValueError, 'buffers[0]', self.stream.send, memoryview(PATTERN)[::-1])

    @unittest.skipIf(numpy is None, 'no NumPy')
    def test_not_contiguous_numpy(self):
        matrix = numpy.zeros((100, 100))
        self.assert_names(ValueError, 'obj', Zcio.wrap, matrix[:, 1])
        self.assert_names(ValueError, 'obj', Zcio.wrap, matrix.T[1:])
        self.assert_names(ValueError, 'obj', Zcio.wrap, numpy.asfortranarray(matrix))

    @unittest.skipIf(sys.version_info < (3, 12), 'no __buffer__() before Python 3.12')
    def test_exporter_fails(self):
        """What an object raises comes through"""
        class Failing:
            def __buffer__(self, flags):
                raise ZeroDivisionError

        self.assertRaises(ZeroDivisionError, self.stream.send, Failing())
        self.assertRaises(ZeroDivisionError, Zcio.wrap, Failing())

    def test_read_only(self):
        """Memory that cannot be written to can be sent"""
        self.stream.send(memoryview(bytearray(b'x')).toreadonly())

    def test_released(self):
        view = memoryview(b'x')
        view.release()
        mapping = mmap.mmap(-1, 4096)
        mapping.close()
        for gone in (view, mapping):
            self.assert_names(ValueError, 'obj', Zcio.wrap, gone)
            self.assert_names(ValueError, 'buffers[0]', self.stream.send, gone)

    def test_socket(self):
        for bad in (None, 5, 'text', self.stream):
            with self.subTest(bad=bad):
                self.assert_names(TypeError, 'socket', Zcio.SocketStream, bad)
        self.assert_names(TypeError, 'socket', Zcio.SocketStream)
        self.assertRaises(TypeError, Zcio.SocketStream.new, None)

    def test_cancellable(self):
        self.assertRaises(TypeError, self.stream.send, b'x', cancellable=5)
        self.assertRaises(TypeError, self.stream.drain, 0, 'text')
        self.assertRaises(TypeError, self.stream.drain, None)
        self.assertRaises((ValueError, OverflowError), self.stream.drain, -1)

    def test_callbacks(self):
        self.assertRaises(TypeError, self.stream.add_completion_watch, 0, None)
        self.assertRaises(TypeError, self.stream.add_completion_watch, 0, 5)
        self.assert_names(TypeError, 'fn', self.stream.create_completion_source().set_callback, 5)
        self.assertRaises(TypeError, self.stream.drain_async, 0, 0, None, 5)

    def test_memory_owner(self):
        self.assertRaises(TypeError, Zcio.MemoryOwner.new, None)
        owner = Zcio.MemoryOwner.new(lambda token: None)
        self.assert_names(ValueError, 'address', owner.wrap, 0, 5, 0)
        self.assert_names(ValueError, 'size', owner.wrap, 2 ** 64 - 5, 10, 0)
        self.assert_names(TypeError, 'address', owner.wrap, None, 5, 0)

    def test_objects_of_an_owner(self):
        owner = Zcio.MemoryOwner.new_for_python()
        other = Zcio.MemoryOwner.new(lambda token: None)
        for bad in (None, 5, 'text', object(), memoryview(PATTERN)[::2], Zcio.MemoryOwner,
                    GLib.Bytes.new(b'x'), Zcio.BufferPool(100).acquire()):
            with self.subTest(bad=bad):
                with self.assertRaises(GLib.Error) as context:
                    owner.wrap_object(bad)
                self.assertTrue(context.exception.matches(
                    Gio.io_error_quark(), Gio.IOErrorEnum.INVALID_ARGUMENT))
                self.assertRaises(GLib.Error, owner.write_object, self.stream, bad)
        for bad in (None, 5, owner):
            self.assertRaises(TypeError, owner.write_object, bad, b'x')
        self.assertRaises(TypeError, owner.write_object, self.stream, b'x', 5)
        self.assertRaises(GLib.Error, other.wrap_object, b'x')
        self.assertRaises(GLib.Error, other.write_object, self.stream, b'x')
        self.assertEqual(owner.wrap_object(bytearray(b'abc')).get_data(), b'abc')
        self.assertEqual(owner.write_object(self.stream, memoryview(b'abc')), (True, 3))

    def test_buffers(self):
        for bad, error in ((None, TypeError), ('x', TypeError), (0, ValueError),
                           (-1, ValueError), (2 ** 64, ValueError), (2 ** 63, ValueError)):
            with self.subTest(bad=bad):
                self.assert_names(error, 'buffer_size', Zcio.BufferPool, bad)
                self.assert_names(error, 'buffer_size', Zcio.BufferPool.new, bad)
        buffer = Zcio.BufferPool(100).acquire()
        self.assertEqual(len(buffer), 100)
        self.assert_names(ValueError, 'data', buffer.set_contents, 99, b'xx')
        self.assert_names(ValueError, 'offset', buffer.set_contents, 101, b'')
        self.assert_names(ValueError, 'size', buffer.to_bytes, 101)
        self.assertRaises(TypeError, buffer.set_contents, 0, None)
        self.assertRaises(TypeError, Zcio.Buffer)
        view = buffer.memory[10:]
        self.assert_names(BufferError, 'view', buffer.to_bytes)
        view.release()
        self.assertEqual(buffer.to_bytes(50).get_size(), 50)
        for call in (buffer.to_bytes, buffer.get_address, buffer.get_data,
                     lambda: buffer.memory, lambda: buffer.set_contents(0, b'')):
            self.assert_names(ValueError, 'buffer', call)

    def test_view_outlives_buffer(self):
        pool = Zcio.BufferPool(4096)
        view = pool.acquire().memory
        self.assertEqual(pool.get_bytes_in_use(), 4096)
        view[:] = b'x' * 4096
        view.release()
        self.assertEqual(pool.get_bytes_in_use(), 0)


class Faces(unittest.TestCase):
    def test_statistics(self):
        with Receiver() as receiver, receiver.stream() as stream:
            self.assertEqual(stream.statistics, stream.statistics)
            before = stream.statistics
            stream.send(b'x' * 100)
            after = stream.statistics
            self.assertNotEqual(before, after)
            self.assertEqual(after.as_dict()['bytes_written'], 100)
            self.assertNotIn('padding', after.as_dict())
            self.assertIn('bytes_written=100', repr(after))
            self.assertIn('written: 100 bytes', str(after))

    def test_stub_tells_the_truth(self):
        """Whatever the type hints name is there"""
        stub = os.path.join(os.environ['ZCIO_OVERRIDES'], 'Zcio.pyi')
        with open(stub, encoding='utf-8') as file:
            tree = ast.parse(file.read())
        for node in tree.body:
            name = getattr(node, 'name', None)
            if name is None or name.startswith('_'):
                continue
            with self.subTest(name=name):
                thing = getattr(Zcio, name)
                for member in getattr(node, 'body', []):
                    target = getattr(member, 'target', None)
                    member_name = getattr(member, 'name', None) or getattr(target, 'id', None)
                    if isinstance(node, ast.ClassDef) and member_name and name != 'Properties':
                        self.assertTrue(hasattr(thing, member_name) or hasattr(
                            thing.props, member_name), f'{name}.{member_name}')

    def test_stub_is_complete(self):
        """All of the library has a type hint"""
        stub = os.path.join(os.environ['ZCIO_OVERRIDES'], 'Zcio.pyi')
        with open(stub, encoding='utf-8') as file:
            tree = ast.parse(file.read())
        classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        for name in ('SocketStream', 'MemoryOwner', 'BufferPool', 'Buffer', 'Statistics',
                     'TcpConnection'):
            thing = getattr(Zcio, name)
            with self.subTest(name=name):
                hinted = {getattr(member, 'name', None) or getattr(
                    getattr(member, 'target', None), 'id', None) for member in classes[name].body}
                methods = {method.get_name() for method in thing.__info__.get_methods()}
                self.assertEqual(methods - hinted - {'ref', 'unref', 'free'}, set())


if __name__ == '__main__':
    tap.main()
