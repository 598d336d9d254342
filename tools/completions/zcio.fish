# fish completion for zcio(1)
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later

set -l commands bench demo doctor receive send

complete -c zcio -f
complete -c zcio -n "not __fish_seen_subcommand_from $commands" -a bench -d 'Compare sending with and without copying'
complete -c zcio -n "not __fish_seen_subcommand_from $commands" -a demo -d 'Send a file to another process and show what happened'
complete -c zcio -n "not __fish_seen_subcommand_from $commands" -a doctor -d 'Tell whether zero-copy will pay, and what to mend'
complete -c zcio -n "not __fish_seen_subcommand_from $commands" -a receive -d 'Receive what a host sends'
complete -c zcio -n "not __fish_seen_subcommand_from $commands" -a send -d 'Send files or standard input to a host'

complete -c zcio -n "__fish_seen_subcommand_from $commands" -s j -l json -d 'Print the result as JSON'
complete -c zcio -n "__fish_seen_subcommand_from $commands" -s q -l quiet -d 'Print errors and nothing else'
complete -c zcio -n "__fish_seen_subcommand_from send demo" -F
complete -c zcio -n "__fish_seen_subcommand_from doctor" -a '(__fish_print_hostnames)'
complete -c zcio -n "__fish_seen_subcommand_from send receive" -s c -l checksum -d 'Print the SHA-256 of all bytes'
complete -c zcio -n "__fish_seen_subcommand_from send receive" -s b -l buffer-size -x -d 'Bytes that are read or sent at once'
complete -c zcio -n "__fish_seen_subcommand_from send receive bench" -s t -l timeout -x -d 'Give up when nothing has moved for so long'
complete -c zcio -n "__fish_seen_subcommand_from send" -s z -l zero-copy -x -a 'auto always never' -d 'When to send without copying'
complete -c zcio -n "__fish_seen_subcommand_from send" -s m -l max-in-flight -x -d 'Bytes that the kernel may hold at most'
complete -c zcio -n "__fish_seen_subcommand_from send" -s r -l rate -x -d 'Bytes a second at most'
complete -c zcio -n "__fish_seen_subcommand_from receive" -s o -l output -r -F -d 'Where the bytes go'
complete -c zcio -n "__fish_seen_subcommand_from receive" -s 1 -l once -d 'End after one connection'
complete -c zcio -n "__fish_seen_subcommand_from bench" -s n -l streams -x -d 'Connections at once'
complete -c zcio -n "__fish_seen_subcommand_from bench" -s s -l size -x -d 'Bytes of a write'
complete -c zcio -n "__fish_seen_subcommand_from bench" -s w -l workload -x -a 'write migrate splice' -d 'What to send'
complete -c zcio -n "__fish_seen_subcommand_from demo" -s s -l size -x -d 'Send at least so many bytes'
complete -c zcio -n "__fish_seen_subcommand_from bench" -s d -l seconds -x -d 'Time for each turn'
complete -c zcio -n "__fish_seen_subcommand_from bench" -s R -l rounds -x -d 'Rounds of two turns'
