#!/usr/bin/python3
# check-subproject.py - zcio builds inside another project, and with nothing but GLib
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: check-subproject.py MESON SOURCE-ROOT PKG-CONFIG TOOL…
#
# The project is configured where no program is found but the TOOLs, and no library but
# what GLib needs: a part that cannot be built is left out, and the summary says so.

import os
import re
import subprocess
import sys
import tempfile
import unittest

import tap

MESON, SOURCE_ROOT, PKG_CONFIG, *TOOLS = sys.argv[1:]

PROJECT = '''
project('tiny', 'c')
executable('tiny', 'tiny.c',
  dependencies: dependency('zcio-1', fallback: 'zcio', version: '>= 1.0'))
'''

PROGRAM = '''
#include <zcio/zcio.h>

int
main (void)
{
  g_print ("%s %s\\n", ZCIO_VERSION_S, g_type_name (ZCIO_TYPE_SOCKET_STREAM));
  return 0;
}
'''

# Parts of the summary that need more than GLib
OPTIONAL = ['Introspection', 'Vala', 'Python override', 'Tools', 'Benchmarks', 'Wire',
            'Plots of benchmarks', 'Reference manual']


def run(*command, **keys):
    return subprocess.run(command, text=True, check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **keys)


def write(path, text):
    with open(path, 'w', encoding='utf-8') as opened:
        opened.write(text)


def needed_packages():
    """The .pc files of GLib and of what it needs in turn"""
    names, found = ['gio-2.0', 'gio-unix-2.0', 'gobject-2.0', 'glib-2.0', 'gmodule-2.0'], {}
    while names:
        name = names.pop()
        if name in found:
            continue
        directory = run(PKG_CONFIG, '--variable=pcfiledir', name).stdout.strip()
        found[name] = os.path.join(directory, name + '.pc')
        for option in ('--print-requires', '--print-requires-private'):
            names += [line.split()[0] for line in run(PKG_CONFIG, option, name).stdout.splitlines()]
    return found


class Subproject(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix='zcio-subproject-')
        self.addCleanup(temporary.cleanup)
        self.root = temporary.name
        self.environment = {'PATH': self.path('bin'), 'PKG_CONFIG_LIBDIR': self.path('pc'),
                            'HOME': self.root, 'LC_ALL': 'C.UTF-8'}
        os.mkdir(self.path('bin'))
        os.mkdir(self.path('pc'))
        for tool in [PKG_CONFIG, *TOOLS]:
            os.symlink(tool, self.path('bin', os.path.basename(tool)))
        for name, path in needed_packages().items():
            os.symlink(path, self.path('pc', name + '.pc'))

    def path(self, *names):
        return os.path.join(self.root, *names)

    def meson(self, *arguments):
        command = [sys.executable, MESON] if MESON.endswith('.py') else [MESON]
        configured = run(*command, 'setup', *arguments, env=self.environment, cwd=self.root)
        self.assertEqual(configured.returncode, 0, configured.stdout)
        return configured.stdout

    def test_only_glib(self):
        """Nothing is asked for by name, so nothing that is missing is an error"""
        output = self.meson('-Dgtk_doc=true', '-Dexamples=true', '-Dinstalled_tests=true',
                            SOURCE_ROOT, self.path('build'))
        for part in OPTIONAL:
            with self.subTest(part=part):
                self.assertRegex(output, rf'(?m)^ +{re.escape(part)} *: (NO|no)\b')
        self.assertRegex(output, r'(?m)^ +Tests *: YES$')

    def test_missing_but_asked_for(self):
        command = [sys.executable, MESON] if MESON.endswith('.py') else [MESON]
        for option in ('introspection', 'tools', 'benchmarks'):
            with self.subTest(option=option):
                configured = run(*command, 'setup', f'-D{option}=enabled', SOURCE_ROOT,
                                 self.path(option), env=self.environment, cwd=self.root)
                self.assertNotEqual(configured.returncode, 0)
                self.assertIn('ERROR', configured.stdout)

    def test_builds_and_runs(self):
        os.mkdir(self.path('subprojects'))
        os.symlink(SOURCE_ROOT, self.path('subprojects', 'zcio'))
        write(self.path('meson.build'), PROJECT)
        write(self.path('tiny.c'), PROGRAM)

        output = self.meson('--wrap-mode=forcefallback', '-Dzcio:tests=false',
                            '--buildtype=plain', 'build')
        self.assertRegex(output, r'(?m)^Dependency zcio-1 found: YES .*overridden')

        built = run('ninja', '-C', 'build', 'tiny', env=self.environment, cwd=self.root)
        self.assertEqual(built.returncode, 0, built.stdout)
        self.assertNotIn('warning:', built.stdout)
        ran = run(self.path('build', 'tiny'))
        self.assertEqual(ran.returncode, 0, ran.stdout)
        self.assertRegex(ran.stdout, r'^\d+\.\d+\.\d+ ZcioSocketStream\n$')


if __name__ == '__main__':
    tap.main()
