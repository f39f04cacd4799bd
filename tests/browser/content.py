"""What the server of these tests holds: a small library, and content that attacks the pages."""

from typing import Any

LIBRARY, HOSTILE = "library", "<img src=x onerror=alert(1)>\"'&"
"""Names of namespaces."""

TEXTS = [
    (
        "Apples are a great source of dietary fiber, which supports digestion and helps maintain a healthy gut.",
        "health",
    ),
    (
        "Apples originated in Central Asia and have been cultivated for thousands of years, with over 7,500 varieties today.",
        "history",
    ),
    (
        "Rich in vitamin C and other antioxidants, apples contribute to immune health and may reduce the risk of chronic diseases.",
        "health",
    ),
    (
        "The high fiber content in apples can also help regulate blood sugar levels, a snack for people with diabetes.",
        "health",
    ),
    ("Oranges and lemons were carried on long voyages, because their juice prevented scurvy.", "history"),
    ("Washing hands before a meal is the cheapest way to prevent the spread of infections.", "health"),
    ("Vaccination protects a community, because a disease finds fewer people who can pass it on.", "health"),
    ("Pears keep longer in a cool cellar than in a warm kitchen.", "kitchen"),
    ("Walking for half an hour each day lowers blood pressure and the risk of a stroke.", "health"),
    ("Cherries are picked with their stems, since they spoil sooner without them.", "orchard"),
    ("An orchard is pruned in late winter, while the trees are dormant.", "orchard"),
    ("Bees pollinate nine of ten blossoms; without them a tree bears almost no fruit.", "orchard"),
    ("Fermented cabbage was a store of vitamin C through the winter.", "kitchen"),
    ("The first printed cookbook appeared in 1475 in Rome.", "history"),
    ("A sharp knife bruises fruit less than a blunt one.", "kitchen"),
    ("Codling moths lay their eggs on young apples; traps with pheromones keep them away.", "orchard"),
    ("Sleep of seven hours or more helps the immune system to fend off colds.", "health"),
    ("Cider is the juice of pressed apples, fermented for some weeks.", "kitchen"),
    ("Grafting joins a branch of one variety to the roots of another, as Roman farmers did.", "history"),
    ("Too much sugar in drinks is a cause of tooth decay.", "health"),
]

SCRIPT = "<script>document.title='executed';alert(1)</script>"
ATTACKS = [
    SCRIPT,
    "</title></textarea></style></svg>" + SCRIPT,
    "\"' autofocus onfocus=alert(1) x='\"><img src=x onerror=\"document.title='executed';alert(1)\">",
    "javascript:alert(1)",
    "{{ 7 * 7 }} {% raw %} ${7*7}",
    "<svg/onload=alert(1)><iframe srcdoc='&lt;script&gt;parent.alert(1)&lt;/script&gt;'></iframe>",
    "\u202eright to left, overridden \u2066isolated",
    "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd, \u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
    "\U0001f9ea\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466\U0001f3f3\ufe0f\u200d\U0001f308 Z\u0351\u036b\u0343a\u0363\u0349l\u0348\u035fg\u0321\u0353o",
    "\u0000\u0007\u001b[31m control \u2028 characters\ttab\nline",
]
LONG = "An unbroken" + "W" * 15_000 + " and a broken one: " + "many words " * 1_364
HOSTILE_ID = '<b onmouseover=alert(1)>"it\'s" & 100% ?a=b#c/../'
"""Ids are ASCII."""


def library() -> list[dict[str, Any]]:
    """Twenty records."""
    return [
        {"_id": f"note-{number:02}", "chunk_text": text, "topic": topic, "year": 2001 + number}
        for number, (text, topic) in enumerate(TEXTS, 1)
    ]


def hostile() -> list[dict[str, Any]]:
    """A record for each attack: in its text, in a value, in a list and in the name of a field; and 30,000 characters."""
    attacks = [
        {
            "_id": f"attack-{number:02}",
            "chunk_text": f"apples {text}",
            "note": text,
            "tags": [text, "plain"],
            text: text,
        }
        for number, text in enumerate(ATTACKS)
    ]
    return [
        *attacks,
        {"_id": HOSTILE_ID, "chunk_text": f"apples {SCRIPT}", "note": "quotes"},
        {"_id": "i" * 512, "chunk_text": "apples with a long id", "n" * 300: "a long name", "note": "long"},
        {"_id": "long", "chunk_text": LONG, "note": LONG[:9_000]},
    ]
