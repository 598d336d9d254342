# Zcio.py - what Python adds to the bindings of zcio
#
# This file is part of zcio
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sending without a copy, as Python expects it.

    with Zcio.SocketStream (socket) as stream:
        stream.send (header, array)          # any object with the buffer protocol

Whatever is sent is neither copied nor converted: an object stays locked (a bytearray
cannot be resized, an mmap cannot be closed) until the kernel has released its memory.
Its content must not change before that.
"""

import asyncio
import atexit
import ctypes
import selectors
import threading
import weakref
from contextlib import contextmanager

from gi.repository import Gio, GLib, GObject

from ..module import get_introspection_module
from ..overrides import override

try:
    from gi.events import GLibEventLoop
except ImportError:
    # PyGObject has a loop of its own since 3.50
    GLibEventLoop = None

Zcio = get_introspection_module('Zcio')

__all__ = ['wrap', 'run', 'new_event_loop']


# --- Memory of Python objects -------------------------------------------------

# To look up what is in a module of introspection takes time
_Bytes = GLib.Bytes
_PoolBuffer = Zcio.Buffer

_owner = Zcio.MemoryOwner.new_for_python()
_wrap_object = Zcio.MemoryOwner.wrap_object
_write_object = Zcio.MemoryOwner.write_object

# A thread that reaps must not look for an interpreter that is gone. The objects that
# are still locked then stay where they are until the process ends.
atexit.register(_owner.close)

# Of these the class tells at once that they are not GLib's
_PLAIN_TYPES = frozenset((bytearray, bytes, memoryview))


def _check_memory(obj, name):
    """Raises what says why an object cannot be sent, if it cannot"""
    try:
        with memoryview(obj) as view:
            if view.c_contiguous:
                return
    except TypeError:
        raise TypeError(f'{name}: a GLib.Bytes or an object with the buffer protocol is '
                        f'required, not {type(obj).__name__}') from None
    except (BufferError, ValueError) as error:
        raise ValueError(f'{name}: {error}') from error
    raise ValueError(f'{name}: the memory is not C-contiguous') from None


def _to_bytes(obj, name):
    if isinstance(obj, _Bytes):
        return obj
    if isinstance(obj, _PoolBuffer):
        return obj.to_bytes()
    try:
        return _wrap_object(_owner, id(obj))
    except GLib.Error:
        _check_memory(obj, name)
        raise


def _write(stream, obj, name, cancellable):
    if type(obj) not in _PLAIN_TYPES and isinstance(obj, (_Bytes, _PoolBuffer)):
        return _write_zerocopy(stream, _to_bytes(obj, name), cancellable)
    # What is most often sent goes the shortest way
    try:
        return _write_object(_owner, stream, id(obj), cancellable)
    except GLib.Error:
        _check_memory(obj, name)
        raise


def wrap(obj):
    """Makes a GLib.Bytes of the memory of an object, without a copy.

    The object may be anything that has the buffer protocol and is C-contiguous. It is
    kept, and locked against resizing, until the last reference to the GLib.Bytes is
    gone, that of a stream included.
    """
    return _to_bytes(obj, 'obj')


def _to_bytes_list(objects, name):
    if isinstance(objects, (bytes, bytearray, memoryview, str)):
        raise TypeError(f'{name}: a sequence of buffers is required, not '
                        f'{type(objects).__name__}')
    try:
        objects = list(objects)
    except TypeError:
        raise TypeError(f'{name}: a sequence of buffers is required, not '
                        f'{type(objects).__name__}') from None
    if not objects:
        raise ValueError(f'{name}: there must be at least one buffer')
    return [_to_bytes(obj, f'{name}[{i}]') for i, obj in enumerate(objects)]


def _check_size(value, name, maximum=GLib.MAXSIZE):
    try:
        value = value.__index__()
    except AttributeError:
        raise TypeError(f'{name}: a number is required, not {type(value).__name__}') from None
    if not 0 <= value <= maximum:
        raise ValueError(f'{name}: {value} is not in the range from 0 to {maximum}')
    return value


class MemoryOwner(Zcio.MemoryOwner):
    def wrap(self, address, size, token):
        address = _check_size(address, 'address')
        size = _check_size(size, 'size', GLib.MAXSIZE - address)
        if address == 0 and size > 0:
            raise ValueError('address: 0 is no address')
        return super().wrap(address, size, token)

    def wrap_object(self, obj):
        return super().wrap_object(id(obj))

    def write_object(self, stream, obj, cancellable=None):
        return super().write_object(stream, id(obj), cancellable)


MemoryOwner = override(MemoryOwner)
__all__.append('MemoryOwner')


# --- Buffers of a pool --------------------------------------------------------

class BufferPool(Zcio.BufferPool):
    @classmethod
    def new(cls, buffer_size):
        return cls(buffer_size)

    def __init__(self, buffer_size=1024 * 1024, **properties):
        maximum = Zcio.BufferPool.find_property('buffer-size').maximum
        if _check_size(buffer_size, 'buffer_size', maximum) == 0:
            raise ValueError('buffer_size: 0 is not allowed')
        super().__init__(buffer_size=buffer_size, **properties)


BufferPool = override(BufferPool)
__all__.append('BufferPool')


class Buffer(Zcio.Buffer):
    """Memory of a pool that may be written to, until to_bytes() is called."""

    _memory = None
    _is_bytes = False

    def __len__(self):
        return self.get_size()

    def _check(self):
        if self._is_bytes:
            raise ValueError('the buffer must not be written to any more')

    @property
    def memory(self):
        """The memory, as a writable memoryview.

        It, and what was made of it, must be released before to_bytes() is called.
        """
        self._check()
        array = self._memory() if self._memory is not None else None
        if array is None:
            size = self.get_size()
            array = _memory_type(size).from_address(super().get_address())
            # As long as there is a view, the memory may not go back to the pool
            array.buffer = self
            self._memory = weakref.ref(array)
        return memoryview(array).cast('B')

    def get_address(self):
        self._check()
        return super().get_address()

    def get_data(self):
        self._check()
        return super().get_data()

    def set_contents(self, offset, data):
        self._check()
        with memoryview(data) as source, source.cast('B') as source, self.memory as memory:
            offset = _check_size(offset, 'offset', len(memory))
            if len(source) > len(memory) - offset:
                raise ValueError(f'data: {len(source)} bytes do not fit at offset {offset}')
            memory[offset:offset + len(source)] = source

    def to_bytes(self, size=None):
        """Makes a GLib.Bytes of the first `size` bytes: of all, unless it is given."""
        self._check()
        size = _check_size(self.get_size() if size is None else size, 'size', self.get_size())
        if self._memory is not None and self._memory() is not None:
            raise BufferError('a view of the buffer has not been released')
        self._is_bytes = True
        return super().to_bytes(size)


def _memory_type(size, types={}):
    # A class of its own, because the instances of ctypes' take no attributes
    if size not in types:
        types[size] = type('Memory', (ctypes.c_ubyte * size,), {})
    return types[size]


Buffer = override(Buffer)
__all__.append('Buffer')


# --- Statistics ---------------------------------------------------------------

class Statistics(Zcio.Statistics):
    """What a stream did so far: a snapshot."""

    _names = tuple(info.get_name() for info in Zcio.Statistics.__info__.get_fields()
                   if info.get_name() != 'padding')

    def as_dict(self):
        return {name: getattr(self, name) for name in self._names}

    def __str__(self):
        return self.to_string()

    def __repr__(self):
        fields = ', '.join(f'{name}={value}' for name, value in self.as_dict().items())
        return f'Zcio.Statistics({fields})'

    def __eq__(self, other):
        if not isinstance(other, Zcio.Statistics):
            return NotImplemented
        return self.as_dict() == other.as_dict()

    __hash__ = None


Statistics = override(Statistics)
__all__.append('Statistics')


# --- Event loops --------------------------------------------------------------

class _Selector(selectors.EpollSelector):
    """Waits in a GLib.MainContext, which so runs whenever asyncio waits.

    An epoll descriptor can be polled itself, so the context needs to watch no other.
    """

    def __init__(self, context):
        super().__init__()
        self._context = context

        self._readable = GLib.unix_fd_source_new(self.fileno(), GLib.IOCondition.IN)
        self._readable.set_callback(lambda *args: GLib.SOURCE_CONTINUE)
        self._readable.attach(context)

        # Only its ready time is used
        self._timer = GLib.timeout_source_new_seconds(24 * 60 * 60)
        self._timer.set_callback(lambda *args: GLib.SOURCE_CONTINUE)
        self._timer.attach(context)

    def select(self, timeout=None):
        may_block = timeout is None or timeout > 0
        ready_time = -1
        if timeout is not None and timeout > 0:
            ready_time = GLib.get_monotonic_time() + int(timeout * 1000000) + 1

        self._timer.set_ready_time(ready_time)
        self._context.iteration(may_block)
        return super().select(0)

    def close(self):
        self._readable.destroy()
        self._timer.destroy()
        super().close()


class _EventLoop(asyncio.SelectorEventLoop):
    def __init__(self, context):
        super().__init__(_Selector(context))
        self._context = context

    def run_forever(self):
        # What is begun in this loop must come back to it
        self._context.push_thread_default()
        try:
            super().run_forever()
        finally:
            self._context.pop_thread_default()


def new_event_loop(context=None):
    """Makes an asyncio event loop that runs a GLib.MainContext.

    This is PyGObject's own where it has one (3.50 and later). The context is, unless
    given, the thread's default; a thread that has none gets a new one.
    """
    if context is None:
        context = GLib.MainContext.get_thread_default()
    if context is None:
        if threading.current_thread() is threading.main_thread():
            context = GLib.MainContext.default()
        else:
            context = GLib.MainContext.new()
    if GLibEventLoop is not None:
        return GLibEventLoop(context)
    return _EventLoop(context)


def _close_event_loop(loop):
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())


def run(main):
    """asyncio.run() with an event loop of new_event_loop().

    In this loop signals and completion watches of streams are served, too. The loop of
    asyncio.run() does for `await`, but knows nothing of GLib's sources.
    """
    loop = new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        try:
            _close_event_loop(loop)
        finally:
            loop.close()


def _runs_main_context(loop):
    return isinstance(loop, _EventLoop) or (
        GLibEventLoop is not None and isinstance(loop, GLibEventLoop))


def _in_event_loop():
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@contextmanager
def _linked(cancellable):
    """A cancellable of our own that follows the caller's"""
    own = Gio.Cancellable()
    if cancellable is None:
        yield own
        return
    handler = GObject.Object.connect(cancellable, 'cancelled', lambda *args: own.cancel())
    try:
        if cancellable.is_cancelled():
            own.cancel()
        yield own
    finally:
        GObject.Object.disconnect(cancellable, handler)


