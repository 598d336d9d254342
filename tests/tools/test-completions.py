# test-completions.py - each option is completed, and in the manual page
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later

import os
import shlex
import subprocess

from toolcase import *

COMMANDS = ['bench', 'demo', 'doctor', 'receive', 'send']
TOOLS = os.path.dirname(SCHEMA)
COMPLETIONS = os.path.join(TOOLS, 'completions')


def read(*path):
    with open(os.path.join(TOOLS, *path)) as f:
        return f.read()


def options(command):
    """Long and short names, as --help lists them."""
    found = re.findall(r'(?m)^  -(\w), --([\w-]+)', run(command, '--help').stdout)
    true(len(found) > 2, 'no options of ' + command)
    return found


def complete(*words):
    """What bash offers for the last of @words, after it has split them as it does."""
    script = '. %s; COMP_WORDS=(%s); COMP_CWORD=%d; _zcio; printf "%%s\\n" "${COMPREPLY[@]}"' % (
        shlex.quote(os.path.join(COMPLETIONS, 'zcio')), ' '.join(shlex.quote(w) for w in words), len(words) - 1)
    process = run('-c', script, program=need_program('bash'))
    equal((process.returncode, process.stderr), (0, ''))
    return sorted(process.stdout.split())


@case
def bash():
    """Commands, exactly the options of each, values and files."""
    equal(complete('zcio', ''), sorted(COMMANDS + ['--help', '--version']))
    equal(complete('zcio', 'd'), ['demo', 'doctor'])
    for command in COMMANDS:
        # GOption does not list --help among the others with -h alone
        wanted = {'--' + long for _, long in options(command)} | {'--help'}
        equal(complete('zcio', command, '--'), sorted(wanted), command)
    equal(complete('zcio', 'send', '--zero-copy', '='), ['always', 'auto', 'never'])
    equal(complete('zcio', 'send', '--zero-copy', '=', 'n'), ['never'])
    equal(complete('zcio', 'bench', '-w', ''), ['migrate', 'splice', 'write'])
    equal(complete('zcio', 'send', '--rate', ''), [])
    with directory() as d:
        make_file(d + '/image', 1)
        equal(complete('zcio', 'send', 'host:1', d + '/'), [d + '/image'])
        equal(complete('zcio', 'receive', '-o', d + '/i'), [d + '/image'])


@case
def other_shells():
    """The files for fish and zsh know each option too; their shells take them if they are here."""
    fish, zsh = read('completions', 'zcio.fish'), read('completions', '_zcio')
    for command in COMMANDS:
        for short, long in options(command):
            if long != 'help':
                contains(fish, '-s %s -l %s ' % (short, re.escape(long)))
            contains(zsh, r'-%s\+?,--%s[=}]' % (short, re.escape(long)))
    for shell, name in ('fish', 'zcio.fish'), ('zsh', '_zcio'):
        if os.path.exists('/usr/bin/' + shell):
            process = run('-n', os.path.join(COMPLETIONS, name), program='/usr/bin/' + shell)
            equal((process.returncode, process.stdout, process.stderr), (0, '', ''))


@case
def manual_page():
    """Each command and option has its place, and so has each exit code."""
    page = read('zcio.1')
    for command in COMMANDS:
        contains(page, r'(?m)^\.SS zcio %s' % command)
        for short, long in options(command):
            contains(page, r'(?m)^\.BR \\-%s ", " \\-\\-%s' % (short, re.escape(long).replace(r'\-', r'\\-')))
    for code in range(10):
        contains(page, r'(?m)^\.TP\n\.B %d$' % code)
    if os.path.exists('/usr/bin/groff'):
        done = subprocess.run(['groff', '-man', '-Tutf8', '-ww', '-z', os.path.join(TOOLS, 'zcio.1')], capture_output=True, text=True)
        equal((done.returncode, done.stderr), (0, ''))


main()
