"""reStructuredText, by docutils. Directives that read files or pass markup through are switched off."""

from docutils import nodes
from docutils.core import publish_doctree

from pinyon.documents.blocks import BlockBuilder, Document
from pinyon.documents.readers.encoding import decoded

SAFE = {
    "_disable_config": True,  # no settings files of this machine or this folder
    "file_insertion_enabled": False,  # no include, no csv-table from files
    "raw_enabled": False,
    "halt_level": 5,  # never: what is not understood is kept as text
    "report_level": 1,  # messages stay in the tree, because they hold the text that was not understood
    "warning_stream": False,  # and are not printed
    "syntax_highlight": "none",
    "smart_quotes": False,
    "doctitle_xform": False,
    "line_length_limit": 100_000,
}
PARAGRAPHS = (nodes.paragraph, nodes.line_block, nodes.term, nodes.field_name, nodes.rubric, nodes.attribution)
CODE = (nodes.literal_block, nodes.doctest_block, nodes.math_block)
NOT_READ = (nodes.comment, nodes.substitution_definition, nodes.target, nodes.pending, nodes.decoration)


def read(content: bytes) -> Document:
    """Raises InvalidArgument."""
    tree = publish_doctree(decoded(content), settings_overrides=SAFE)
    builder = BlockBuilder()
    _add(tree, builder, level=0)
    return builder.document()


def _add(node: nodes.Node, builder: BlockBuilder, level: int, in_message: bool = False) -> None:
    """Add the blocks of a node. level: of the section it is in. in_message: whether docutils wrote the paragraphs."""
    for child in node.children:
        if isinstance(child, NOT_READ):
            continue
        if isinstance(child, nodes.title | nodes.subtitle):
            builder.heading(child.astext(), max(level, 1))
        elif isinstance(child, nodes.section):
            _add(child, builder, level + 1)
        elif isinstance(child, nodes.bullet_list | nodes.enumerated_list):
            _add_list(child, builder, depth=0)
        elif isinstance(child, nodes.table):
            _add_table(child, builder)
        elif isinstance(child, CODE):
            builder.code(child.astext())
        elif isinstance(child, nodes.system_message):
            _add(child, builder, level, in_message=True)
        elif isinstance(child, PARAGRAPHS):
            if not in_message:
                builder.paragraph(child.astext())
        elif isinstance(child, nodes.TextElement):
            builder.paragraph(child.astext())
        else:
            _add(child, builder, level)


def _add_list(node: nodes.Node, builder: BlockBuilder, depth: int) -> None:
    numbered = isinstance(node, nodes.enumerated_list)
    for place, item in enumerate(node.children, node.get("start", 1) if numbered else 1):
        for child in item.children:
            if isinstance(child, nodes.bullet_list | nodes.enumerated_list):
                _add_list(child, builder, depth + 1)
            else:
                builder.list_item(child.astext(), depth, f"{place}." if numbered else "-")


def _add_table(node: nodes.Node, builder: BlockBuilder) -> None:
    for title in node.findall(nodes.title):
        builder.paragraph(title.astext())
    builder.table([[cell.astext() for cell in row.children] for row in node.findall(nodes.row)])
