# test-doctor.py - the doctor in good and bad surroundings, and whether its remedies cure
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later

import contextlib
import os
import resource
import shlex
import socket
import subprocess

from toolcase import *

OK, UNSUITED = 0, 9
MIB = 1 << 20
HERE, THERE, NOWHERE = '198.51.100.1', '198.51.100.2', '203.0.113.1'
NAMESPACE = 'zcio-doctor-%d' % os.getpid()


def ip(*arguments):
    return subprocess.run([need_program('ip'), *arguments], capture_output=True, text=True)


def inside(command):
    """A shell's command in the namespace, as an operator would type it."""
    done = subprocess.run([need_program('ip'), 'netns', 'exec', NAMESPACE, 'sh', '-c', command], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError('%s: %s%s' % (command, done.stdout, done.stderr))
    return done.stdout


@contextlib.contextmanager
def namespace(up=True, loopback=True):
    """A namespace with an interface called “wire”, which ends in another namespace."""
    need_root()
    other = NAMESPACE + '-peer'
    if ip('netns', 'add', NAMESPACE).returncode != 0:
        raise Skip('no network namespace can be made')
    try:
        ip('netns', 'add', other)
        if ip('-n', NAMESPACE, 'link', 'add', 'wire', 'type', 'veth', 'peer', 'name', 'wire', 'netns', other).returncode != 0:
            raise Skip('no veth can be made')
        if loopback:
            inside('ip link set lo up')
        if up:
            inside('ip address add %s/24 dev wire; ip link set wire up' % HERE)
            ip('-n', other, 'link', 'set', 'wire', 'up')
        yield
    finally:
        ip('netns', 'del', NAMESPACE)
        ip('netns', 'del', other)


def doctor(*arguments, prefix=()):
    """Report and exit code; the text has to say the same as the JSON."""
    command = [need_program('ip'), 'netns', 'exec', NAMESPACE, *prefix, TOOL, 'doctor', *arguments]
    process = run(*command[1:], '--json', program=command[0])
    equal(process.stderr, '')
    (report,) = parse_json(process.stdout)
    verdicts = [c['verdict'] for c in report['checks']]
    order = ['ok', 'unknown', 'weak', 'bad']
    equal(report['verdict'], max(verdicts, key=order.index))
    equal(process.returncode, UNSUITED if report['verdict'] == 'bad' else OK)
    for check in report['checks']:
        if check['verdict'] in ('weak', 'bad') and check['id'] != 'kernel':
            true('remedy' in check, 'no remedy: %r' % check)

    text = run(*command[1:], program=command[0]).stdout
    for check in report['checks']:
        contains(text, '(?m)^%s +%s  ' % (check['verdict'], re.escape(check['title'])))
        if 'remedy' in check and check['id'] != 'memlock':
            contains(text, 'remedy: ' + re.escape(check['remedy']))
    return report


def find(report, name):
    (check,) = [c for c in report['checks'] if c['id'] == name]
    return check


def cured(name, verdict, pattern, *arguments):
    """The verdict and the finding are right, and the remedy as it is printed makes it good."""
    check = find(doctor(*arguments), name)
    equal(check['verdict'], verdict, check['finding'])
    contains(check['finding'], pattern)
    inside(check['remedy'])
    after = find(doctor(*arguments), name)
    equal(after['verdict'], 'ok', after['finding'])


@case
def good_settings():
    """Where all is well, all is well."""
    with namespace():
        report = doctor(THERE)
        names = ['kernel', 'optmem_max', 'memlock', 'tcp_wmem', 'huge_pages', 'taps', 'route', 'interface']
        equal([c['id'] for c in report['checks']], names)
        equal(report['host'], THERE)
        for check in report['checks']:
            if check['id'] != 'huge_pages':  # the machine's own
                equal(check['verdict'], 'ok', check['finding'])
        contains(find(report, 'route')['finding'], '%s leave by wire' % THERE)
        contains(find(report, 'optmem_max')['finding'], r'^131072 bytes: \d+ notifications fit')
        equal([c['title'] for c in doctor()['checks']][-1], 'interface wire')


@case
def optmem_max():
    """net.core.optmem_max that is small, too small, and too small for any send."""
    with namespace():
        inside('sysctl -w net.core.optmem_max=20480')
        report = doctor(THERE)
        fit = int(re.search(r'(\d+) notifications', find(report, 'optmem_max')['finding']).group(1))
        cost = int(re.search(r'at (\d+) bytes', find(report, 'optmem_max')['finding']).group(1))
        equal(fit, (20480 - 576) // cost + 1)
        cured('optmem_max', 'weak', '^20480 bytes')

        inside('sysctl -w net.core.optmem_max=%d' % (576 + cost))
        cured('optmem_max', 'bad', ': 2 notifications fit')

        inside('sysctl -w net.core.optmem_max=500')
        report = doctor(THERE)
        equal(find(report, 'kernel')['verdict'], 'weak')
        contains(find(report, 'kernel')['finding'], 'refused a real send: No buffer space')
        equal(find(report, 'memlock')['verdict'], 'unknown')
        cured('optmem_max', 'bad', 'no zero-copy send fits')
        equal(find(doctor(THERE), 'kernel')['verdict'], 'ok')


@case
def sends_that_fit():
    """The number of notifications that fit is the kernel's: as many sends are accepted, and no more."""
    with namespace():
        inside('sysctl -w net.core.optmem_max=20480')
        fit = int(re.search(r'(\d+) notifications', find(doctor(), 'optmem_max')['finding']).group(1))
        # Each 512 KiB takes a notification; nobody reads here, so all of them stay.
        program = '''
import socket, struct
server = socket.socket(); server.bind(("127.0.0.1", 0)); server.listen()
s = socket.create_connection(server.getsockname()); peer = server.accept()[0]
s.setsockopt(socket.SOL_SOCKET, 60, 1)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
# With a time stamp between them, notifications do not merge.
s.setsockopt(socket.SOL_SOCKET, 37, (1 << 1) | (1 << 4) | (1 << 11))
n = 0
try:
    while n < 1000:
        s.send(b"x", 0x4000000)
        peer.recv(1)
        n += 1
except OSError as error:
    assert error.errno == 105, error
print(n)
'''
        equal(int(inside('exec /usr/bin/python3 -c ' + shlex.quote(program))), fit)


def as_nobody(soft, hard):
    """A user whose limit is known, and who is not root."""
    return [need_program('prlimit'), '--memlock=%d:%d' % (soft, hard), need_program('setpriv'), '--reuid=65533', '--regid=65533', '--clear-groups', '--']


def as_user(soft, hard):
    """A user whose limit is known, and who is not root."""
    most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    if most != resource.RLIM_INFINITY and hard > most:
        done = subprocess.run([need_program('prlimit'), '--memlock=%d:%d' % (soft, hard), 'true'], capture_output=True, text=True)
        if done.returncode != 0:
            raise Skip(done.stderr.strip())
    return [need_program('prlimit'), '--memlock=%d:%d' % (soft, hard),
            need_program('setpriv'), '--reuid=65533', '--regid=65533', '--clear-groups', '--']


@case
def memlock():
    """RLIMIT_MEMLOCK, for a user without the capability: what is left is known to the page."""
    with namespace():
        for soft, verdict in (0, 'bad'), (65536, 'bad'), (MIB, 'weak'), (8 * MIB, 'ok'):
            check = find(doctor(THERE, prefix=as_user(soft, soft)), 'memlock')
            equal(check['verdict'], verdict, check['finding'])
        check = find(doctor(THERE, prefix=as_user(69632, 69632)), 'memlock')
        contains(check['finding'], r'^69\.6 kB in all .*; 0 bytes are pinned, 69\.6 kB are left$')


def cured_in_shell(soft, hard, command):
    """A shell as the user has it: once the remedy is applied to it, all is well."""
    shell = start('netns', 'exec', NAMESPACE, *as_user(soft, hard), 'sh', program=need_program('ip'), stdin=subprocess.PIPE)

    def ask():
        shell.stdin.write(('%s doctor --json %s\n' % (shlex.quote(TOOL), THERE)).encode())
        shell.stdin.flush()
        return find(parse_json(shell.stdout.readline().decode())[0], 'memlock')

    check = ask()
    equal(check['verdict'], 'bad', check['finding'])
    contains(check['remedy'], '^' + command)
    if command.startswith('ulimit'):
        shell.stdin.write((check['remedy'] + '\n').encode())
    else:
        subprocess.run(shlex.split(check['remedy']), check=True)
    check = ask()
    equal(check['verdict'], 'ok', check['finding'])
    end(shell, None)


@case
def memlock_cured_by_the_user():
    """Below the hard limit, the user's own shell can mend it."""
    with namespace():
        cured_in_shell(65536, 8 * MIB, 'ulimit -S -l 8192$')


@case
def memlock_cured_by_root():
    """At the hard limit, root can."""
    with namespace():
        as_user(128 * MIB, 128 * MIB)  # skips where root cannot either
        cured_in_shell(65536, 65536, 'prlimit --pid')


@case
def memlock_that_others_use():
    """What other processes of the user have pinned is found, though no file says it."""
    program = '''
import socket, sys
server = socket.socket(); server.bind(("127.0.0.1", 0)); server.listen()
s = socket.create_connection(server.getsockname())
s.setsockopt(socket.SOL_SOCKET, 60, 1)
s.setblocking(False)
assert s.send(bytes(5 << 20), 0x4000000) < 5 << 20
print("pinned", flush=True)
sys.stdin.read()
'''
    with namespace():
        # A small receive buffer keeps most of it unsent, and so pinned.
        inside("sysctl -w net.ipv4.tcp_rmem='4096 65536 65536'; sysctl -w net.ipv4.tcp_wmem='4096 16384 262144'")
        user = as_user(8 * MIB, 8 * MIB)
        other = start('netns', 'exec', NAMESPACE, *user, '/usr/bin/python3', '-c', program,
                      program=need_program('ip'), stdin=subprocess.PIPE)
        equal(other.stdout.readline(), b'pinned\n')
        check = find(doctor(THERE, prefix=user), 'memlock')
        end(other)
        equal(check['verdict'], 'weak')
        contains(check['finding'], r'; 5\.3 MB are pinned, 3\.1 MB are left$')
        check = find(doctor(THERE, prefix=user), 'memlock')
        contains(check['finding'], '; 0 bytes are pinned')


@case
def tcp_wmem():
    """A send buffer that may not grow."""
    with namespace():
        inside("sysctl -w net.ipv4.tcp_wmem='4096 16384 262144'")
        cured('tcp_wmem', 'weak', 'grows to 262.1 kB')


@case
def offloads():
    """Scatter-gather, checksum and segmentation off, one after the other."""
    need_program('ethtool')
    with namespace():
        for off, verdict, pattern in [('sg off', 'bad', 'no scatter-gather'), ('tx off', 'bad', 'no checksum offload'),
                                      ('tso off gso off', 'weak', 'neither TCP nor generic')]:
            for arguments in [], [THERE]:
                inside('ethtool -K wire ' + off)
                cured('interface', verdict, '^veth: ' + pattern, *arguments)
        inside('ethtool -K wire tso off')
        check = find(doctor(THERE), 'interface')
        equal(check['verdict'], 'ok')
        contains(check['finding'], 'generic segmentation')


@case
def tun():
    """What goes through a tun device is copied."""
    with namespace():
        if not os.path.exists('/dev/net/tun'):
            raise Skip('there is no /dev/net/tun')
        try:
            inside('ip tuntap add tunnel mode tun && ip address add 192.0.2.1/24 dev tunnel && ip link set tunnel up')
        except AssertionError as error:
            raise Skip(str(error))
        check = find(doctor('192.0.2.2'), 'interface')
        equal((check['title'], check['verdict']), ('interface tunnel', 'bad'))


@case
def taps():
    """A packet socket that sees everything, as tcpdump has; without it, all is well again."""
    program = 'import socket, sys; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); print("open", flush=True); sys.stdin.read()'
    with namespace():
        tap = start('netns', 'exec', NAMESPACE, '/usr/bin/python3', '-c', program, program=need_program('ip'), stdin=subprocess.PIPE)
        equal(tap.stdout.readline(), b'open\n')
        check = find(doctor(THERE), 'taps')
        equal(check['verdict'], 'bad')
        contains(inside(check['remedy'].split(',')[0]), 'pid=%d' % tap.pid)
        end(tap)
        equal(find(doctor(THERE), 'taps')['verdict'], 'ok')


@case
def local_hosts():
    """This host, by each of its addresses, is no place for zero-copy."""
    with namespace():
        for host in ['127.0.0.1', HERE] + (['::1'] if HAVE_IPV6 else []):
            report = doctor(host)
            equal(find(report, 'route')['verdict'], 'bad')
            contains(find(report, 'route')['finding'], '^%s is this host' % host)
            equal([c for c in report['checks'] if c['id'] == 'interface'], [])


@case
def no_route():
    """A host that cannot be reached."""
    with namespace():
        check = find(doctor(NOWHERE), 'route')
        equal(check['verdict'], 'bad')
        contains(check['finding'], 'to %s: There is no route: Network is unreachable' % NOWHERE)
        inside(check['remedy'].replace('GATEWAY', THERE))
        equal(find(doctor(NOWHERE), 'route')['verdict'], 'ok')


@case
def nothing_is_up():
    """A host without a network, and even without loopback."""
    with namespace(up=False, loopback=False):
        report = doctor()
        for name, verdict, pattern in ('kernel', 'unknown', 'nothing can be tried'), ('interface', 'bad', 'none is up but loopback'):
            check = find(report, name)
            equal(check['verdict'], verdict)
            contains(check['finding'], pattern)
            inside(check['remedy'])
        report = doctor()
        equal((find(report, 'kernel')['verdict'], find(report, 'interface')['verdict']), ('ok', 'ok'))


@case
def huge_pages():
    """The verdict follows the machine's setting, which is not this test's to change."""
    with namespace():
        setting = open('/sys/kernel/mm/transparent_hugepage/enabled').read()
        check = find(doctor(), 'huge_pages')
        equal(check['verdict'], 'weak' if '[never]' in setting else 'ok')


@case
def quiet():
    """With --quiet, the exit code alone tells."""
    with namespace():
        inside('ethtool -K wire sg off')
        process = run('netns', 'exec', NAMESPACE, TOOL, 'doctor', '-q', THERE, program=need_program('ip'))
        equal((process.returncode, process.stdout, process.stderr), (UNSUITED, '', ''))


main()
