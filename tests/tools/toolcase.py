# toolcase.py - what the tests of the zcio program share
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""A case is a function with @case; its doc string says what it shows."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import tap

# Only against a hang: nothing that is tested takes nearly as long.
GUARD = 120

TOOL = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else 'zcio'
SCHEMA = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 else None
WIRE = os.path.abspath(sys.argv[3]) if len(sys.argv) > 3 and sys.argv[3] else None

ENVIRONMENT = dict(os.environ, LC_ALL='C.UTF-8')
ENVIRONMENT.pop('TERM', None)

HAVE_IPV6 = os.path.exists('/proc/net/if_inet6') and '00000000000000000000000000000001' in open('/proc/net/if_inet6').read()
FAMILIES = {'ipv4': '127.0.0.1', 'ipv6': '::1'}

_cases = []
_started = []

Skip = unittest.SkipTest


def case(function):
    _cases.append(function)
    return function


def need_program(name):
    path = shutil.which(name, path=os.environ.get('PATH', '') + ':/usr/sbin:/sbin')
    if path is None:
        raise Skip('there is no ' + name)
    return path


def need_root():
    if os.geteuid() != 0:
        raise Skip('this needs root')


def need_ipv6():
    if not HAVE_IPV6:
        raise Skip('there is no IPv6')


def run_case(function):
    """What a case that failed has left running ends with it."""
    try:
        function()
    finally:
        for process in _started:
            if process.poll() is None:
                process.kill()
                process.wait()
        _started.clear()


def main():
    """Prints TAP; goes on after a failure."""
    methods = {'test_' + f.__name__: lambda self, f=f: run_case(f) for f in _cases}
    tests = type('Tool', (unittest.TestCase,), methods)
    print('1..%d' % len(methods))
    result = unittest.TestSuite(tests(name) for name in methods).run(tap.TapResult())
    sys.exit(not result.wasSuccessful())


# --- Assertions --------------------------------------------------------------

def equal(got, wanted, what=''):
    if got != wanted:
        raise AssertionError('%s: %r is not %r' % (what, got, wanted))


def true(value, what):
    if not value:
        raise AssertionError(what)


def contains(text, pattern):
    if not re.search(pattern, text):
        raise AssertionError('%r is not in %r' % (pattern, text))


def one_error(process, code, pattern):
    """One clear sentence on standard error, and the exit code of its kind."""
    text = process.stderr if isinstance(process.stderr, str) else process.stderr.decode()
    lines = text.splitlines()
    equal(len(lines), 1, 'lines on standard error: %r' % text)
    contains(lines[0], '^zcio: ' + pattern)
    equal(process.returncode, code, 'exit code after %r' % text)


# --- Programs ----------------------------------------------------------------

def start(*arguments, program=None, **keys):
    keys.setdefault('env', ENVIRONMENT)
    keys.setdefault('stdin', subprocess.DEVNULL)
    keys.setdefault('stdout', subprocess.PIPE)
    keys.setdefault('stderr', subprocess.PIPE)
    process = subprocess.Popen([program or TOOL] + [str(a) for a in arguments], **keys)
    _started.append(process)
    return process


def end(process, code=0):
    """Waits for a process; returns its standard output and error."""
    try:
        out, err = process.communicate(timeout=GUARD)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError('%r hangs; it printed %r and %r' % (process.args, out, err))
    if code is not None and process.returncode != code:
        raise AssertionError('%r ended with %d, not %d: %r %r' % (process.args, process.returncode, code, out, err))
    return (out or b'').decode(), (err or b'').decode()


def run(*arguments, **keys):
    """Runs to the end; what came out is in the result's stdout and stderr."""
    process = start(*arguments, **keys)
    out, err = end(process, None)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


class Receiver:
    """`zcio receive` on a port that the system chose."""

    def __init__(self, *arguments, host='127.0.0.1', prefix=(), **keys):
        address = '[%s]:0' % host if ':' in host else host + ':0'
        command = list(prefix) + [TOOL, 'receive', '--json', '--quiet', address] + [str(a) for a in arguments]
        self.process = start(*command[1:], program=command[0], **keys)
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError('the receiver ended early: %r' % (end(self.process, None),))
        self.listening = json.loads(line)
        self.port = self.listening['port']
        self.peer = '[%s]:%d' % (host, self.port) if ':' in host else '%s:%d' % (host, self.port)

    def transfers(self, n):
        return [json.loads(self.process.stdout.readline()) for _ in range(n)]

    def end(self, code=0):
        out, err = end(self.process, code)
        return [json.loads(line) for line in out.splitlines()], err

    def interrupt(self, code=0, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.end(code)


class Sink(threading.Thread):
    """A server that reads one connection, or not, as it is told.

    @limit: bytes after which it stops reading
    @after: what it does then: close, reset or stall (until close () is called)
    """

    def __init__(self, host='127.0.0.1', limit=None, after='close'):
        super().__init__(daemon=True)
        self.family = socket.AF_INET6 if ':' in host else socket.AF_INET
        self.server = socket.socket(self.family)
        self.server.bind((host, 0))
        self.server.listen(64)
        self.port = self.server.getsockname()[1]
        self.peer = '[%s]:%d' % (host, self.port) if ':' in host else '%s:%d' % (host, self.port)
        self.limit = limit
        self.after = after
        self.hash = hashlib.sha256()
        self.size = 0
        self.error = None
        self.stop = threading.Event()
        self.reached = threading.Event()
        self.start()

    def run(self):
        try:
            connection, _ = self.server.accept()
        except OSError:
            return
        with connection:
            try:
                while self.limit is None or self.size < self.limit:
                    data = connection.recv(1 << 20)
                    if not data:
                        break
                    self.hash.update(data)
                    self.size += len(data)
            except OSError as error:
                self.error = error
            self.reached.set()
            if self.after == 'reset':
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            if self.after == 'stall':
                self.stop.wait(GUARD)

    def close(self):
        self.stop.set()
        self.server.close()
        self.join(GUARD)


def free_port(host):
    with socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET) as s:
        s.bind((host, 0))
        return s.getsockname()[1]


