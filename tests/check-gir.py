#!/usr/bin/python3
# check-gir.py - the scanner and the compiler find nothing to warn of
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: check-gir.py NINJA BUILD-ROOT GIR
#
# Runs the build's own command for the GIR once more, with warnings as errors.

import os
import shlex
import subprocess
import sys
import tempfile
import unittest

import tap

NINJA, BUILD_ROOT, GIR = sys.argv[1:]


def run(command):
    return subprocess.run(command, cwd=BUILD_ROOT, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


class Gir(unittest.TestCase):
    def scanner_command(self, output):
        target = os.path.relpath(GIR, BUILD_ROOT)
        commands = run([NINJA, '-t', 'commands', target]).stdout.splitlines()
        command = shlex.split(commands[-1])
        self.assertIn('--warn-all', command)
        at = command.index('--output')
        self.assertEqual(command[at + 1], target)
        command[at + 1] = output
        return [word for word in command if word != '--warn-error'] + ['--warn-error']

    def test_no_warnings(self):
        with tempfile.TemporaryDirectory(prefix='zcio-gir-') as directory:
            output = os.path.join(directory, os.path.basename(GIR))
            scan = run(self.scanner_command(output))
            self.assertEqual(scan.returncode, 0, scan.stdout)
            self.assertNotIn('Warning', scan.stdout)

    def test_compiles(self):
        with tempfile.TemporaryDirectory(prefix='zcio-gir-') as directory:
            compiled = run(['g-ir-compiler', GIR, '--output', os.path.join(directory, 'typelib')])
            self.assertEqual(compiled.returncode, 0, compiled.stdout)
            self.assertEqual(compiled.stdout, '')


if __name__ == '__main__':
    tap.main()
