#!/usr/bin/python3
# check-files.py - what holds for every file of the tree
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: check-files.py SOURCE-ROOT VERSION

import os
import re
import shutil
import stat
import subprocess
import sys
import unittest
import xml.etree.ElementTree as ElementTree

import tap

ROOT, VERSION = sys.argv[1:]

CODE = ('.c', '.h', '.py', '.js', '.vala', '.sh', '.in', 'meson.build', 'run')
# Text as it came, or with a form of its own
AS_THEY_ARE = ('COPYING', 'LICENSES/', 'debian/', 'tests/fuzz/corpus/')


def files():
    """Paths of the tree, without what git ignores"""
    try:
        listed = subprocess.run(['git', '-c', 'safe.directory=*', 'ls-files', '-z',
                                 '--cached', '--others', '--exclude-standard'], cwd=ROOT,
                                text=True, check=True, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL).stdout.split('\0')[:-1]
    except (OSError, subprocess.CalledProcessError):
        listed = []
        for directory, names, leaves in os.walk(ROOT):
            names[:] = [name for name in names
                        if not name.startswith('_build') and name not in ('.git', '__pycache__')]
            listed += [os.path.relpath(os.path.join(directory, leaf), ROOT) for leaf in leaves]
    return sorted(path for path in listed if os.path.isfile(os.path.join(ROOT, path)))


def read(path):
    with open(os.path.join(ROOT, path), 'rb') as opened:
        return opened.read()


def is_text(content):
    return b'\0' not in content


class Files(unittest.TestCase):
    def test_licence_lines(self):
        for path in files():
            if path.endswith(CODE) and not path.startswith(AS_THEY_ARE) and not path.endswith('.test.in'):
                with self.subTest(path=path):
                    head = read(path)[:1000].decode()
                    self.assertIn('SPDX-FileCopyrightText: The zcio authors', head)
                    self.assertIn('SPDX-License-Identifier: LGPL-2.1-or-later', head)

    def test_first_line_is_purpose(self):
        for path in files():
            if re.fullmatch(r'(zcio|tests|tools)/[^/]*\.[ch]', path):
                with self.subTest(path=path):
                    first = read(path).split(b'\n', 1)[0].decode()
                    self.assertRegex(first, r'^/\* ' + re.escape(os.path.basename(path)) + r' - \S')

    def test_white_space(self):
        for path in files():
            content = read(path)
            if path.startswith(AS_THEY_ARE) or not content or not is_text(content):
                continue
            with self.subTest(path=path):
                self.assertTrue(content.endswith(b'\n'), 'no newline at the end')
                self.assertFalse(content.endswith(b'\n\n'), 'empty lines at the end')
                self.assertNotRegex(content, rb'[ \t]\n')
                self.assertNotIn(b'\r', content)
                if path.endswith(('.c', '.h', '.py', 'meson.build')):
                    self.assertNotIn(b'\t', content)

    def test_scripts_are_executable(self):
        for path in files():
            if path == 'run' or read(path)[:2] == b'#!':
                with self.subTest(path=path):
                    self.assertTrue(os.stat(os.path.join(ROOT, path)).st_mode & stat.S_IXUSR)

    def test_versions(self):
        self.assertTrue(read('NEWS').decode().startswith(f'Version {VERSION}\n'))
        self.assertTrue(read('debian/changelog').decode().startswith(f'zcio ({VERSION}) '))
        doap = '{http://usefulinc.com/ns/doap#}'
        project = ElementTree.fromstring(read('zcio.doap'))
        self.assertEqual(project.tag, doap + 'Project')
        self.assertEqual(project.findtext(f'{doap}release/{doap}Version/{doap}revision'), VERSION)

    def test_symbols_of_the_package(self):
        kept = re.findall(r'(?m)^[\d.]+ (\w+)$', read('tests/abi/zcio-1.symbols').decode())
        package = re.findall(r'(?m)^ (\w+)@Base [\d.]+$',
                             read('debian/libzcio-1-0.symbols').decode())
        self.assertTrue(kept)
        self.assertEqual(sorted(package), sorted(kept))

    def test_mutants_apply(self):
        """A patch that the tree has outgrown proves nothing any more"""
        if shutil.which('patch') is None:
            self.skipTest('no program patch here')
        patches = [path for path in files()
                   if path.startswith('tests/mutants/') and path.endswith('.patch')]
        self.assertGreaterEqual(len(patches), 5)
        for path in patches:
            with self.subTest(path=path):
                result = subprocess.run(
                    ['patch', '--dry-run', '--force', '--silent', '-p1', '-i', os.path.join(ROOT, path)],
                    cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                self.assertEqual(result.returncode, 0, result.stdout)

    def test_licence_text(self):
        self.assertEqual(read('COPYING'), read('LICENSES/LGPL-2.1-or-later.txt'))
        self.assertIn(b'Version 2.1, February 1999', read('COPYING'))


if __name__ == '__main__':
    tap.main()