def wait_until(condition, what):
    deadline = time.monotonic() + GUARD
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError('not in time: ' + what)
        time.sleep(0.01)


def wait_listening(port):
    """Without connecting: programs that take one connection would take this one."""
    def listens():
        for path in '/proc/net/tcp', '/proc/net/tcp6':
            if os.path.exists(path):
                for line in open(path).readlines()[1:]:
                    words = line.split()
                    if words[3] == '0A' and int(words[1].rsplit(':', 1)[1], 16) == port:
                        return True
        return False
    wait_until(listens, 'somebody listens on %d' % port)


def wait_thread(process, name):
    """Until the program has begun its work: then it heeds signals."""
    def runs():
        tasks = '/proc/%d/task' % process.pid
        for task in os.listdir(tasks):
            try:
                if open('%s/%s/comm' % (tasks, task)).read().strip() == name:
                    return True
            except OSError:  # it has ended meanwhile
                pass
        return False
    wait_until(runs, 'a thread ' + name)


# --- Files -------------------------------------------------------------------

@contextlib.contextmanager
def directory():
    with tempfile.TemporaryDirectory(prefix='zcio-test-') as path:
        os.chmod(path, 0o755)
        yield path


def make_file(path, size, seed=1):
    """Bytes that repeat nowhere near a page or a buffer."""
    block = hashlib.shake_128(b'%d' % seed).digest(min(size, 999983)) if size else b''
    with open(path, 'wb') as f:
        left = size
        while left > 0:
            f.write(block[:left])
            left -= min(left, len(block))
    return path


def digest(path):
    h = hashlib.sha256()
    with open(path, 'rb') as f:
        while data := f.read(1 << 20):
            h.update(data)
    return h.hexdigest()


# --- JSON --------------------------------------------------------------------

def check_schema(value, schema=None, root=None, where='$'):
    """The part of JSON Schema (draft 7) that zcio.schema.json uses; an unknown word is an error."""
    if schema is None:
        with open(SCHEMA) as f:
            schema = root = json.load(f)
    words = dict(schema)
    for word in '$schema', 'title', 'definitions':
        words.pop(word, None)

    def fail(why):
        raise AssertionError('%s: %r %s' % (where, value, why))

    types = {'object': dict, 'array': list, 'string': str, 'boolean': bool, 'null': type(None), 'integer': int,
             'number': (int, float)}
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    for word, argument in words.items():
        if word == '$ref':
            check_schema(value, root['definitions'][argument.rsplit('/', 1)[1]], root, where)
        elif word == 'oneOf':
            good, errors = 0, []
            for one in argument:
                try:
                    check_schema(value, one, root, where)
                    good += 1
                except AssertionError as error:
                    errors.append(str(error))
            if good != 1:
                fail('matches %d of %d: %s' % (good, len(argument), '; '.join(errors)))
        elif word == 'type':
            names = argument if isinstance(argument, list) else [argument]
            if not any(isinstance(value, types[n]) and (not isinstance(value, bool) or n == 'boolean') for n in names):
                fail('is not of type %s' % argument)
        elif word == 'const':
            if value != argument:
                fail('is not %r' % argument)
        elif word == 'enum':
            if value not in argument:
                fail('is none of %r' % argument)
        elif word == 'minimum':
            if number and value < argument:
                fail('is below %r' % argument)
        elif word == 'maximum':
            if number and value > argument:
                fail('is above %r' % argument)
        elif word == 'pattern':
            if isinstance(value, str) and not re.search(argument, value):
                fail('does not match %s' % argument)
        elif word == 'required':
            for name in argument:
                if name not in value:
                    fail('has no %s' % name)
        elif word == 'properties':
            for name in value:
                if name in argument:
                    check_schema(value[name], argument[name], root, where + '.' + name)
        elif word == 'additionalProperties':
            for name in value:
                if name not in words['properties']:
                    fail('has %s, which is unknown' % name)
        elif word == 'items':
            for i, item in enumerate(value):
                check_schema(item, argument, root, '%s[%d]' % (where, i))
        elif word == 'minItems':
            if len(value) < argument:
                fail('is too short')
        else:
            raise AssertionError('the checker does not know the word ' + word)


def parse_json(text):
    """Each line is an object of the schema; python3-jsonschema looks too if it is there."""
    values = [json.loads(line) for line in text.splitlines()]
    for value in values:
        check_schema(value)
        try:
            import jsonschema
        except ImportError:
            continue
        with open(SCHEMA) as f:
            jsonschema.validate(value, json.load(f))
    return values
