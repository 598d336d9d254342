#!/usr/bin/python3
# markdown-to-docbook.py - makes a chapter of the manual from Markdown
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: markdown-to-docbook.py SECTIONS INPUT.md OUTPUT.xml
#
# It knows what the guide uses: headings, paragraphs, lists, tables, pictures, links,
# fenced code. Instead of code there may be
#
#     {{snippets/file.c}}           the whole file, without its first comment
#     {{snippets/file.c name}}      what lies between the comments "name {" and "} name"
#
# so that nothing is written twice. What is in `code` and is a symbol of the library, as
# SECTIONS lists them, becomes a link to it.

import html
import os
import re
import sys
import textwrap

import snippets

INCLUDE = re.compile(r'\{\{(\S+?)(?: (\S+))?\}\}$')
FENCE = re.compile(r'```(\w*)$')
HEADING = re.compile(r'(#+) (.*)$')
PICTURE = re.compile(r'!\[(.*)\]\((.*)\)$')
ITEM = re.compile(r'(-|\d+\.) +(.*)$')
INLINE = re.compile(r'`([^`]+)`|\*\*(.+?)\*\*|\*(.+?)\*|\[([^\]]+)\]\(([^)]+)\)')
LANGUAGES = {'.c': 'C', '.py': 'Python', '.build': 'Meson', '.sh': 'Shell'}


def read_symbols(path):
    with open(path, encoding='utf-8') as sections:
        return set(re.findall(r'^\w+$', sections.read(), re.MULTILINE))


