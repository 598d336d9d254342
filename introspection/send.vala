/* send.vala - sends a file without copying it, in Vala
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * valac --pkg zcio-1 --pkg gio-2.0 send.vala; ./send HOST PORT FILE
 */

const size_t BLOCK = 1024 * 1024;

async void send_file (string host, uint16 port, string path) throws Error {
    var data = new MappedFile (path, false).get_bytes ();
    var connection = yield new SocketClient ().connect_to_host_async (host, port);
    var stream = new Zcio.SocketStream (connection.socket);

    stream.completed.connect ((sends, bytes, zero_copied) => {
        stderr.printf ("released %s bytes, %s\n", bytes.to_string (),
                       zero_copied ? "without a copy" : "copied by the kernel");
    });
    for (size_t at = 0; at < data.get_size (); at += BLOCK) {
        size_t bytes_written;
        Bytes[] blocks = { data.slice (at, size_t.min (at + BLOCK, data.get_size ())) };

        yield stream.writev_zerocopy_async (blocks, Priority.DEFAULT, null, out bytes_written);
    }
    yield stream.drain_async ();
    print ("%s\n", stream.get_statistics ().to_string ());
    stream.close ();
    connection.close ();
}

int main (string[] args) {
    var loop = new MainLoop ();
    int status = 0;

    if (args.length != 4) {
        stderr.printf ("usage: send HOST PORT FILE\n");
        return 2;
    }
    send_file.begin (args[1], (uint16) int.parse (args[2]), args[3], (object, result) => {
        try {
            send_file.end (result);
        } catch (Error error) {
            stderr.printf ("%s\n", error.message);
            status = 1;
        }
        loop.quit ();
    });
    loop.run ();
    return status;
}
