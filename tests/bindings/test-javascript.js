// test-javascript.js - sending, completions and errors in JavaScript
//
// SPDX-FileCopyrightText: The zcio authors
// SPDX-License-Identifier: LGPL-2.1-or-later

imports.gi.versions.Zcio = '1';
const {Gio, GLib, GObject, Zcio} = imports.gi;

for (const name of ['writev_zerocopy', 'drain'])
    Gio._promisify(Zcio.SocketStream.prototype, `${name}_async`, `${name}_finish`);
Gio._promisify(Gio.OutputStream.prototype, 'close_async', 'close_finish');

const MIB = 1024 * 1024;
const PATTERN = GLib.Bytes.new(Uint8Array.from({length: MIB}, (_, i) => (i * 7 + (i >> 8)) % 256));

class Receiver {
    constructor(...args) {
        this.process = Gio.Subprocess.new(
            [GLib.getenv('ZCIO_PYTHON'), GLib.getenv('ZCIO_RECEIVER'), ...args],
            Gio.SubprocessFlags.STDIN_PIPE | Gio.SubprocessFlags.STDOUT_PIPE);
        this.output = new Gio.DataInputStream({base_stream: this.process.get_stdout_pipe()});
        this.port = parseInt(this.line());
    }

    line() {
        return this.output.read_line_utf8(null)[0];
    }

    stream() {
        const socket = Gio.Socket.new(Gio.SocketFamily.IPV4, Gio.SocketType.STREAM,
            Gio.SocketProtocol.TCP);
        socket.connect(Gio.InetSocketAddress.new_from_string('127.0.0.1', this.port), null);
        return new Zcio.SocketStream({socket, zero_copy_mode: Zcio.ZeroCopyMode.ALWAYS});
    }

    tell(word) {
        this.process.get_stdin_pipe().write_all(`${word}\n`, null);
    }
}

function expected(...buffers) {
    const checksum = GLib.Checksum.new(GLib.ChecksumType.SHA256);
    let size = 0;
    for (const buffer of buffers) {
        checksum.update(buffer.toArray());
        size += buffer.get_size();
    }
    return `${size} ${checksum.get_string()}`;
}

function assert(condition, text) {
    if (!condition)
        throw new Error(`not so: ${text}`);
}

function assertEqual(a, b) {
    assert(a === b, `${a} is ${b}`);
}

function assertIOError(error, ...codes) {
    assert(codes.some(code => error.matches && error.matches(Gio.io_error_quark(), code)),
        `the error is one of ${codes}: ${error}`);
}

async function assertFails(call, ...codes) {
    let error = null;
    try {
        await call();
    } catch (e) {
        error = e;
    }
    assert(error !== null, 'it fails');
    assertIOError(error, ...codes);
}

function waitUntil(condition) {
    const context = GLib.MainContext.default();
    const deadline = GLib.get_monotonic_time() + 60 * GLib.USEC_PER_SEC;
    const timer = GLib.timeout_add(GLib.PRIORITY_DEFAULT, 100, () => GLib.SOURCE_CONTINUE);
    while (!condition()) {
        assert(GLib.get_monotonic_time() < deadline, 'it came to pass');
        context.iteration(true);
    }
    GLib.source_remove(timer);
}

// Sends five times, and waits until the completions of all have been told
function sendAndCount(begin) {
    const receiver = new Receiver();
    const stream = receiver.stream();
    let bytes = 0;
    const end = begin(stream, (...args) => {
        assertEqual(args.length >= 3, true);
        assert(args[0] === stream, 'the stream is the first argument');
        assert(args[1] > 0, 'there are sends');
        bytes += args[2];
        return GLib.SOURCE_CONTINUE;
    });
    for (let i = 0; i < 5; i++)
        stream.write_zerocopy(PATTERN, null);
    waitUntil(() => bytes === 5 * MIB);
    end();
    stream.close(null);
    stream.socket.close();
    assertEqual(receiver.line(), expected(PATTERN, PATTERN, PATTERN, PATTERN, PATTERN));
}

