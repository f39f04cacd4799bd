"""Texts that have nothing to do with most queries. They show which similarity a model gives by chance. Pure."""

UNRELATED = (
    "The ferry leaves the island every morning at eight and comes back before dark.",
    "She mended the sleeve of the old coat with a piece of grey thread.",
    "Please close the gate behind you, so that the goats stay in the field.",
    "Two of the chairs were painted blue; the third one was left as it was.",
    "El tren de la tarde llegó con veinte minutos de retraso.",
    "Im Herbst sammeln die Kinder Kastanien unter den Bäumen.",
    "Бабушка поставила на стол тёплый хлеб и кувшин молока.",
    "他把雨伞忘在了图书馆门口的长椅上。",
    "وضع الرجل حقيبته قرب الباب وجلس ينتظر.",
    "बच्चों ने छत पर पतंग उड़ाई और शाम तक खेलते रहे।",
)
"""Short sentences of everyday life, in several languages, because a model that knows one language sees the others as
similar to each other. Scores change when these texts change."""
