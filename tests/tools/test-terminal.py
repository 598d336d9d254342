# test-terminal.py - the bar on a terminal, lines elsewhere, Ctrl-C
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios

from toolcase import *


class Terminal:
    """A program whose standard error (and output) is a pseudo-terminal."""

    def __init__(self, *arguments, columns=100, term='xterm'):
        self.text = ''
        pid, fd = pty.fork()
        if pid == 0:
            # The child: nothing but exec, after the size is set
            environment = dict(ENVIRONMENT, TERM=term)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
            os.execve(TOOL, [TOOL] + [str(a) for a in arguments], environment)
        self.pid, self.fd = pid, fd

    def read(self):
        """FALSE at the end."""
        ready, _, _ = select.select([self.fd], [], [], GUARD)
        if not ready:
            os.kill(self.pid, signal.SIGKILL)
            raise AssertionError('nothing comes from the terminal after %r' % self.text[-300:])
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # EIO: the other side has closed
            data = b''
        self.text += data.decode(errors='replace')
        return bool(data)

    def wait_for(self, pattern):
        while not re.search(pattern, self.text):
            if not self.read():
                raise AssertionError('%r did not come: %r' % (pattern, self.text[-500:]))

    def resize(self, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))

    def type(self, data):
        os.write(self.fd, data)

    def end(self):
        while self.read():
            pass
        os.close(self.fd)
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def frames(self, text=None):
        """What stood in the bar's line, one after the other."""
        text = self.text if text is None else text
        return re.findall('\r([^\r\n]*?)\033\\[K', text)


@case
def bar():
    """A bar with percent, bytes, rate, time left, share of zero-copy and bytes in flight; then the table."""
    with directory() as d:
        source = make_file(d + '/source', 1000000)
        sink = Sink()
        terminal = Terminal('send', '--rate=1M', sink.peer, source, columns=120)
        equal(terminal.end(), 0)
        sink.close()
        frames = [f for f in terminal.frames() if f]
        true(len(frames) >= 5, 'there are %d frames' % len(frames))
        for frame in frames:
            true(len(frame) < 120, 'too long: %r' % frame)
            contains(frame, r'^ *\d+%  \[[#-]{10,40}\]  +[\d.]+ (bytes|kB|MB)  +[\d.]+ (bytes|kB|MB)/s  (\d+:\d\d|--:--) left  zero-copy +\d+%  in flight [\d.]+ ')
        percents = [int(f.split('%')[0]) for f in frames]
        equal(percents, sorted(percents))
        equal(percents[-1], 100)
        fills = [f.count('#') for f in frames]
        equal(fills, sorted(fills))
        table = terminal.text.split('\033[K')[-1]
        contains(table, r'(?m)^\r?\n?sent +1\.0 MB \(1000000 bytes\) to %s' % re.escape(sink.peer))
        contains(table, r'(?m)^ENOBUFS met +\d+')


@case
def narrow_terminals():
    """No frame is wider than the terminal, whatever its width."""
    with directory() as d:
        source = make_file(d + '/source', 200000)
        for columns in 1, 5, 20, 40, 80, 300:
            sink = Sink()
            terminal = Terminal('send', '--rate=500K', sink.peer, source, columns=columns)
            equal(terminal.end(), 0)
            sink.close()
            frames = terminal.frames()
            true(len(frames) >= 2, 'there are no frames')
            for frame in frames:
                true(len(frame) < columns, '%d columns: %r' % (columns, frame))


@case
def resize():
    """After the window changes, the frames fit it."""
    with directory() as d:
        source = make_file(d + '/source', 100000000)
        sink = Sink()
        terminal = Terminal('send', '--rate=1M', sink.peer, source, columns=150)
        terminal.wait_for('in flight')
        for columns in 30, 100:
            terminal.resize(columns)
            # The first frames may have been drawn before.
            terminal.text = ''
            while len(terminal.frames()) < 4:
                true(terminal.read(), 'it ended early')
            for frame in terminal.frames()[2:]:
                true(len(frame) < columns, '%d columns: %r' % (columns, frame))
        contains(terminal.frames()[-1], 'left  zero-copy')
        terminal.type(b'\x03')
        equal(terminal.end(), 130)
        sink.close()


