"""Reads a page as strictly as it is written: every element closed, in order."""

from html.parser import HTMLParser

_VOID = frozenset({"meta", "br", "col"})
_LOADING = ("src", "srcset", "data", "background", "action", "poster")


class Page(HTMLParser):
    """What a page holds."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.sources: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        assert len(values) == len(attrs), f"an attribute is there twice: {attrs}"
        assert not [name for name in values if name.startswith("on")], f"a handler: {attrs}"
        if "id" in values:
            assert values["id"] not in self.ids
            self.ids.add(values["id"])
        self.sources += [values[name] for name in _LOADING if name in values]
        if "href" in values:
            self.links.append(values["href"])
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def check_page(text: str) -> Page:
    """The page; fails where it is not well-formed, or links to a place that it doesn't have."""
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    return page
