#!/usr/bin/python3
# test-send-programs.py - the small programs that send a file
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: test-send-programs.py LANGUAGE REASON COMMAND… [-- LANGUAGE REASON COMMAND…]…
# REASON is why it cannot run here, if not empty.

import hashlib
import os
import subprocess
import sys
import tempfile
import unittest

import tap

HERE = os.path.dirname(os.path.abspath(__file__))
# Runs a program in Python with an override that is not installed
RUN = ('import gi.overrides, os, runpy, sys; '
       'gi.overrides.__path__.insert(0, os.environ["ZCIO_OVERRIDES"]); '
       'sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name="__main__")')


def parse(arguments):
    programs = {}
    while arguments:
        end = arguments.index('--') if '--' in arguments else len(arguments)
        language, reason, *command = arguments[:end]
        if language == 'python':
            command[1:1] = ['-c', RUN]
        programs[language] = (reason, command)
        arguments = arguments[end + 1:]
    return programs


PROGRAMS = parse(sys.argv[1:])


class Programs(unittest.TestCase):
    def run_program(self, command, *arguments):
        return subprocess.run(command + list(map(str, arguments)), text=True, check=False,
                              timeout=120, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def check(self, language):
        reason, command = PROGRAMS[language]
        if reason:
            self.skipTest(reason)
        content = os.urandom(1000) * 5000 + b'the end'
        with tempfile.NamedTemporaryFile() as file, subprocess.Popen(
                [sys.executable, os.path.join(HERE, 'receiver.py')],
                stdout=subprocess.PIPE, text=True) as receiver:
            file.write(content)
            file.flush()
            port = int(receiver.stdout.readline())
            run = self.run_program(command, '127.0.0.1', port, file.name)
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertIn(f'written: {len(content)} bytes', run.stdout)
            self.assertEqual(receiver.stdout.readline().split(),
                             [str(len(content)), hashlib.sha256(content).hexdigest()])

        # A port on which nobody listens, a file that is not there, no arguments
        self.assertNotEqual(self.run_program(command, '127.0.0.1', port, __file__).returncode, 0)
        self.assertNotEqual(self.run_program(command, '127.0.0.1', port, '/none').returncode, 0)
        self.assertNotEqual(self.run_program(command).returncode, 0)

    def test_python(self):
        self.check('python')

    def test_javascript(self):
        self.check('javascript')

    def test_lua(self):
        self.check('lua')

    def test_vala(self):
        self.check('vala')


if __name__ == '__main__':
    tap.main()