const tests = {
    'transfer': () => {
        const receiver = new Receiver();
        const stream = receiver.stream();
        const [, n] = stream.writev_zerocopy([PATTERN, GLib.Bytes.new([1, 2, 3]), PATTERN], null);
        assertEqual(n, 2 * MIB + 3);
        assert(stream.drain(0, null), 'drained');
        const statistics = stream.get_statistics();
        assertEqual(statistics.bytes_written, n);
        assertEqual(statistics.bytes_copied_by_choice, 0);
        assertEqual(statistics.bytes_in_flight, 0);
        assertEqual(stream.bytes_in_flight, 0);
        stream.close(null);
        stream.socket.close();
        assertEqual(receiver.line(), expected(PATTERN, GLib.Bytes.new([1, 2, 3]), PATTERN));
    },

    'promises': async () => {
        const receiver = new Receiver();
        const stream = receiver.stream();
        for (let i = 0; i < 20; i++) {
            const [n] = await stream.writev_zerocopy_async([PATTERN], GLib.PRIORITY_DEFAULT, null);
            assertEqual(n, MIB);
        }
        await stream.drain_async(0, GLib.PRIORITY_DEFAULT, null);
        assertEqual(stream.sends_in_flight, 0);
        await stream.close_async(GLib.PRIORITY_DEFAULT, null);
        stream.socket.close();
        assertEqual(receiver.line(), expected(...new Array(20).fill(PATTERN)));
    },

    'completions by signal': () => sendAndCount((stream, callback) => {
        const id = stream.connect('completed', callback);
        return () => stream.disconnect(id);
    }),

    'completions by watch': () => sendAndCount((stream, callback) => {
        const id = stream.add_completion_watch(GLib.PRIORITY_DEFAULT, callback);
        return () => GLib.source_remove(id);
    }),

    'completions by source closure': () => sendAndCount((stream, callback) => {
        const source = stream.create_completion_source(null);
        GObject.source_set_closure(source, callback);
        source.attach(null);
        return () => source.destroy();
    }),

    'error: closed': async () => {
        const stream = new Receiver().stream();
        stream.close(null);
        await assertFails(() => stream.write_zerocopy(PATTERN, null), Gio.IOErrorEnum.CLOSED);
        await assertFails(() => stream.writev_zerocopy_async([PATTERN], 0, null),
            Gio.IOErrorEnum.CLOSED);
    },

    'error: reset': async () => {
        const receiver = new Receiver('--paused');
        const stream = receiver.stream();
        stream.write_zerocopy(GLib.Bytes.new([1]), null);
        receiver.tell('reset');
        assertEqual(receiver.line(), 'reset');
        await assertFails(() => {
            for (;;)
                stream.write_zerocopy(PATTERN, null);
        }, Gio.IOErrorEnum.CONNECTION_CLOSED, Gio.IOErrorEnum.BROKEN_PIPE);
    },

    'cancelled': async () => {
        const receiver = new Receiver('--paused');
        const stream = receiver.stream();
        const cancellable = new Gio.Cancellable();
        const sending = stream.writev_zerocopy_async(new Array(64).fill(PATTERN), 0, cancellable);
        waitUntil(() => stream.bytes_in_flight > 0);
        cancellable.cancel();
        await assertFails(() => sending, Gio.IOErrorEnum.CANCELLED);
        await assertFails(() => stream.drain(0, cancellable), Gio.IOErrorEnum.CANCELLED);
        receiver.tell('read');
        await stream.drain_async(0, 0, null);
        assertEqual(stream.bytes_in_flight, 0);
    },

    'bad input': () => {
        const stream = new Receiver().stream();
        const calls = [
            () => stream.write_zerocopy(null, null),
            () => stream.write_zerocopy('text', null),
            () => stream.write_zerocopy(5, null),
            () => stream.writev_zerocopy(null, null),
            () => stream.writev_zerocopy([null], null),
            () => stream.writev_zerocopy([5], null),
            () => stream.writev_zerocopy('text', null),
            () => stream.drain('text', 5),
            () => stream.add_completion_watch(0, null),
            () => Zcio.SocketStream.new(null),
            () => Zcio.MemoryOwner.new(null),
        ];
        for (const call of calls) {
            let failed = false;
            try {
                call();
            } catch (error) {
                failed = true;
            }
            assert(failed, `${call} throws`);
        }
        assertEqual(stream.writev_zerocopy([], null)[1], 0);
    },

    'buffers of a pool': () => {
        const receiver = new Receiver();
        const stream = receiver.stream();
        const pool = Zcio.BufferPool.new(MIB);
        const buffer = pool.acquire();
        buffer.set_contents(0, PATTERN.toArray());
        stream.write_zerocopy(buffer.to_bytes(MIB), null);
        stream.close(null);
        stream.socket.close();
        assertEqual(receiver.line(), expected(PATTERN));
    },
};

const loop = new GLib.MainLoop(null, false);
let failures = 0;

async function run() {
    let number = 0;
    print(`1..${Object.keys(tests).length}`);
    for (const [name, test] of Object.entries(tests)) {
        number++;
        try {
            await test();
            print(`ok ${number} ${name}`);
        } catch (error) {
            failures++;
            print(`# ${error}\n# ${error.stack.trim().replace(/\n/g, '\n# ')}`);
            print(`not ok ${number} ${name}`);
        }
    }
    loop.quit();
}

// Not before the loop runs, or it could not be left
GLib.idle_add(GLib.PRIORITY_DEFAULT, () => {
    run();
    return GLib.SOURCE_REMOVE;
});
loop.run();
imports.system.exit(failures > 0 ? 1 : 0);
