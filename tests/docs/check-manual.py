#!/usr/bin/python3
# check-manual.py - the manual is whole: its links and pictures are there
#
# SPDX-FileCopyrightText: The zcio authors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# usage: check-manual.py HTML-DIRECTORY CHAPTER…

import html.parser
import os
import sys
import unittest
import urllib.parse
import xml.etree.ElementTree as ElementTree

import tap

DIRECTORY, *CHAPTERS = sys.argv[1:]


class Page(html.parser.HTMLParser):
    def __init__(self, path):
        super().__init__()
        self.anchors = set()
        self.links = []
        self.pictures = []
        with open(path, encoding='utf-8') as opened:
            self.text = opened.read()
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        for name in ('id', 'name'):
            if attributes.get(name):
                self.anchors.add(attributes[name])
        if tag in ('a', 'link') and attributes.get('href'):
            self.links.append(attributes['href'])
        for name in ('src', 'data'):
            if attributes.get(name):
                self.pictures.append(attributes[name])


def is_elsewhere(url):
    """The net, or the manuals of GLib, which are beside this one where it is installed"""
    return bool(urllib.parse.urlparse(url).scheme) or url.startswith(('../', '/'))


class Manual(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        names = [name for name in sorted(os.listdir(DIRECTORY)) if name.endswith('.html')]
        cls.pages = {name: Page(os.path.join(DIRECTORY, name)) for name in names}

    def test_pages(self):
        expected = {'index.html', 'ZcioSocketStream.html', 'api-index-full.html', 'api-index-1.0.html',
                    'object-tree.html', 'annotation-glossary.html'}
        expected |= {f'guide-{chapter}.html' for chapter in CHAPTERS}
        self.assertEqual(sorted(expected - set(self.pages)), [])

    def test_links(self):
        found = 0
        for name, page in self.pages.items():
            for link in page.links:
                if is_elsewhere(link):
                    continue
                path, _, anchor = urllib.parse.unquote(link).partition('#')
                path = path or name
                with self.subTest(page=name, link=link):
                    found += 1
                    if path in self.pages:
                        self.assertTrue(not anchor or anchor in self.pages[path].anchors, 'no such anchor')
                    else:
                        self.assertTrue(os.path.isfile(os.path.join(DIRECTORY, path)), 'no such file')
        self.assertGreater(found, 500)

    def test_links_between_chapters(self):
        """gtk-doc leaves out a link whose target is nowhere; the source has it"""
        for chapter in CHAPTERS:
            path = os.path.join(DIRECTORY, '..', f'guide-{chapter}.xml')
            anchors = set().union(*(page.anchors for page in self.pages.values()))
            for link in ElementTree.parse(path).iter('link'):
                with self.subTest(chapter=chapter, link=link.get('linkend')):
                    self.assertTrue(link.get('linkend') in anchors, 'no such anchor')

    def test_symbols_of_the_guide_are_links(self):
        links = self.pages['guide-getting-started.html'].links
        self.assertIn('ZcioSocketStream.html#zcio-socket-stream-describe', links)

    def test_programs(self):
        """Nothing that is shown is empty"""
        for name, page in self.pages.items():
            with self.subTest(page=name):
                self.assertNotRegex(page.text, r'<pre class="programlisting">\s*</pre>')

    def test_pictures(self):
        found = 0
        for name, page in self.pages.items():
            for picture in page.pictures:
                with self.subTest(page=name, picture=picture):
                    found += 1
                    path = os.path.join(DIRECTORY, urllib.parse.unquote(picture))
                    self.assertFalse(is_elsewhere(picture), 'a picture from the net')
                    self.assertTrue(os.path.isfile(path), 'no such file')
                    self.assertGreater(os.path.getsize(path), 0)
                    if path.endswith('.svg'):
                        ElementTree.parse(path)
        self.assertGreater(found, 0)

    def test_devhelp(self):
        book = ElementTree.parse(os.path.join(DIRECTORY, 'zcio-1.devhelp2')).getroot()
        keywords = book.findall('.//{*}keyword')
        self.assertGreater(len(keywords), 60)
        for element in book.findall('.//{*}sub') + keywords:
            path, _, anchor = element.get('link').partition('#')
            with self.subTest(link=element.get('link')):
                self.assertIn(path, list(self.pages))
                self.assertTrue(not anchor or anchor in self.pages[path].anchors, 'no such anchor')


if __name__ == '__main__':
    tap.main()
