#!/usr/bin/python3
# check-install.py - what is installed, and that a program can be built with it
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: check-install.py MESON SOURCE-ROOT BUILD-ROOT CC PKG-CONFIG [PART…]
#
# Installs below a temporary directory, as those do who make packages.

import fnmatch
import glob
import json
import os
import shlex
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

import tap

MESON, SOURCE_ROOT, BUILD_ROOT, CC, PKG_CONFIG, *PARTS = sys.argv[1:]

PROGRAM = '''
#include <zcio/zcio.h>

int
main (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GSocket) socket = g_socket_new (G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM,
                                             G_SOCKET_PROTOCOL_TCP, &error);
  g_autoptr (ZcioSocketStream) stream = NULL;

  g_assert_no_error (error);
  stream = zcio_socket_stream_new (socket);
  g_assert_true (zcio_socket_stream_get_socket (stream) == socket);
  g_print ("%s\\n", ZCIO_VERSION_S);
  return 0;
}
'''


def run(*command, **keys):
    return subprocess.run(command, text=True, check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **keys)


def build_options():
    options = run(MESON, 'introspect', '--buildoptions', BUILD_ROOT)
    return {option['name']: option['value'] for option in json.loads(options.stdout)}


def public_headers():
    found = glob.glob(os.path.join(SOURCE_ROOT, 'zcio', '*.h'))
    names = {os.path.basename(path) for path in found} | {'zcio-version.h', 'zcio-enum-types.h'}
    return sorted(name for name in names if not name.endswith('-private.h'))


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory(prefix='zcio-install-')
        cls.root = cls.temporary.name
        cls.options = build_options()
        cls.prefix = cls.options['prefix']
        cls.log = run(MESON, 'install', '-C', BUILD_ROOT, '--no-rebuild', '--destdir', cls.root)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def directory(self, name):
        """One of meson's directories, relative to the prefix"""
        return os.path.relpath(os.path.join(self.prefix, self.options[name]), self.prefix)

    def installed(self, *path):
        return os.path.join(self.root + self.prefix, *path)

    def expected(self):
        """Patterns; each stands for at least one file"""
        lib, data = self.directory('libdir'), self.directory('datadir')
        patterns = [f'{self.directory("includedir")}/zcio-1/zcio/{name}'
                    for name in public_headers()]
        patterns += [f'{lib}/libzcio-1.so', f'{lib}/libzcio-1.so.0', f'{lib}/libzcio-1.so.0.0.0',
                     f'{lib}/pkgconfig/zcio-1.pc']
        if 'introspection' in PARTS:
            patterns += [f'{data}/gir-1.0/Zcio-1.gir',
                         f'{lib}/girepository-1.0/Zcio-1.typelib']
        if 'vapi' in PARTS:
            patterns += [f'{data}/vala/vapi/zcio-1.deps', f'{data}/vala/vapi/zcio-1.vapi']
        if 'pygobject' in PARTS:
            patterns += ['lib*/python3*/*-packages/gi/overrides/Zcio.py',
                         'lib*/python3*/*-packages/gi-stubs/repository/Zcio.pyi']
        if 'tools' in PARTS:
            patterns += [f'{self.directory("bindir")}/zcio',
                         f'{self.directory("mandir")}/man1/zcio.1',
                         f'{data}/bash-completion/completions/zcio',
                         f'{data}/fish/vendor_completions.d/zcio.fish',
                         f'{data}/zcio/zcio.schema.json',
                         f'{data}/zsh/site-functions/_zcio']
        if 'gtk_doc' in PARTS:
            # One page more or less is the manual's affair.
            book = f'{data}/gtk-doc/html/zcio-1'
            patterns += [f'{book}/index.html', f'{book}/zcio-1.devhelp2', f'{book}/*']
        if 'installed_tests' in PARTS:
            patterns += [f'{self.directory("libexecdir")}/installed-tests/zcio-1/test-*',
                         f'{data}/installed-tests/zcio-1/test-*.test']
        return patterns

    def test_files(self):
        self.assertEqual(self.log.returncode, 0, self.log.stdout)
        files = []
        for directory, _, names in os.walk(self.root):
            files += [os.path.relpath(os.path.join(directory, name), self.installed())
                      for name in names]
        patterns = self.expected()
        for pattern in patterns:
            with self.subTest(missing=pattern):
                self.assertTrue(fnmatch.filter(files, pattern))
        for name in sorted(files):
            with self.subTest(not_expected=name):
                self.assertTrue(any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns))

    def test_links(self):
        for name, target in (('libzcio-1.so', 'libzcio-1.so.0'),
                             ('libzcio-1.so.0', 'libzcio-1.so.0.0.0')):
            path = self.installed(self.directory('libdir'), name)
            self.assertEqual(os.readlink(path), target)

    def pkg_config(self, *arguments):
        """What pkg-config prints; what lies in the prefix is moved to where it is now"""
        environment = dict(os.environ, PKG_CONFIG_ALLOW_SYSTEM_CFLAGS='1',
                           PKG_CONFIG_ALLOW_SYSTEM_LIBS='1')
        path = self.installed(self.directory('libdir'), 'pkgconfig')
        environment['PKG_CONFIG_PATH'] = path + ':' + environment.get('PKG_CONFIG_PATH', '')
        printed = run(PKG_CONFIG, *arguments, 'zcio-1', env=environment)
        self.assertEqual(printed.returncode, 0, printed.stdout)
        return printed.stdout.strip()

    def test_program(self):
        include = os.path.join(self.prefix, self.directory('includedir'), 'zcio-1')
        lib = os.path.join(self.prefix, self.directory('libdir'))
        words = shlex.split(self.pkg_config('--cflags', '--libs'))
        self.assertIn('-I' + include, words)
        self.assertIn('-lzcio-1', words)
        self.assertFalse([word for word in words
                          if word[2:].startswith((BUILD_ROOT + '/', SOURCE_ROOT + '/'))])
        moved = {'-I' + include: '-I' + self.root + include, '-L' + lib: '-L' + self.root + lib}
        words = [moved.get(word, word) for word in words]

        with tempfile.TemporaryDirectory(prefix='zcio-install-') as directory:
            source = os.path.join(directory, 'program.c')
            program = os.path.join(directory, 'program')
            with open(source, 'w', encoding='utf-8') as opened:
                opened.write(PROGRAM)
            compiled = run(CC, '-Wall', '-Werror', '-o', program, source,
                           '-L' + self.root + lib, *words)
            self.assertEqual(compiled.returncode, 0, compiled.stdout)

            ran = run(program, env=dict(os.environ, LD_LIBRARY_PATH=self.root + lib))
            self.assertEqual(ran.returncode, 0, ran.stdout)
            self.assertEqual(ran.stdout.strip(), self.pkg_config('--modversion'))

    def test_pkg_config_variables(self):
        for variable, name in (('girdir', 'Zcio-1.gir'), ('typelibdir', 'Zcio-1.typelib')):
            directory = self.pkg_config('--variable=' + variable)
            self.assertTrue(directory.startswith(self.prefix + '/'), directory)
            if 'introspection' in PARTS:
                self.assertTrue(os.path.exists(os.path.join(self.root + directory, name)))

    def test_nothing_of_the_build(self):
        """The library must be found where it is installed, never where it was built"""
        for directory, _, names in os.walk(self.installed()):
            for name in names:
                if not name.endswith(('.pc', '.gir', '.vapi', '.py', '.test', '.devhelp2')):
                    continue
                with open(os.path.join(directory, name), encoding='utf-8') as opened:
                    with self.subTest(name=name):
                        self.assertNotIn(BUILD_ROOT, opened.read())

    def test_devhelp(self):
        if 'gtk_doc' not in PARTS:
            self.skipTest('built without the manual')
        book = self.installed(self.directory('datadir'), 'gtk-doc', 'html', 'zcio-1')
        root = ElementTree.parse(os.path.join(book, 'zcio-1.devhelp2')).getroot()
        pages = {element.get('link').split('#')[0] for element in root.iter()
                 if element.get('link') is not None}
        self.assertIn('index.html', pages)
        for page in sorted(pages):
            with self.subTest(page=page):
                self.assertTrue(os.path.exists(os.path.join(book, page)))

    def test_installed_tests(self):
        if 'installed_tests' not in PARTS:
            self.skipTest('built without installed tests')
        found = glob.glob(self.installed(self.directory('datadir'), 'installed-tests', 'zcio-1',
                                         '*.test'))
        self.assertTrue(found)
        for path in found:
            with open(path, encoding='utf-8') as opened:
                line, = [line for line in opened if line.startswith('Exec=')]
            program = [word for word in line.split() if word.startswith('/')]
            with self.subTest(path=path):
                self.assertTrue(os.access(self.root + program[0], os.X_OK), line)


if __name__ == '__main__':
    tap.main()