class Chapter:
    def __init__(self, symbols, directory, name):
        self.symbols = symbols
        self.directory = directory
        self.name = name
        self.out = []
        self.sections_open = 0

    def code_word(self, text):
        word = text[:-2] if text.endswith('()') else text
        escaped = html.escape(text, quote=False)
        owner, colon, member = word.partition(':')
        if word in self.symbols or re.match(r'ZCIO_ZERO_COPY_(MODE|STATE)_', word):
            anchor = word.replace('_', '-')
            if re.fullmatch(r'[A-Z][A-Z0-9_]+', word):
                anchor += ':CAPS'
            return f'<link linkend="{anchor}"><literal>{escaped}</literal></link>'
        if colon and owner in self.symbols and re.fullmatch(r':?[a-z-]+', member):
            kind = '-' if member.startswith(':') else '--'
            return (f'<link linkend="{owner}{kind}{member.lstrip(":")}">'
                    f'<literal>{escaped}</literal></link>')
        return f'<literal>{escaped}</literal>'

    def inline(self, text):
        result = []
        end = 0
        for match in INLINE.finditer(text):
            result.append(html.escape(text[end:match.start()], quote=False))
            end = match.end()
            code, strong, emphasis, label, target = match.groups()
            if code:
                result.append(self.code_word(code))
            elif strong:
                result.append(f'<emphasis role="strong">{self.inline(strong)}</emphasis>')
            elif emphasis:
                result.append(f'<emphasis>{self.inline(emphasis)}</emphasis>')
            elif target.endswith('.md'):
                result.append(f'<link linkend="guide-{target[:-3]}">{self.inline(label)}</link>')
            else:
                result.append(f'<ulink url="{html.escape(target)}">{self.inline(label)}</ulink>')
        return ''.join(result) + html.escape(text[end:], quote=False)

    def code(self, text, language):
        attribute = f' language="{language}"' if language else ''
        self.out.append(f'<informalexample><programlisting{attribute}>'
                        f'{html.escape(text, quote=False)}</programlisting></informalexample>')

    def include(self, path, region):
        text = snippets.read(os.path.join(self.directory, '..', path), region)
        self.code(text, LANGUAGES.get(os.path.splitext(path)[1], ''))

    def heading(self, level, text):
        if level == 1:
            self.out.append(f'<chapter id="guide-{self.name}"><title>{self.inline(text)}</title>')
            return
        if self.sections_open:
            self.out.append('</simplesect>')
        anchor = re.sub(r'[^a-z0-9]+', '-', text.lower()).strip('-')
        self.sections_open = 1
        self.out.append(f'<simplesect id="guide-{self.name}-{anchor}"><title>{self.inline(text)}</title>')

    def picture(self, text, path):
        self.out.append(f'<mediaobject><imageobject><imagedata fileref="{path}" format="SVG"/>'
                        f'</imageobject><textobject><phrase>{html.escape(text)}</phrase>'
                        '</textobject></mediaobject>')

    def table(self, rows):
        cells = [[cell.strip() for cell in re.split(r'(?<!\\)\|', row.strip().strip('|'))] for row in rows]
        head, body = cells[0], cells[2:]
        for row in body:
            if len(row) != len(head):
                raise SystemExit(f'{self.name}: {len(row)} cells instead of {len(head)}: {row}')

        def line(row):
            return ('<row>' + ''.join(f'<entry>{self.inline(cell)}</entry>' for cell in row) + '</row>')

        self.out.append(f'<informaltable frame="topbot"><tgroup cols="{len(head)}"><thead>{line(head)}</thead>'
                        '<tbody>' + '\n'.join(map(line, body)) + '</tbody></tgroup></informaltable>')

    def items(self, items, ordered):
        kind = 'orderedlist' if ordered else 'itemizedlist'
        self.out.append(f'<{kind}>' + '\n'.join(f'<listitem><para>{self.inline(item)}</para></listitem>'
                                                for item in items) + f'</{kind}>')

    def block(self, lines):
        """Lines between two empty lines"""
        first = lines[0]
        if INCLUDE.match(first):
            self.include(*INCLUDE.match(first).groups())
        elif HEADING.match(first):
            marks, text = HEADING.match(first).groups()
            self.heading(len(marks), text)
        elif PICTURE.match(first):
            self.picture(*PICTURE.match(first).groups())
        elif first.startswith('    '):
            self.code(textwrap.dedent('\n'.join(lines)), 'Shell')
        elif first.startswith('|'):
            self.table(lines)
        elif first.startswith('> '):
            text = ' '.join(line[2:] for line in lines)
            self.out.append(f'<important><para>{self.inline(text)}</para></important>')
        elif ITEM.match(first):
            items = []
            for line in lines:
                match = ITEM.match(line)
                if match:
                    items.append(match.group(2))
                else:
                    items[-1] += ' ' + line.strip()
            self.items(items, first[0].isdigit())
        else:
            self.out.append(f'<para>{self.inline(" ".join(lines))}</para>')

    def convert(self, text):
        lines = text.splitlines()
        block = []
        while lines:
            line = lines.pop(0)
            fence = FENCE.match(line)
            if fence:
                code = []
                while lines[0] != '```':
                    code.append(lines.pop(0))
                lines.pop(0)
                self.code('\n'.join(code), {'c': 'C', 'python': 'Python'}.get(fence.group(1), ''))
            elif line:
                block.append(line)
                if not HEADING.match(line):
                    continue
            if block:
                self.block(block)
                block = []
        if block:
            self.block(block)
        self.out.append('</simplesect>' * self.sections_open + '</chapter>')
        return '\n'.join(self.out)


def main():
    sections, source, target = sys.argv[1:]
    name = os.path.splitext(os.path.basename(source))[0]
    with open(source, encoding='utf-8') as opened:
        text = re.sub(r'<!--.*?-->\n*', '', opened.read(), flags=re.DOTALL)
    chapter = Chapter(read_symbols(sections), os.path.dirname(source), name)
    with open(target, 'w', encoding='utf-8') as opened:
        opened.write('<?xml version="1.0" encoding="UTF-8"?>\n'
                     '<!DOCTYPE chapter PUBLIC "-//OASIS//DTD DocBook XML V4.5//EN"\n'
                     '          "http://www.oasis-open.org/docbook/xml/4.5/docbookx.dtd">\n'
                     + chapter.convert(text) + '\n')


main()
