#!/usr/bin/python3
# run-mutants.py - proves that bugs planted on purpose are caught
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: run-mutants.py MESON DIRECTORY [NAME…]
#
# Copies the tree to DIRECTORY/tree. There the programs below must pass as it is; and with
# each NAME.patch of this directory applied, at least two of them must fail.

import filecmp
import os
import shutil
import subprocess
import sys
import time

MESON, DIRECTORY, *NAMES = sys.argv[1:]

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
TREE = os.path.abspath(os.path.join(DIRECTORY, 'tree'))
BUILD = os.path.abspath(os.path.join(DIRECTORY, 'build'))
CORPUS = os.path.join(TREE, 'tests', 'fuzz', 'corpus')

# Each is a suite of its own: they share no test case, and look from different sides.
PROGRAMS = {
    'test-error-queue': [],
    'test-send-window': [],
    'test-send-window-random': [],
    'test-transmitter': [],
    'test-transmitter-random': [],
    'test-fault-sweep': ['-p', '/fault-sweep/errors/sync', '-p', '/fault-sweep/reset/sync'],
    'fuzz/replay-error-queue': [os.path.join(CORPUS, 'error-queue')],
    'fuzz/replay-stream': [os.path.join(CORPUS, 'stream')],
}
ROUNDS = '300'
# What hangs is caught, too.
TIMEOUT = 100
ENOUGH = 2


def die(message):
    sys.exit('run-mutants: ' + message)


def tree_of(root):
    """Paths, from there, of what is no build directory"""
    paths = set()
    for directory, names, leaves in os.walk(root):
        names[:] = [name for name in names if name != '.git' and not name.startswith('_build')]
        paths |= {os.path.relpath(os.path.join(directory, leaf), root) for leaf in leaves}
    return paths


def copy_tree():
    """What is as it was keeps its time, so that it is not built again"""
    here = tree_of(SOURCE)
    for path in tree_of(TREE) - here:
        os.unlink(os.path.join(TREE, path))
    for path in here:
        source, target = os.path.join(SOURCE, path), os.path.join(TREE, path)
        if not os.path.exists(target) or not filecmp.cmp(source, target, shallow=False):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(source, target)


def build():
    if not os.path.exists(os.path.join(BUILD, 'build.ninja')):
        subprocess.run([MESON, 'setup', BUILD, TREE, '-Dbuildtype=debug', '-Dintrospection=disabled',
                        '-Dtools=disabled', '-Dbenchmarks=disabled'],
                       check=True, stdout=subprocess.DEVNULL)
    targets = ['tests/' + program for program in PROGRAMS]
    jobs = ['-j' + os.environ['JOBS']] if os.environ.get('JOBS') else []
    run = subprocess.run(['ninja', '-C', BUILD, *jobs, *targets], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if run.returncode != 0:
        print(run.stdout)
        die('it does not build')


def fails(program):
    environment = dict(os.environ, ZCIO_TEST_ROUNDS=ROUNDS, ZCIO_TEST_SEED='1',
                       G_DEBUG='fatal-warnings')
    command = [os.path.join(BUILD, 'tests', program), *PROGRAMS[program]]
    try:
        run = subprocess.run(command, env=environment, timeout=TIMEOUT, cwd=BUILD,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return True
    return run.returncode != 0


def patch(name, *options):
    path = os.path.join(HERE, name + '.patch')
    run = subprocess.run(['patch', '-p1', '--quiet', '--no-backup-if-mismatch', '--input', path,
                          *options], cwd=TREE)
    if run.returncode != 0:
        die(f'{name}.patch does not fit any more')


def main():
    names = NAMES or sorted(name[:-len('.patch')] for name in os.listdir(HERE)
                            if name.endswith('.patch'))
    if not names:
        die('no patches')
    os.makedirs(DIRECTORY, exist_ok=True)
    copy_tree()
    build()
    broken = [program for program in PROGRAMS if fails(program)]
    if broken:
        die('without any mutant, these fail: ' + ', '.join(broken))
    print(f'no mutant: all {len(PROGRAMS)} programs pass')

    survivors = []
    for name in names:
        start = time.monotonic()
        patch(name)
        build()
        caught = [program for program in PROGRAMS if fails(program)]
        patch(name, '--reverse')
        seconds = time.monotonic() - start
        print(f'{name}: caught by {len(caught)} ({seconds:.0f} s): ' + ', '.join(caught), flush=True)
        if len(caught) < ENOUGH:
            survivors.append(name)

    if survivors:
        die('caught too seldom: ' + ', '.join(survivors))
    print(f'{len(names)} mutants, all caught')


if __name__ == '__main__':
    main()
