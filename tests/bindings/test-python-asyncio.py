#!/usr/bin/python3
# test-python-asyncio.py - sending in asyncio, in both kinds of event loop
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later

import asyncio
import select
import threading
import time
import unittest

import tap
from zciotest import PATIENCE, Gio, GLib, Receiver, Zcio, expected

PATTERN = bytes(range(256)) * 4096


class Cases:
    """What must work in any event loop"""

    def run_in_loop(self, coroutine):
        raise NotImplementedError

    def test_send(self):
        async def send():
            async with receiver.stream() as stream:
                self.assertEqual(await stream.send_async(PATTERN), len(PATTERN))
                self.assertEqual(await stream.send_async(b'x', bytearray(b'yz')), 3)
                self.assertTrue(await stream.drain_async())
                self.assertEqual(stream.statistics.bytes_in_flight, 0)
                for _ in range(50):
                    await stream.send_async(PATTERN)
            self.assertTrue(stream.is_closed())
            self.assertEqual(stream.statistics.bytes_in_flight, 0)
            stream.get_socket().close()

        with Receiver() as receiver:
            self.run_in_loop(send())
            self.assertEqual(receiver.result(), expected(PATTERN, b'xyz', *[PATTERN] * 50))

    def test_other_calls(self):
        async def send():
            stream = receiver.stream()
            result = await stream.writev_zerocopy_async([PATTERN])
            self.assertEqual(result.bytes_written, len(PATTERN))
            self.assertTrue(await stream.flush_async())
            self.assertTrue(await stream.close_async())
            stream.get_socket().close()

        with Receiver() as receiver:
            self.run_in_loop(send())
            self.assertEqual(receiver.result(), expected(PATTERN))

    def test_others_run_meanwhile(self):
        """A peer that reads nothing holds up one task, not the loop"""
        async def send():
            data = bytearray(64 * 1024 * 1024)
            stream = receiver.stream()
            sending = asyncio.ensure_future(stream.send_async(data))
            while stream.statistics.bytes_in_flight == 0:
                await asyncio.sleep(0.001)
            for _ in range(10):
                await asyncio.sleep(0.001)
                self.assertFalse(sending.done())
            receiver.tell('read')
            self.assertEqual(await sending, len(data))
            await stream.close_async()
            stream.get_socket().close()

        with Receiver('--paused') as receiver:
            self.run_in_loop(send())
            self.assertEqual(receiver.result(), expected(bytes(64 * 1024 * 1024)))

    def test_others_have_their_turn(self):
        """Also while the socket takes all at once"""
        async def send():
            turns = 0

            async def count():
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            async with receiver.stream() as stream:
                counting = asyncio.ensure_future(count())
                for _ in range(100):
                    await stream.send_async(b'x')
                counting.cancel()
                self.assertGreaterEqual(turns, 50)
            stream.get_socket().close()

        with Receiver() as receiver:
            self.run_in_loop(send())
            self.assertEqual(receiver.result()[0], 100)

    def test_what_is_left(self):
        """What the socket does not take at once follows, from the right byte on"""
        blocks = [b'', b'head', *[PATTERN[i:] for i in range(32)], b'', bytearray(b'tail')]

        async def send():
            stream = receiver.stream()
            sending = asyncio.ensure_future(stream.send_async(*blocks))
            while stream.statistics.bytes_in_flight == 0:
                await asyncio.sleep(0.001)
            self.assertFalse(sending.done())
            receiver.tell('read')
            self.assertEqual(await sending, sum(map(len, blocks)))
            await stream.close_async()
            stream.get_socket().close()

        with Receiver('--paused') as receiver:
            self.run_in_loop(send())
            self.assertEqual(receiver.result(), expected(*blocks))

    def test_another_is_sending(self):
        """Nothing comes between the bytes of a send"""
        async def send():
            data = bytes(64 * 1024 * 1024)
            stream = receiver.stream()
            sending = asyncio.ensure_future(stream.send_async(data))
            while stream.statistics.bytes_in_flight == 0:
                await asyncio.sleep(0.001)
            with self.assertRaises(GLib.Error) as context:
                await stream.send_async(b'x')
            self.assertTrue(context.exception.matches(Gio.io_error_quark(),
                                                      Gio.IOErrorEnum.PENDING))
            receiver.tell('read')
            await sending
            await stream.close_async()
            stream.get_socket().close()

        with Receiver('--paused') as receiver:
            self.run_in_loop(send())
            self.assertEqual(receiver.result(), expected(bytes(64 * 1024 * 1024)))

    def test_task_is_cancelled(self):
        async def send():
            data = bytearray(64 * 1024 * 1024)
            stream = receiver.stream()
            sending = asyncio.ensure_future(stream.send_async(data))
            while stream.statistics.bytes_in_flight == 0:
                await asyncio.sleep(0.001)
            sending.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await sending
            # The next one does not find the stream busy
            self.assertFalse(stream.has_pending())
            self.assertRaises(BufferError, data.append, 1)
            receiver.tell('read')
            await stream.drain_async()
            data.append(1)
            self.assertEqual(await stream.send_async(b'x'), 1)
            await stream.close_async()
            stream.get_socket().close()
            return stream.statistics.bytes_written

        with Receiver('--paused') as receiver:
            size = self.run_in_loop(send())
            self.assertEqual(receiver.result(), expected(bytes(size - 1), b'x'))

    def test_cancellable(self):
        async def send():
            data = bytes(64 * 1024 * 1024)
            cancellable = Gio.Cancellable()
            stream = receiver.stream()
            sending = asyncio.ensure_future(stream.send_async(data, cancellable=cancellable))
            while stream.statistics.bytes_in_flight == 0:
                await asyncio.sleep(0.001)
            cancellable.cancel()
            with self.assertRaises(GLib.Error) as context:
                await sending
            self.assertTrue(context.exception.matches(Gio.io_error_quark(),
                                                      Gio.IOErrorEnum.CANCELLED))
            with self.assertRaises(GLib.Error):
                await stream.drain_async(cancellable=cancellable)
            receiver.tell('reset')

        with Receiver('--paused') as receiver:
            self.run_in_loop(send())
            self.assertTrue(receiver.was_reset())

    def test_closed(self):
        async def send():
            stream = receiver.stream()
            await stream.close_async()
            with self.assertRaises(GLib.Error) as context:
                await stream.send_async(b'x')
            self.assertTrue(context.exception.matches(Gio.io_error_quark(),
                                                      Gio.IOErrorEnum.CLOSED))

        with Receiver() as receiver:
            self.run_in_loop(send())

    def test_bad_input(self):
        async def send():
            stream = receiver.stream()
            for bad, error in (((), ValueError), ((None,), TypeError), ((b'x', 5), TypeError),
                               ((memoryview(b'abcd')[::2],), ValueError)):
                with self.subTest(bad=bad), self.assertRaises(error) as context:
                    await stream.send_async(*bad)
                self.assertIn('buffers', str(context.exception))
            self.assertEqual(await stream.send_async(b''), 0)

        with Receiver() as receiver:
            self.run_in_loop(send())

    def test_error_in_block(self):
        async def send():
            with self.assertRaises(ZeroDivisionError):
                async with receiver.stream() as stream:
                    stream.writev_zerocopy_nonblocking([PATTERN])
                    raise ZeroDivisionError
            self.assertTrue(stream.is_closed())
            receiver.tell('read')

        with Receiver('--paused') as receiver:
            self.run_in_loop(send())


