"""Prints the page of all tables, as it stands in pipelines/docs/DICTIONARY.md."""

from gapless.pipelines.dictionary.page import page

print(page(), end="")