@case
def control_c():
    """Ctrl-C ends the transfer, with the table so far and exit code 130; the receiver sees a reset."""
    with directory() as d:
        source = make_file(d + '/source', 100000000)
        sink = Sink()
        terminal = Terminal('send', '--rate=2M', sink.peer, source)
        terminal.wait_for(r'%.* [\d.]+ [kM]B ')
        terminal.type(b'\x03')
        equal(terminal.end(), 130)
        sink.close()
        contains(terminal.text, r'\nsent, not all +.*to %s in' % re.escape(sink.peer))
        contains(terminal.text, r'\nzero-copied +')
        true('zcio: ' not in terminal.text, 'an interruption is no error: %r' % terminal.text[-300:])
        true(isinstance(sink.error, ConnectionResetError), 'the receiver saw %r' % sink.error)


@case
def control_c_while_nothing_moves():
    """Ctrl-C works while the peer does not read, in each mode, and while standard input is silent."""
    with directory() as d:
        source = make_file(d + '/source', 60000000)
        for mode in 'auto', 'always', 'never':
            sink = Sink(limit=1, after='stall')
            terminal = Terminal('send', '--zero-copy=' + mode, sink.peer, source)
            true(sink.reached.wait(GUARD), 'it began')
            terminal.wait_for('%')
            terminal.type(b'\x03')
            equal(terminal.end(), 130, mode)
            sink.close()
        sink = Sink()
        terminal = Terminal('send', sink.peer, '-')
        terminal.wait_for('0 bytes')
        terminal.type(b'\x03')
        equal(terminal.end(), 130)
        sink.close()


@case
def receiver_on_a_terminal():
    """The receiver has a bar without what it cannot know, and ends at Ctrl-C."""
    with directory() as d:
        port = free_port('127.0.0.1')
        terminal = Terminal('receive', '-o', d + '/target', port)
        terminal.wait_for('zcio: Listening on ')
        wait_listening(port)
        end(start('send', '-q', '127.0.0.1:%d' % port, make_file(d + '/source', 500000)))
        terminal.wait_for(r'received +500\.0 kB \(500000 bytes\) from')
        terminal.type(b'\x03')
        equal(terminal.end(), 0)
        true(not re.search('zero-copy|left', terminal.text), 'it says too much: %r' % terminal.text)


@case
def no_bar_between_the_bytes():
    """What is received onto the terminal itself has no bar in it."""
    port = free_port('127.0.0.1')
    with directory() as d:
        with open(d + '/source', 'w') as f:
            f.write('hello\n')
        terminal = Terminal('receive', '--once', port)
        wait_listening(port)
        end(start('send', '-q', '127.0.0.1:%d' % port, d + '/source'))
        equal(terminal.end(), 0)
        equal(terminal.frames(), [])
        contains(terminal.text, r'Listening on \S+\r\nhello\r\nreceived ')


@case
def dumb_terminal():
    """A terminal without control sequences gets none."""
    with directory() as d:
        sink = Sink()
        terminal = Terminal('send', sink.peer, make_file(d + '/source', 1000), term='dumb')
        equal(terminal.end(), 0)
        sink.close()
        true('\033' not in terminal.text, repr(terminal.text))


@case
def lines_elsewhere():
    """Without a terminal: a plain line now and then, and the table at the end, all on standard error."""
    with directory() as d:
        sink = Sink()
        out, err = end(start('send', '--rate=1M', sink.peer, make_file(d + '/source', 1600000)))
        sink.close()
        equal(out, '')
        lines = err.splitlines()
        contains(lines[0], r'^zcio: sent [\d.]+ MB|kB \(\d+ %\), [\d.]+ .B/s, zero-copy \d+ %, in flight ')
        contains(lines[1], '^sent +1.6 MB')
        true('\033' not in err and '\r' not in err, repr(err))


@case
def quiet():
    """With --quiet there is nothing, on a terminal or off."""
    with directory() as d:
        source = make_file(d + '/source', 300000)
        sink = Sink()
        terminal = Terminal('send', '--quiet', '--rate=1M', sink.peer, source)
        equal(terminal.end(), 0)
        sink.close()
        equal(terminal.text, '')
        sink = Sink()
        equal(end(start('send', '-q', sink.peer, source)), ('', ''))
        sink.close()


@case
def json_on_a_terminal():
    """--json goes to standard output as it is, whatever standard error shows."""
    with directory() as d:
        sink = Sink()
        terminal = Terminal('send', '--quiet', '--json', sink.peer, make_file(d + '/source', 300000))
        equal(terminal.end(), 0)
        sink.close()
        equal([v['bytes'] for v in parse_json(terminal.text)], [300000])


main()
