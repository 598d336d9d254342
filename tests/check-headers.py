#!/usr/bin/python3
# check-headers.py - each public header compiles alone, in C and in C++
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: check-headers.py SOURCE-ROOT BUILD-ROOT CC CXX [CFLAG…]
# CXX may be empty.

import glob
import os
import subprocess
import sys
import unittest

import tap

SOURCE_ROOT, BUILD_ROOT, CC, CXX, *CFLAGS = sys.argv[1:]

WARNINGS = ['-Wall', '-Wextra', '-Wpedantic', '-Wundef', '-Werror',
            # GLib's own macros, expanded in our headers
            '-Wno-unused-parameter', '-Wno-unused-function']
LANGUAGES = {
    'c99': [CC, '-x', 'c', '-std=gnu99', '-Wstrict-prototypes', '-Wmissing-declarations'],
    'c11': [CC, '-x', 'c', '-std=c11', '-Wstrict-prototypes', '-Wmissing-declarations'],
    'c++11': [CXX, '-x', 'c++', '-std=c++11'],
    'c++17': [CXX, '-x', 'c++', '-std=c++17'],
}

# A translation unit must declare something
FILLER = 'extern int filler;\n'

# What zcio.h includes before the others; they check nothing themselves.
UNGUARDED = {'zcio-version.h', 'zcio-version-macros.h', 'zcio-enum-types.h', 'zcio.h'}


def public_headers():
    found = glob.glob(os.path.join(SOURCE_ROOT, 'zcio', '*.h')) + \
        glob.glob(os.path.join(BUILD_ROOT, 'zcio', '*.h'))
    names = {os.path.basename(path) for path in found}
    return sorted(name for name in names if not name.endswith('-private.h') and
                  name != 'zcio-probes.h')


def compile_text(language, text, warnings=()):
    command = LANGUAGES[language] + ['-fsyntax-only', *CFLAGS, *warnings,
                                     '-I' + SOURCE_ROOT, '-I' + BUILD_ROOT, '-']
    return subprocess.run(command, input=text, text=True, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


class Headers(unittest.TestCase):
    def check(self, language, headers):
        if not LANGUAGES[language][0]:
            self.skipTest('no C++ compiler')
        for header in headers:
            define = '' if header == 'zcio.h' else '#define ZCIO_INSIDE\n'
            with self.subTest(header=header):
                run = compile_text(language, f'{define}#include <zcio/{header}>\n{FILLER}', WARNINGS)
                self.assertEqual(run.returncode, 0, run.stdout)

    def test_each_in_c(self):
        self.check('c11', public_headers())

    def test_each_in_cxx(self):
        self.check('c++17', public_headers())

    def test_older_c(self):
        self.check('c99', ['zcio.h'])

    def test_older_cxx(self):
        self.check('c++11', ['zcio.h'])

    def test_direct_include_is_refused(self):
        for header in sorted(set(public_headers()) - UNGUARDED):
            with self.subTest(header=header):
                run = compile_text('c11', f'#include <zcio/{header}>\n')
                self.assertNotEqual(run.returncode, 0)
                self.assertIn('Only <zcio/zcio.h> can be included directly', run.stdout)

    def test_no_private_header_leaks(self):
        run = subprocess.run(LANGUAGES['c11'] + ['-M', *CFLAGS, '-I' + SOURCE_ROOT,
                                                 '-I' + BUILD_ROOT, '-'],
                             input='#include <zcio/zcio.h>\n', text=True, check=False,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertNotIn('-private.h', run.stdout)
        self.assertNotIn('config.h', run.stdout.replace('glibconfig.h', ''))
        for header in public_headers():
            with self.subTest(header=header):
                self.assertIn('/' + header, run.stdout)


if __name__ == '__main__':
    tap.main()
