"""Makes yatagarasu.yaml(5) of docs/configuration.md, so that there is one text. Knows the Markdown that is used there:
headings, paragraphs, tables of two or three columns, code spans, bold.

usage: from_markdown.py INPUT OUTPUT
"""
import pathlib
import re
import sys


def escape(text):
    return re.sub(r"^([.'])", r"\\&\1", text.replace("\\", "\\e").replace("-", "\\-"))


def inline(text):
    parts = re.split(r"(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)]+\))", text.strip())
    made = []
    for part in parts:
        if part.startswith("`"):
            made.append("\\fB" + escape(part[1:-1]) + "\\fR")
        elif part.startswith("**"):
            made.append("\\fI" + escape(part[2:-2]) + "\\fR")
        elif part.startswith("["):
            made.append(escape(part[1:part.index("]")]))
        else:
            made.append(escape(part))
    return "".join(made)


def row(line):
    """A key, its default (with three columns), its meaning."""
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
    meaning = inline(cells[-1]) if len(cells) > 1 else ""
    if len(cells) > 2 and cells[1]:
        default = "Required." if cells[1] == "required" else f"Default: {inline(cells[1])}."
        meaning = f"{meaning}. {default}" if meaning else default
    return [".TP", inline(cells[0]), (meaning or "\\&") if cells[0] else None]


def paragraphs(lines):
    """The same with each paragraph in one line."""
    made = []
    for line in lines:
        text = line and not line.startswith(("#", "|"))
        if text and made and made[-1] and not made[-1].startswith(("#", "|")):
            made[-1] += " " + line
        else:
            made.append(line)
    return made


def page(lines):
    made = ['.TH YATAGARASU.YAML 5 "" "yatagarasu" "Yatagarasu"', ".ad l", ".nh", ".SH NAME",
            "yatagarasu.yaml \\- configuration of yatagarasu(1)", ".SH DESCRIPTION"]
    table = 0
    for line in paragraphs(lines):
        if line.startswith("# "):
            continue
        if line.startswith("## "):
            made += [".SH " + inline(line[3:]).upper()]
        elif line.startswith("|"):
            table += 1
            if table > 2:  # after the names of the columns and the line below them
                made += [part for part in row(line) if part is not None]
            continue
        elif not line.strip():
            made.append(".PP")
        else:
            made.append(inline(line))
        table = 0
    made += [".SH SEE ALSO", ".BR yatagarasu (1)"]
    # A paragraph macro right after or before a heading means nothing.
    kept = []
    for number, line in enumerate(made):
        following = made[number + 1] if number + 1 < len(made) else ".SH"
        if line == ".PP" and (not kept or kept[-1].startswith((".SH", ".PP")) or following.startswith((".SH", ".PP", ".TP"))):
            continue
        kept.append(line)
    return "\n".join(kept) + "\n"


pathlib.Path(sys.argv[2]).write_text(page(pathlib.Path(sys.argv[1]).read_text().splitlines()))
