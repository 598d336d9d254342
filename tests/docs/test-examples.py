#!/usr/bin/python3
# test-examples.py - runs the examples of the manual
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: test-examples.py BUILD-DIRECTORY SOURCE-DIRECTORY NAME…

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.request

import tap
from sink import RUN_SCRIPT, Sink

BUILD, SOURCE, *NAMES = sys.argv[1:]

MIB = 1 << 20


def needs(name):
    return unittest.skipIf(name not in NAMES, name + ' is not built here')


def run(command, sink):
    try:
        done = subprocess.run(command, text=True, timeout=120, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
    finally:
        results = sink.close()
    for line in done.stdout.splitlines():
        print('# ' + line)
    return done, results


class Examples(unittest.TestCase):
    @needs('multi-sender')
    def test_multi_sender(self):
        sink = Sink()
        done, results = run([os.path.join(BUILD, 'multi-sender'), '127.0.0.1', str(sink.port), '3', '12', '2'], sink)
        self.assertEqual(done.returncode, 0, done.stdout)
        header = 16 + 128 * 8
        pages = 12 * MIB // 4096
        # Each stream has a third of the pages in each round, and a header for 128 of them
        expected = [2 * (pages // 3 * 4096 + -(-pages // 3 // 128) * header)] * 3
        self.assertEqual([size for size, _, _ in results], expected)
        self.assertIn('stream 2', done.stdout)

    @needs('gstreamer-sender')
    def test_gstreamer_sender(self):
        sink = Sink()
        done, results = run([os.path.join(BUILD, 'gstreamer-sender'), '127.0.0.1', str(sink.port), '16'], sink)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual([result[:2] for result in results],
                         [(16 * MIB, hashlib.sha256(bytes(16 * MIB)).hexdigest())])

    @needs('http-server')
    def test_http_server(self):
        with tempfile.TemporaryDirectory() as directory:
            content = os.urandom(MIB) * 8
            with open(os.path.join(directory, 'file'), 'wb') as opened:
                opened.write(content)
            server = subprocess.Popen([os.path.join(BUILD, 'http-server'), directory],
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            try:
                uri = server.stdout.readline().strip()
                for _ in range(2):
                    with urllib.request.urlopen(uri + 'file', timeout=60) as answer:
                        self.assertEqual(answer.status, 200)
                        self.assertTrue(answer.read() == content)
                for path in ('none', '../etc/passwd'):
                    with self.assertRaises(urllib.error.HTTPError) as caught:
                        urllib.request.urlopen(uri + path, timeout=60)
                    self.assertEqual(caught.exception.code, 404)
                    caught.exception.close()
                self.assertEqual(server.stderr.readline().strip(), 'copying: the peer is on this host')
                self.assertIsNone(server.poll())
            finally:
                server.terminate()
                server.communicate(timeout=60)

    @needs('numpy-sender.py')
    @unittest.skipIf(importlib.util.find_spec('numpy') is None, 'no NumPy')
    def test_numpy_sender(self):
        import numpy
        sink = Sink()
        done, results = run([sys.executable, '-c', RUN_SCRIPT, os.path.join(SOURCE, 'numpy-sender.py'),
                             '127.0.0.1', str(sink.port), '3'], sink)
        self.assertEqual(done.returncode, 0, done.stdout)
        sha = hashlib.sha256()
        for number in range(3):
            sha.update(b'zcio' + number.to_bytes(4, 'little') + (1024).to_bytes(4, 'little') * 2)
            sha.update((numpy.arange(MIB, dtype=numpy.float32) * number).tobytes())
        self.assertEqual([result[:2] for result in results], [(3 * (16 + 4 * MIB), sha.hexdigest())])


if __name__ == '__main__':
    tap.main()