def _begin(loop, start, finish, cancellable):
    future = loop.create_future()

    def on_result(stream, result, *args):
        try:
            value = finish(result)
        except Exception as error:
            if not future.done():
                # Its traceback is of no use, and would keep the result and its buffers
                future.set_exception(error.with_traceback(None))
        else:
            if not future.done():
                future.set_result(value)

    start(cancellable, on_result)
    return future


async def _complete(start, finish, block, cancellable):
    """Awaits an operation: start (cancellable, callback) and finish (result) where the
    loop runs GLib's sources, else block (cancellable) in a thread."""
    loop = asyncio.get_running_loop()
    with _linked(cancellable) as cancellable:
        if _runs_main_context(loop):
            future = _begin(loop, start, finish, cancellable)
        else:
            future = loop.run_in_executor(None, block, cancellable)
        # Who keeps the exception keeps this frame; it must not keep the buffers
        start = block = None
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # The stream is busy until the operation has come to its end
            cancellable.cancel()
            while not future.done():
                try:
                    await asyncio.wait([future])
                except asyncio.CancelledError:
                    pass
            if not future.cancelled():
                future.exception()
            raise


# --- Streams ------------------------------------------------------------------

class CompletionSource(GLib.Source):
    """A source whose callback gets (stream, sends, bytes, *user_data)"""

    def __new__(cls, stream, cancellable=None):
        source = _create_completion_source(stream, cancellable)
        source.__class__ = cls
        return source

    def __init__(self, stream, cancellable=None):
        pass

    def set_callback(self, fn, *user_data):
        if not callable(fn):
            raise TypeError(f'fn: a function is required, not {type(fn).__name__}')
        GObject.source_set_closure(
            self, lambda *args: bool(fn(*args, *user_data)))


