"""What a PDF says about itself, as JSON: read with pypdf, another library than the one that wrote it."""

import json
import sys

from pypdf import PdfReader
from pypdf.generic import ArrayObject, ContentStream, DictionaryObject

reader = PdfReader(sys.argv[1])
root = reader.trailer["/Root"]
used = []


def kids(node):
    below = node.get("/K", [])
    below = below.get_object() if hasattr(below, "get_object") else below
    return below if isinstance(below, ArrayObject) else [below]


def tree(node):
    """Role, attributes and children of an element; its marked contents are counted."""
    attributes = node.get("/A", DictionaryObject()).get_object()
    merged = {}
    for attribute in attributes if isinstance(attributes, ArrayObject) else [attributes]:
        merged.update(attribute.get_object())
    page = node.get("/Pg")
    children, contents = [], 0
    for kid in kids(node):
        kid = kid.get_object() if hasattr(kid, "get_object") else kid
        if isinstance(kid, DictionaryObject) and "/S" in kid:
            children.append(tree(kid))
        else:
            where = kid.get("/Pg", page) if isinstance(kid, DictionaryObject) else page
            number = kid["/MCID"] if isinstance(kid, DictionaryObject) else kid
            used.append((where.get_object().indirect_reference.idnum, int(number)))
            contents += 1
    return {
        "role": str(node["/S"])[1:],
        "scope": str(merged.get("/Scope", ""))[1:],
        "span": int(merged.get("/ColSpan", 1)),
        "children": children,
        "contents": contents,
    }


def marks(page):
    """Numbers of the marked contents of a page, and how many texts stand outside of any."""
    numbers, depth, unmarked = [], 0, 0
    for operands, operator in ContentStream(page.get_contents(), reader).operations:
        if operator in (b"BDC", b"BMC"):
            depth += 1
            if operator == b"BDC" and "/MCID" in operands[1]:
                numbers.append((page.indirect_reference.idnum, int(operands[1]["/MCID"])))
        elif operator == b"EMC":
            depth -= 1
        elif operator in (b"Tj", b"TJ", b"'", b'"', b"f", b"f*", b"S") and depth == 0:
            unmarked += 1
    return numbers, unmarked


def keys(value, seen):
    """Every key of every dictionary."""
    if isinstance(value, DictionaryObject):
        seen.update(value.keys())
    for below in value.values() if isinstance(value, DictionaryObject) else value if isinstance(value, ArrayObject) else []:
        keys(below, seen)


def embedded(page):
    for font in page["/Resources"].get("/Font", {}).values():
        for below in font.get_object()["/DescendantFonts"]:
            yield "/FontFile2" in below.get_object()["/FontDescriptor"]


elements = [tree(element) for element in kids(root["/StructTreeRoot"])]
on_pages = [marks(page) for page in reader.pages]
numbers = [number for page, _ in on_pages for number in page]
names = set()
created = reader.metadata.creation_date
for number in range(1, len(reader.xref_objStm) + sum(len(entries) for entries in reader.xref.values()) + 1):
    try:
        keys(reader.get_object(number), names)
    except Exception:  # A number that no object has.
        pass
print(
    json.dumps(
        {
            "lang": root.get("/Lang"),
            "marked": bool(root["/MarkInfo"]["/Marked"]),
            "title": reader.metadata.title,
            "shows_title": bool(root["/ViewerPreferences"]["/DisplayDocTitle"]),
            "direction": str(root["/ViewerPreferences"].get("/Direction", "/L2R"))[1:],
            "conforms": "<pdfuaid:part>1</pdfuaid:part>" in root["/Metadata"].get_data().decode(),
            "created": created.isoformat() if created else None,
            "outline": [entry.title for entry in reader.outline],
            "tree": elements,
            "unmarked": sum(unmarked for _, unmarked in on_pages),
            "same_contents": sorted(used) == sorted(numbers) and len(set(used)) == len(used),
            "embedded": all(found for page in reader.pages for found in embedded(page)),
            "tabs": all(page.get("/Tabs") == "/S" for page in reader.pages),
            "pages": len(reader.pages),
            "keys": sorted(names),
        }
    )
)
