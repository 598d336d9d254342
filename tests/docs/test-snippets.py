#!/usr/bin/python3
# test-snippets.py - runs the programs that the guide shows
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: test-snippets.py BUILD-DIRECTORY SOURCE-DIRECTORY NAME…
#
# Each program is called with the address of a sink and must end well; what the sink got is
# compared with EXPECTED. NAME.c was built to BUILD-DIRECTORY/snippet-NAME; NAME.py is run.

import hashlib
import os
import subprocess
import sys
import unittest

import tap
from sink import RUN_SCRIPT, Sink

BUILD, SOURCE, *NAMES = sys.argv[1:]

MIB = 1 << 20

def contents(data):
    return len(data), hashlib.sha256(data).hexdigest()


def zeros(size, before=b''):
    return contents(before + bytes(size))


def file(path):
    """What is there when the tests run"""
    if not os.path.exists(path):
        return None
    with open(path, 'rb') as opened:
        return contents(opened.read())


# What arrives: a list with an entry for each connection
EXPECTED = {
    'completions': [zeros(16 * MIB)],
    'files': [zeros(7 * MIB)],
    'getting-started': [zeros(64 * MIB, b'hello\n')],
    'limits': [zeros(32 * MIB)],
    'migration': [zeros(3 * 8 * (1344 + 128 * 4096))],
    'one-line': [file(os.path.join(BUILD, 'snippet-one-line'))],
    'ownership': [contents(b'text\n' + bytes(64 + 2 * 4096) + b'p' * MIB)],
    'send-async': [zeros(16 * MIB)],
    'statistics': [zeros(16 * MIB)],
    'threads': [zeros(16 * MIB)],
}


# Arguments after the address
ARGUMENTS = {
    'one-line': [os.path.join(BUILD, 'snippet-one-line')],
}

# Besides, what they must print
SAYS = {
    'completions.c': '16777216 bytes released',
    'getting-started.c': 'copying: the peer is on this host',
    'getting-started.py': 'copying: the peer is on this host',
    'limits.c': 'copying: zero-copy is switched off',
    'migration.c': 'the kernel copied in this round',
    'send-async.py': str(16 * MIB),
    'statistics.c': 'mostly copied by the kernel after all',
}


class Snippets(unittest.TestCase):
    def run_one(self, name):
        stem, kind = os.path.splitext(name)
        if kind == '.py':
            # as if the override were installed
            command = [sys.executable, '-c', RUN_SCRIPT, os.path.join(SOURCE, name)]
        else:
            command = [os.path.join(BUILD, 'snippet-' + stem)]
        sink = Sink()
        try:
            run = subprocess.run(command + ['127.0.0.1', str(sink.port), *ARGUMENTS.get(stem, [])], text=True, timeout=120,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        finally:
            results = sink.close()
        for line in run.stdout.splitlines():
            print('# ' + line)
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertIn(SAYS.get(name, ''), run.stdout)
        self.assertEqual([error for _, _, error in results if error], [])
        self.assertEqual(sorted(result[:2] for result in results), sorted(EXPECTED[stem]))


def add(name):
    setattr(Snippets, 'test_' + name.replace('-', '_').replace('.', '_'),
            lambda self: self.run_one(name))


for name in NAMES:
    add(name)

if __name__ == '__main__':
    tap.main()