__all__.append('CompletionSource')

_create_completion_source = Zcio.SocketStream.create_completion_source
_write_zerocopy = Zcio.SocketStream.write_zerocopy
_writev_zerocopy = Zcio.SocketStream.writev_zerocopy
_writev_zerocopy_async = Zcio.SocketStream.writev_zerocopy_async
_writev_zerocopy_nonblocking = Zcio.SocketStream.writev_zerocopy_nonblocking


def _skip(buffers, n):
    """What comes after n bytes"""
    for i, buffer in enumerate(buffers):
        size = buffer.get_size()
        if n < size:
            return [_Bytes.new_from_bytes(buffer, n, size - n), *buffers[i + 1:]]
        n -= size
    return []


class SocketStream(Zcio.SocketStream):
    def __init__(self, socket=None, **properties):
        if not isinstance(socket, Gio.Socket):
            raise TypeError(f'socket: a Gio.Socket is required, not {type(socket).__name__}')
        super().__init__(socket=socket, **properties)

    # Sending

    def send(self, *buffers, cancellable=None):
        """Sends objects one after the other, without a copy where that pays.

        Returns how many bytes the kernel has accepted, which is all of them.
        """
        if len(buffers) == 1:
            return _write(self, buffers[0], 'buffers[0]', cancellable)[1]
        return _writev_zerocopy(self, _to_bytes_list(buffers, 'buffers'), cancellable)[1]

    async def send_async(self, *buffers, io_priority=GLib.PRIORITY_DEFAULT, cancellable=None):
        """Like send(), in asyncio.

        If the task is cancelled, what was accepted by then is sent all the same.
        """
        buffers = _to_bytes_list(buffers, 'buffers')
        written = 0
        # Another one must not be interrupted: what is told of that is told below
        if not self.has_pending():
            written = _writev_zerocopy_nonblocking(self, buffers, cancellable)[1]
            buffers = _skip(buffers, written)
        if buffers:
            return written + (await self._writev(buffers, io_priority, cancellable))[1]
        # Most often there is nothing to wait for, but others have their turn
        await asyncio.sleep(0)
        return written

    def _writev(self, buffers, io_priority, cancellable):
        return _complete(
            lambda cancellable, callback: _writev_zerocopy_async(
                self, buffers, io_priority, cancellable, callback),
            self.writev_zerocopy_finish,
            lambda cancellable: _writev_zerocopy(self, buffers, cancellable),
            cancellable)

    def write_zerocopy(self, buffer, cancellable=None):
        return _write(self, buffer, 'buffer', cancellable)

    def writev_zerocopy(self, buffers, cancellable=None):
        return _writev_zerocopy(self, _to_bytes_list(buffers, 'buffers'), cancellable)

    def writev_zerocopy_nonblocking(self, buffers, cancellable=None):
        return super().writev_zerocopy_nonblocking(_to_bytes_list(buffers, 'buffers'), cancellable)

    def send_message(self, buffer, messages=None, cancellable=None):
        return super().send_message(_to_bytes(buffer, 'buffer'), messages, cancellable)

    # Asynchronous calls of GIO's kind: with a callback, or awaited in an event loop

    def writev_zerocopy_async(self, buffers, io_priority=GLib.PRIORITY_DEFAULT,
                              cancellable=None, callback=None, *user_data):
        buffers = _to_bytes_list(buffers, 'buffers')
        if callback is None and _in_event_loop():
            return self._writev(buffers, io_priority, cancellable)
        return super().writev_zerocopy_async(buffers, io_priority, cancellable, callback,
                                             *user_data)

    def drain(self, max_bytes_in_flight=0, cancellable=None):
        """Waits until no more than so many bytes are in flight."""
        return super().drain(max_bytes_in_flight, cancellable)

    def drain_async(self, max_bytes_in_flight=0, io_priority=GLib.PRIORITY_DEFAULT,
                    cancellable=None, callback=None, *user_data):
        start = super().drain_async
        if callback is None and _in_event_loop():
            return _complete(
                lambda cancellable, callback: start(
                    max_bytes_in_flight, io_priority, cancellable, callback),
                self.drain_finish,
                lambda cancellable: self.drain(max_bytes_in_flight, cancellable),
                cancellable)
        return start(max_bytes_in_flight, io_priority, cancellable, callback, *user_data)

    def flush_async(self, io_priority=GLib.PRIORITY_DEFAULT, cancellable=None,
                    callback=None, *user_data):
        start = super().flush_async
        if callback is None and _in_event_loop():
            return _complete(
                lambda cancellable, callback: start(io_priority, cancellable, callback),
                self.flush_finish, self.flush, cancellable)
        return start(io_priority, cancellable, callback, *user_data)

    def close_async(self, io_priority=GLib.PRIORITY_DEFAULT, cancellable=None,
                    callback=None, *user_data):
        start = super().close_async
        if callback is None and _in_event_loop():
            return _complete(
                lambda cancellable, callback: start(io_priority, cancellable, callback),
                self.close_finish, self.close, cancellable)
        return start(io_priority, cancellable, callback, *user_data)

    # Closing

    def _close_at_once(self):
        # What is in flight comes back in the background
        cancellable = Gio.Cancellable()
        cancellable.cancel()
        try:
            self.close(cancellable)
        except GLib.Error:
            # That it was cancelled is no news, and the stream is closed all the same
            pass

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        """Closes the stream, and waits for the kernel unless an error is on its way."""
        if kind is None:
            self.close(None)
        else:
            self._close_at_once()

    async def __aenter__(self):
        return self

    async def __aexit__(self, kind, error, traceback):
        if kind is not None:
            self._close_at_once()
        elif not self.is_closed():
            await self.close_async()

    # Completions

    def create_completion_source(self, cancellable=None):
        return CompletionSource(self, cancellable)

    @property
    def statistics(self):
        """What was done so far: a snapshot"""
        return self.get_statistics()


SocketStream = override(SocketStream)
__all__.append('SocketStream')
