/* test-vala.vala - sending, completions and errors in Vala
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

const int MIB = 1024 * 1024;

Bytes pattern;

class Receiver {
    Subprocess process;
    DataInputStream output;
    uint16 port;

    public Receiver (string? argument = null) throws Error {
        process = new Subprocess (SubprocessFlags.STDIN_PIPE | SubprocessFlags.STDOUT_PIPE,
                                  Environment.get_variable ("ZCIO_PYTHON"),
                                  Environment.get_variable ("ZCIO_RECEIVER"), argument);
        output = new DataInputStream (process.get_stdout_pipe ());
        port = (uint16) int.parse (line ());
    }

    public string line () throws Error {
        return output.read_line ();
    }

    public Zcio.SocketStream stream () throws Error {
        var socket = new Socket (SocketFamily.IPV4, SocketType.STREAM, SocketProtocol.TCP);
        socket.connect (new InetSocketAddress.from_string ("127.0.0.1", port));
        var stream = new Zcio.SocketStream (socket);
        stream.zero_copy_mode = Zcio.ZeroCopyMode.ALWAYS;
        return stream;
    }

    public void tell (string word) throws Error {
        process.get_stdin_pipe ().write_all ((word + "\n").data, null);
    }
}

string expected (int n) {
    var checksum = new Checksum (ChecksumType.SHA256);
    for (int i = 0; i < n; i++)
        checksum.update (pattern.get_data (), pattern.get_size ());
    return "%d %s".printf (n * MIB, checksum.get_string ());
}

void close_both (Zcio.SocketStream stream) throws Error {
    stream.close ();
    stream.socket.close ();
}

delegate bool Condition ();

void wait_until (Condition condition) {
    var context = MainContext.default ();
    var deadline = get_monotonic_time () + 60 * TimeSpan.SECOND;
    var timer = Timeout.add (100, () => Source.CONTINUE);
    while (!condition ()) {
        assert (get_monotonic_time () < deadline);
        context.iteration (true);
    }
    Source.remove (timer);
}

void send_five_times (Zcio.SocketStream stream) throws Error {
    for (int i = 0; i < 5; i++) {
        size_t bytes_written;
        assert (stream.write_zerocopy (pattern, out bytes_written));
        assert (bytes_written == MIB);
    }
}

void test_transfer () {
    try {
        var receiver = new Receiver ();
        var stream = receiver.stream ();
        size_t bytes_written;

        assert (stream.writev_zerocopy ({ pattern, pattern }, out bytes_written));
        assert (bytes_written == 2 * MIB);
        assert (stream.drain ());
        var statistics = stream.get_statistics ();
        assert (statistics.bytes_written == 2 * MIB);
        assert (statistics.bytes_copied_by_choice == 0);
        assert (statistics.bytes_in_flight == 0);
        assert (stream.bytes_in_flight == 0);
        close_both (stream);
        assert (receiver.line () == expected (2));
    } catch (Error error) {
        assert_no_error (error);
    }
}

async void send_async (Zcio.SocketStream stream) throws Error {
    for (int i = 0; i < 20; i++) {
        size_t bytes_written;
        assert (yield stream.writev_zerocopy_async ({ pattern }, Priority.DEFAULT, null, out bytes_written));
        assert (bytes_written == MIB);
    }
    assert (yield stream.drain_async ());
    assert (stream.sends_in_flight == 0);
    assert (yield stream.close_async ());
}

void test_async () {
    try {
        var receiver = new Receiver ();
        var stream = receiver.stream ();
        AsyncResult? result = null;

        send_async.begin (stream, (object, r) => { result = r; });
        wait_until (() => result != null);
        send_async.end (result);
        stream.socket.close ();
        assert (receiver.line () == expected (20));
    } catch (Error error) {
        assert_no_error (error);
    }
}

void test_signal () {
    try {
        var receiver = new Receiver ();
        var stream = receiver.stream ();
        uint64 sum = 0;

        stream.completed.connect ((s, sends, bytes, zero_copied) => {
            assert (s == stream);
            assert (sends > 0);
            sum += bytes;
        });
        send_five_times (stream);
        wait_until (() => sum == 5 * MIB);
        close_both (stream);
        assert (receiver.line () == expected (5));
    } catch (Error error) {
        assert_no_error (error);
    }
}

void test_watch () {
    try {
        var receiver = new Receiver ();
        var stream = receiver.stream ();
        uint64 sum = 0;

        var id = stream.add_completion_watch (Priority.DEFAULT, (s, sends, bytes) => {
            assert (s == stream);
            assert (sends > 0);
            sum += bytes;
            return Source.CONTINUE;
        });
        send_five_times (stream);
        wait_until (() => sum == 5 * MIB);
        assert (Source.remove (id));
        close_both (stream);
        assert (receiver.line () == expected (5));
    } catch (Error error) {
        assert_no_error (error);
    }
}

/* With the set_callback() of a plain source this would not compile */
void test_source () {
    try {
        var receiver = new Receiver ();
        var stream = receiver.stream ();
        uint64 sum = 0;

        Zcio.CompletionSource source = stream.create_completion_source ();
        source.set_callback ((s, sends, bytes) => {
            assert (s == stream);
            assert (sends > 0);
            sum += bytes;
            return Source.CONTINUE;
        });
        source.attach (null);
        send_five_times (stream);
        wait_until (() => sum == 5 * MIB);
        source.destroy ();
        close_both (stream);
        assert (receiver.line () == expected (5));
    } catch (Error error) {
        assert_no_error (error);
    }
}