class AnyLoop(Cases, unittest.TestCase):
    """The loop of asyncio.run(), which knows nothing of GLib"""

    def run_in_loop(self, coroutine):
        return asyncio.run(asyncio.wait_for(coroutine, PATIENCE))


class GLibLoop(Cases, unittest.TestCase):
    """The loop that runs GLib's sources"""

    def run_in_loop(self, coroutine):
        return Zcio.run(asyncio.wait_for(coroutine, PATIENCE))

    def test_signal(self):
        async def send():
            released = asyncio.get_running_loop().create_future()
            sum_of = [0]

            def on_completed(stream, sends, size, zero_copied):
                sum_of[0] += size
                if sum_of[0] == 5 * len(PATTERN):
                    released.set_result(True)

            stream = receiver.stream()
            stream.connect('completed', on_completed)
            for _ in range(5):
                await stream.send_async(PATTERN)
            self.assertTrue(await released)

        with Receiver() as receiver:
            self.run_in_loop(send())

    def test_another_waits(self):
        """Nothing comes between, even if the socket would take it just now"""
        async def send():
            data = bytes(64 * 1024 * 1024)
            stream = receiver.stream()
            sending = asyncio.ensure_future(stream.send_async(data))
            while stream.statistics.bytes_in_flight == 0:
                await asyncio.sleep(0.001)
            receiver.tell('read')
            # The loop does not run meanwhile
            poll = select.poll()
            poll.register(stream.get_fd(), select.POLLOUT)
            deadline = time.monotonic() + PATIENCE
            while not any(events & select.POLLOUT for _, events in poll.poll(1000)):
                self.assertLess(time.monotonic(), deadline)
            with self.assertRaises(GLib.Error) as context:
                await stream.send_async(b'x')
            self.assertTrue(context.exception.matches(Gio.io_error_quark(),
                                                      Gio.IOErrorEnum.PENDING))
            self.assertEqual(await sending, len(data))
            await stream.close_async()
            stream.get_socket().close()

        with Receiver('--paused') as receiver:
            self.run_in_loop(send())
            self.assertEqual(receiver.result(), expected(bytes(64 * 1024 * 1024)))

    def test_sources_and_timers(self):
        """Sources of GLib and timers, descriptors and threads of asyncio are all served"""
        async def main():
            loop = asyncio.get_running_loop()
            seen = []
            GLib.timeout_add(1, lambda: seen.append('timeout'))
            GLib.idle_add(lambda: seen.append('idle'))
            loop.call_later(0.002, seen.append, 'timer')
            threading.Timer(0.003, loop.call_soon_threadsafe, (seen.append, 'thread')).start()
            process = await asyncio.create_subprocess_exec('true')
            seen.append(await process.wait())
            while len(seen) < 5:
                await asyncio.sleep(0.001)
            return seen

        self.assertEqual(sorted(map(str, self.run_in_loop(main()))),
                         ['0', 'idle', 'thread', 'timeout', 'timer'])

    def test_does_not_spin(self):
        async def main():
            stream = receiver.stream()
            await stream.send_async(PATTERN[:1000])
            before = time.thread_time()
            await asyncio.sleep(0.5)
            return time.thread_time() - before

        with Receiver('--paused') as receiver:
            self.assertLess(self.run_in_loop(main()), 0.25)

    def test_in_a_thread(self):
        async def send():
            async with receiver.stream() as stream:
                await stream.send_async(PATTERN)
            stream.get_socket().close()

        with Receiver() as receiver:
            thread = threading.Thread(target=lambda: self.run_in_loop(send()))
            thread.start()
            thread.join(PATIENCE)
            self.assertFalse(thread.is_alive())
            self.assertEqual(receiver.result(), expected(PATTERN))

    def test_error_of_main(self):
        async def main():
            asyncio.ensure_future(asyncio.sleep(1000))
            raise ZeroDivisionError

        self.assertRaises(ZeroDivisionError, Zcio.run, main())


if __name__ == '__main__':
    tap.main()
