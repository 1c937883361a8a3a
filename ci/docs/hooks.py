"""What mkdocs does not do by itself for `make docs`.

The texts of docs/ link to what is beside them in the repository, as a reader of the
repository wants it: programs, folders, README.md. The site takes all that along:
- a text becomes a page;
- another file becomes a page that shows it;
- a folder becomes a page with its files, after its README.md if it has one.
A link to something that is not there stays as it is, and mkdocs then refuses to build.
"""

import os
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
CODE_OR_LINK = re.compile(
    r"(?ms)^( *)(`{3,})[^\n]*\n.*?^\1\2`*$|`[^`\n]+`|(?P<open>!?\[(?:`[^`]*`|[^\[\]`])*\]\()(?P<to>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)"
)
LIST = re.compile(r"(?m)^(?!```|[-|#<>]|\d+\. |  )(.+)\n((?:-|1\.) )")  # right after a paragraph
PICTURES = {".png", ".svg"}
LANGUAGES = {
    ".go": "go", ".js": "js", ".cjs": "js", ".mjs": "js", ".ts": "ts", ".py": "python", ".html": "html", ".css": "css",
    ".json": "json", ".yml": "yaml", ".yaml": "yaml", ".sh": "bash", ".conf": "nginx", ".mod": "text", ".svg": "xml",
}
UNSEEN = {"node_modules", ".venv", "__pycache__", "testdata"}
ASSETS = {  # of the npm packages in this folder, and our own
    "assets/mermaid.js": "node_modules/@mermaid-js/tiny/dist/mermaid.tiny.js",
    "assets/iframe-worker.js": "node_modules/iframe-worker/shim/index.js",
    "assets/site.css": "site.css",
    "assets/site.js": "site.js",
}

pages = {}  # the page of each path of the repository that has one
origins = {}  # the path of each page


def uri(path):
    """uri is the place in the site of a file or a folder of the repository."""
    if path == "docs":
        return "README.md"
    inside = path.startswith("docs/")
    place = path.removeprefix("docs/") if inside else "project/" + path
    if (ROOT / path).is_dir():
        return place + "/README.md"
    if posixpath.splitext(path)[1] in PICTURES | {".md"}:
        return place
    return place + ".md"


def resolve(link, origin):
    """resolve is the path in the repository that a link in a text means, if it is there."""
    if "://" in link or link.startswith(("mailto:", "/")):
        return None
    folder = origin if (ROOT / origin).is_dir() else posixpath.dirname(origin)
    path = posixpath.normpath(posixpath.join(folder, link))
    if path.startswith("..") or not (ROOT / path).exists():
        return None
    if posixpath.basename(path) == "README.md" and path not in ("README.md", "docs/README.md"):
        path = posixpath.dirname(path)  # one page for a folder and its text
    return path


def fenced(text, language):
    fence = "`" * max(4, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


def show(path):
    try:
        text = (ROOT / path).read_text()
    except UnicodeDecodeError:
        return "It is no text.\n"
    return fenced(text, LANGUAGES.get(posixpath.splitext(path)[1], "text"))


def title(path):
    return re.search(r"(?m)^# (.*)$", (ROOT / path).read_text()).group(1)


def folder_page(path):
    readme = ROOT / path / "README.md"
    out = readme.read_text() if readme.exists() else f"# {path}\n"
    names = sorted(p.name for p in (ROOT / path).iterdir() if not p.name.startswith(".") and p.name not in UNSEEN and p.name != "README.md")
    for name in names:
        below = f"{path}/{name}"
        if (ROOT / below).is_dir():
            out += f"\n- [{name}/]({name})\n"
        elif name.endswith(".md"):
            out += f"\n- [{title(below)}]({name})\n"
    for name in names:
        below = f"{path}/{name}"
        if (ROOT / below).is_dir() or name.endswith((".md", ".sum", ".mod")):
            continue
        if posixpath.splitext(name)[1] in PICTURES:
            out += f"\n## {name}\n\n![{name}]({name})\n"
        elif (ROOT / below).stat().st_size < 64 << 10:
            out += f"\n## {name}\n\n{show(below)}"
    return out


def on_config(config):
    config.extra["polyfills"] = ["assets/iframe-worker.js"]
    return config


def on_files(files, config):
    pages.clear()
    origins.clear()
    for file in list(files):
        if file.src_dir != config.docs_dir:
            continue  # the theme's
        path = "docs/" + file.src_uri
        if file.is_documentation_page() or posixpath.splitext(path)[1] in PICTURES:
            pages[path], origins[file.src_uri] = file.src_uri, path
        else:
            files.remove(file)  # shown by a page instead, if it is linked to
    for place, source in ASSETS.items():
        files.append(File.generated(config, place, abs_src_path=str(HERE / source)))
    todo = [(path, (ROOT / path).read_text()) for path in pages if path.endswith(".md")] + [("docs", "[](../CHANGELOG.md)")]
    while todo:
        origin, text = todo.pop()
        for m in CODE_OR_LINK.finditer(text):
            path = resolve(m["to"], origin) if m["to"] else None
            if path is None or path in pages or uri(path) in origins:
                continue
            place = uri(path)
            pages[path], origins[place] = place, path
            if posixpath.splitext(path)[1] in PICTURES:
                files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
                continue
            if (ROOT / path).is_dir():
                text = folder_page(path)
            elif path.endswith(".md"):
                text = (ROOT / path).read_text()
            else:
                text = f"# {path}\n\n{show(path)}"
            files.append(File.generated(config, place, content=text))
            if (ROOT / path).is_dir() or path.endswith(".md"):
                todo.append((path, text))
    return files


def on_page_markdown(markdown, page, config, files):
    place = page.file.src_uri
    origin = origins[place]
    if place.startswith("project/") and place != "project/CHANGELOG.md" or place.startswith("proxy/"):
        page.meta["search"] = {"exclude": True}  # programs would hide what is said of them
    elif place in ("start.md", "emit.md", "operations.md"):
        page.meta["search"] = {"boost": 2}

    def rewrite(m):
        path = resolve(m["to"], origin) if m["to"] else None
        if path is None:
            return m[0]
        to = posixpath.relpath(uri(path), posixpath.dirname(place) or ".")
        return f"{m['open']}{to}{m['anchor'] or ''})"

    return LIST.sub(r"\1\n\n\2", CODE_OR_LINK.sub(rewrite, markdown))


def on_page_content(html, page, config, files):
    # GitHub reads \| in a table as |, in code, too.
    return re.sub(r"(?s)<td.*?</td>", lambda m: m[0].replace(r"\|", "|"), html)


def on_post_page(output, page, config):
    if '<pre class="mermaid">' in output:
        up = os.path.relpath("assets/mermaid.js", posixpath.dirname(page.url) or ".")
        output = output.replace("</head>", f'<script src="{up}"></script></head>', 1)
    return output