void test_closed () {
    try {
        var stream = new Receiver ().stream ();
        size_t bytes_written;

        stream.close ();
        try {
            stream.write_zerocopy (pattern, out bytes_written);
            assert_not_reached ();
        } catch (IOError.CLOSED error) {
        }
    } catch (Error error) {
        assert_no_error (error);
    }
}

void test_reset () {
    try {
        var receiver = new Receiver ("--paused");
        var stream = receiver.stream ();
        size_t bytes_written;
        bool failed = false;

        stream.write_zerocopy (pattern.slice (0, 1000), out bytes_written);
        receiver.tell ("reset");
        assert (receiver.line () == "reset");
        try {
            while (true)
                stream.write_zerocopy (pattern, out bytes_written);
        } catch (IOError.CONNECTION_CLOSED error) {
            failed = true;
        }
        assert (failed);
    } catch (Error error) {
        assert_no_error (error);
    }
}

void test_cancelled () {
    try {
        var receiver = new Receiver ("--paused");
        var stream = receiver.stream ();
        var cancellable = new Cancellable ();
        AsyncResult? result = null;
        Bytes[] buffers = {};
        size_t bytes_written;

        for (int i = 0; i < 64; i++)
            buffers += pattern;
        stream.writev_zerocopy_async.begin (buffers, Priority.DEFAULT, cancellable, (object, r) => { result = r; });
        wait_until (() => stream.bytes_in_flight > 0);
        cancellable.cancel ();
        wait_until (() => result != null);
        try {
            stream.writev_zerocopy_async.end (result, out bytes_written);
            assert_not_reached ();
        } catch (IOError.CANCELLED error) {
        }
        try {
            stream.drain (0, cancellable);
            assert_not_reached ();
        } catch (IOError.CANCELLED error) {
        }
        receiver.tell ("read");
        stream.drain ();
        assert (stream.bytes_in_flight == 0);
    } catch (Error error) {
        assert_no_error (error);
    }
}

void test_pool () {
    try {
        var receiver = new Receiver ();
        var stream = receiver.stream ();
        var pool = new Zcio.BufferPool (MIB);
        var buffer = pool.acquire ();
        size_t bytes_written;

        Memory.copy (buffer.get_data (), pattern.get_data (), MIB);
        stream.write_zerocopy (buffer.to_bytes (MIB), out bytes_written);
        close_both (stream);
        assert (receiver.line () == expected (1));
    } catch (Error error) {
        assert_no_error (error);
    }
}

int main (string[] args) {
    Test.init (ref args);

    var data = new uint8[MIB];
    for (int i = 0; i < MIB; i++)
        data[i] = (uint8) (i * 7 + (i >> 8));
    pattern = new Bytes.take ((owned) data);

    Test.add_func ("/vala/transfer", test_transfer);
    Test.add_func ("/vala/async", test_async);
    Test.add_func ("/vala/signal", test_signal);
    Test.add_func ("/vala/watch", test_watch);
    Test.add_func ("/vala/source", test_source);
    Test.add_func ("/vala/closed", test_closed);
    Test.add_func ("/vala/reset", test_reset);
    Test.add_func ("/vala/cancelled", test_cancelled);
    Test.add_func ("/vala/pool", test_pool);

    return Test.run ();
}
